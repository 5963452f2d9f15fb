"""Positions of a value's elements in the tensor that holds it.

A value is described by the array ``index`` of its elements' places in a tensor (see
:mod:`sigbit.frontend.moves`). Functions of every element, or of every pixel's channels, are
computed on the tensor without moving it; the result has the order of the operand.
"""

import math
from dataclasses import dataclass

import numpy as np

from sigbit.frontend.moves import Index, Shape


def whole(shape: Shape) -> Index:
    """Return the index of all elements in their order."""
    return np.arange(math.prod(shape)).reshape(shape)


def as_rows(index: Index) -> Index:
    """Return an index as rows of its last axis; also one without elements."""
    return index.reshape(math.prod(index.shape[:-1]), index.shape[-1])


def is_whole(index: Index) -> bool:
    """Return whether an index holds all elements of a tensor in order."""
    return bool((index.ravel() == np.arange(index.size)).all())


def has_all(index: Index, size: int) -> bool:
    """Return whether an index holds each of ``size`` elements once."""
    return index.size == size and np.array_equal(np.sort(index, axis=None), np.arange(size))


@dataclass(frozen=True)
class Along:
    """An axis of a value that runs along channels: element i of it is channel ``channels[i]`` of
    the pixel given by ``pixels``, which has the shape of the other axes."""

    channels: Index
    pixels: Index

    def index(self, channels: int, count: int, axis: int) -> Index:
        """Return the index of the same pixels with ``channels`` channels in their order along
        ``axis``, in an image of ``count`` pixels."""
        shape = [1] * (self.pixels.ndim + 1)
        shape[axis] = channels
        return np.arange(channels).reshape(shape) * count + np.expand_dims(self.pixels, axis)


def along(shape: Shape, index: Index, axis: int) -> Along | None:
    """Return the run of ``axis`` of a value along the channels of an image, or of a vector, of
    ``shape``; None if it does not run along them, or has no elements."""
    if not index.size or (index < 0).any():
        return None
    channels, pixels = np.divmod(np.moveaxis(index, axis, 0), math.prod(shape[1:]))
    flat = channels.reshape(len(channels), -1)
    if not (flat == flat[:, :1]).all() or not (pixels == pixels[:1]).all():
        return None
    return Along(flat[:, 0], pixels[0])


def replaced(index: Index, other: Index) -> Index:
    """Return the elements at the positions of ``index``, which holds all elements of a tensor, as
    an index in the tensor's order: ``other`` under the movement that turns ``index`` into the
    tensor."""
    result = np.empty(index.size, np.int64)
    result[index.ravel()] = other.ravel()
    return result
