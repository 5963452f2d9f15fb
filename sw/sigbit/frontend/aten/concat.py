"""Translation of concatenations."""

import math
from itertools import accumulate

import numpy as np

from sigbit.frontend.moves import Index
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating

APART = "return the parts as outputs of their own, and join them on the host"


def concat(t: Translation) -> Value:
    """cat along channels or features; of steps, into a sequence."""
    rank = len(t.shape) + 1
    dim = t.argument("dim")
    if dim % rank == 0 or (dim % rank > 1 and rank == 4):
        raise Refusal(f"concatenation along dimension {dim}", APART)
    values = [t.known(v) for v in t.argument("tensors")]
    if rank == 3:
        return _joined(t, values, [_index(t, v) for v in values], dim % rank - 1)
    tensors = [t.build.tensor(v, t.location, t.dtype) for v in values]
    return Computed(tensors[0]) if len(tensors) == 1 else t.add(floating.Concat(**t.base(*tensors)))


def stack(t: Translation) -> Value:
    """stack: tensors side by side along a new dimension."""
    dim = t.argument("dim") % (len(t.shape) + 1)
    if dim == 0:
        raise Refusal("a stack of batches", "stack from dimension 1 on")
    values = [t.known(v) for v in t.argument("tensors")]
    indices = [np.expand_dims(_index(t, v), dim - 1) for v in values]
    return _joined(t, values, indices, dim - 1)


def _index(t: Translation, value: Computed) -> Index:
    if value.index is not None:
        return value.index
    shape = t.shape_of(value.tensor)
    return np.arange(math.prod(shape)).reshape(shape)


def _joined(t: Translation, values: list[Computed], indices: list[Index], dim: int) -> Computed:
    """The tensors that the values are taken from as one, channels behind channels, and the
    movement of its elements."""
    tensors = list(dict.fromkeys(v.tensor for v in values))
    shapes = [t.shape_of(name) for name in tensors]
    if any(len(s) == 2 or len(s) != len(shapes[0]) or s[1:] != shapes[0][1:] for s in shapes):
        raise Refusal(f"joins parts of tensors of different sizes, {shapes}", APART)
    starts = dict(zip(tensors, accumulate(map(math.prod, shapes), initial=0), strict=False))
    moved = [np.where(i < 0, i, i + starts[v.tensor]) for v, i in zip(values, indices, strict=True)]
    index = np.concatenate(moved, dim)
    if len(tensors) == 1:
        return Computed(tensors[0], index, t.node)
    whole = (sum(s[0] for s in shapes), *shapes[0][1:])
    joined = t.build.add(floating.Concat(**t.base(*tensors, shape=whole)))
    return Computed(joined, index, t.node)
