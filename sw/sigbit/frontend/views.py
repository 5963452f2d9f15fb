"""Where the elements of a value lie in the tensor that holds it.

A value is known by the array ``index`` of its elements' places in a tensor (see
:mod:`sigbit.frontend.moves`). What is computed from every element, or from every pixel's channels,
is computed from the tensor as it lies; the result lies as the operand does.
"""

import math
from dataclasses import dataclass

import numpy as np

from sigbit.frontend.moves import Index, Shape


def whole(shape: Shape) -> Index:
    """The index of all elements in their order."""
    return np.arange(math.prod(shape)).reshape(shape)


def is_whole(index: Index) -> bool:
    """Whether an index has all elements of something in their order."""
    return bool((index.ravel() == np.arange(index.size)).all())


def has_all(index: Index, size: int) -> bool:
    """Whether an index has each of ``size`` elements once."""
    return index.size == size and np.array_equal(np.sort(index, axis=None), np.arange(size))


@dataclass(frozen=True)
class Along:
    """An axis of a value that runs along channels: element i of it is channel ``channels[i]`` of
    the pixel that ``pixels``, of the other axes' shape, says."""

    channels: Index
    pixels: Index

    def index(self, channels: int, count: int, axis: int) -> Index:
        """The index of the same pixels with ``channels`` channels in their order along ``axis``,
        in an image of ``count`` pixels."""
        shape = [1] * (self.pixels.ndim + 1)
        shape[axis] = channels
        return np.arange(channels).reshape(shape) * count + np.expand_dims(self.pixels, axis)


def along(shape: Shape, index: Index, axis: int) -> Along | None:
    """How ``axis`` of a value runs along the channels of an image, or of a vector, of ``shape``;
    None if it does not."""
    if (index < 0).any():
        return None
    channels, pixels = np.divmod(np.moveaxis(index, axis, 0), math.prod(shape[1:]))
    flat = channels.reshape(len(channels), -1)
    if not (flat == flat[:, :1]).all() or not (pixels == pixels[:1]).all():
        return None
    return Along(flat[:, 0], pixels[0])


def replaced(index: Index, other: Index) -> Index:
    """What lies where ``index``, of all elements of a tensor, has its elements, as an index that
    has the tensor's order: ``other`` moved as ``index`` would have to be to be the tensor."""
    result = np.empty(index.size, np.int64)
    result[index.ravel()] = other.ravel()
    return result
