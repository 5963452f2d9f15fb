"""Translation of concatenations, along channels or along lines and columns."""

import math
from itertools import accumulate
from typing import Any

import numpy as np
from torch import Tensor

from sigbit.frontend import views
from sigbit.frontend.aten import attention
from sigbit.frontend.moves import Index
from sigbit.frontend.translation import Translation, one_sample
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating

APART = "return the parts as outputs of their own, and join them on the host"


def concat(t: Translation) -> Value:
    """cat along any dimension but the batch."""
    axis = t.argument("dim") % (len(t.shape) + 1) - 1
    if axis < 0:
        raise Refusal("concatenation along dimension 0", APART)
    values = [_known(t, v, axis) for v in t.argument("tensors")]
    if len({v.tensor for v in values}) == 1:
        joined = np.concatenate([t.index(v) for v in values], axis)
        return t.chosen(values[0], joined)
    if len(t.shape) > 3:
        return _joined(t, values, [t.index(v) for v in values], axis)
    found = [views.along(t.shape_of(v.tensor), t.index(v), axis) for v in values]
    rest = [a for a in range(len(t.shape)) if a != axis]
    if not rest or all(f is not None for f in found):
        return _side_by_side(t, values, (axis, *rest), 0)
    channels = [a for a in rest if _runs(t, values[0], a)]
    first = channels[0] if channels else rest[-1 if axis == 0 else 0]
    order = (first, *(a for a in range(len(t.shape)) if a != first))
    return _side_by_side(t, values, order, order.index(axis))


def _known(t: Translation, operand: Any, axis: int) -> Computed:
    """Return an operand's value; a constant that is the same for all samples becomes a tensor, its
    last axis along channels."""
    given = t.values.get(operand)
    if not isinstance(given, Tensor) or given.dim() != len(t.shape) + 1 or given.dim() > 3:
        return t.known(operand)
    sample = one_sample(given, len(t.shape)).to(t.dtype)
    order = (1, 0) if sample.dim() == 2 else (0,)
    image = sample.permute(order).reshape(
        *(sample.shape[a] for a in order), *[1] * (3 - len(order))
    )
    name = attention.constant(t, image.contiguous(), "constant")
    places = views.whole(tuple(image.shape)).reshape([sample.shape[a] for a in order])
    return Computed(name, places.transpose(np.argsort(order)), t.node)


def _runs(t: Translation, value: Computed, axis: int) -> bool:
    """Return whether an axis of a value runs along the channels of its tensor."""
    return views.along(t.shape_of(value.tensor), t.index(value), axis) is not None


def _side_by_side(
    t: Translation, values: list[Computed], order: tuple[int, ...], axis: int
) -> Computed:
    """Return the values laid out by ``order``, joined along ``axis`` of the image."""
    if axis == 1 and len(order) == 2 and any(_is_image(t, v, order[0]) for v in values):
        return _steps(t, values, order)
    tensors = [t.laid_out(v, order).tensor for v in values]
    shapes = [t.shape_of(name) for name in tensors]
    whole = list(shapes[0])
    whole[axis] = sum(s[axis] for s in shapes)
    base = t.base(*tensors, shape=tuple(whole))
    if axis == 0:
        name = t.build.add(floating.Concat(**base))
    else:
        starts = list(accumulate((s[axis] for s in shapes), initial=0))[:-1]
        places = tuple((s, 0) if axis == 1 else (0, s) for s in starts)
        name = t.build.add(floating.Mosaic(**base, places=places))
    held = views.whole(tuple(whole)).reshape(whole[: len(order)])
    return t.chosen(Computed(name), held.transpose(np.argsort(order)))


def _is_image(t: Translation, value: Computed, channels: int) -> bool:
    """Return whether the steps of a value are the pixels of several lines and columns."""
    shape = t.shape_of(value.tensor)
    found = views.along(shape, t.index(value), channels)
    return len(shape) == 3 and found is not None and min(shape[1:]) > 1


def _steps(t: Translation, values: list[Computed], order: tuple[int, ...]) -> Computed:
    """Return sequences one after the other as columns; the pixels of images line by line."""
    pieces, places, at = [], [], 0
    for value in values:
        turned = t.index(value).transpose(order)
        width = t.shape_of(value.tensor)[2] if _is_image(t, value, order[0]) else turned.shape[1]
        for first in range(0, turned.shape[1], width):
            part = turned[:, None, first : first + width]
            held = Computed(value.tensor, part, value.origin or t.node)
            pieces.append(t.build.tensor(held, t.location, t.dtype))
            places.append((0, at))
            at += part.shape[2]
    whole = (t.shape_of(pieces[0])[0], 1, at)
    base = t.base(*pieces, shape=whole)
    name = t.build.add(floating.Mosaic(**base, places=tuple(places)))
    return t.chosen(Computed(name), views.whole((whole[0], at)).transpose(np.argsort(order)))


def stack(t: Translation) -> Value:
    """stack: tensors side by side along a new dimension."""
    dim = t.argument("dim") % (len(t.shape) + 1)
    if dim == 0:
        raise Refusal("a stack of batches", "stack from dimension 1 on")
    values = [t.known(v) for v in t.argument("tensors")]
    indices = [np.expand_dims(t.index(v), dim - 1) for v in values]
    return _joined(t, values, indices, dim - 1)


def _joined(t: Translation, values: list[Computed], indices: list[Index], dim: int) -> Computed:
    """Return the source tensors of the values as one, joined along channels, and the movement of
    its elements."""
    tensors = list(dict.fromkeys(v.tensor for v in values))
    shapes = [t.shape_of(name) for name in tensors]
    if any(len(s) != len(shapes[0]) or s[1:] != shapes[0][1:] for s in shapes):
        raise Refusal(f"joins parts of tensors of different sizes, {shapes}", APART)
    starts = dict(zip(tensors, accumulate(map(math.prod, shapes), initial=0), strict=False))
    moved = [np.where(i < 0, i, i + starts[v.tensor]) for v, i in zip(values, indices, strict=True)]
    index = np.concatenate(moved, dim)
    if len(tensors) == 1:
        return Computed(tensors[0], index, t.node)
    whole = (sum(s[0] for s in shapes), *shapes[0][1:])
    joined = t.build.add(floating.Concat(**t.base(*tensors, shape=whole)))
    return Computed(joined, index, t.node)
