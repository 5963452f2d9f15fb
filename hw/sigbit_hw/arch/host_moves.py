"""Functions of the host that move elements: operators of ONNX, operator set 21."""

from math import prod

import numpy as np

from sigbit_hw.arch.host_call import ELEMENTS_MAX, Call, HostError, Value, allowed


def reshape(c: Call) -> Value:
    shape = list(c.ints(1))
    for i, n in enumerate(shape):
        if n == 0 and not c.option("allowzero", 0):
            if i >= c[0].ndim:
                raise HostError(f"no axis {i} to copy")
            shape[i] = c[0].shape[i]
    return c[0].reshape(shape)


def flatten(c: Call) -> Value:
    axis = int(c.option("axis", 1))
    if not -c[0].ndim <= axis <= c[0].ndim:
        raise HostError(f"axis {axis} of a tensor with {c[0].ndim}")
    axis += c[0].ndim if axis < 0 else 0
    return c[0].reshape(prod(c[0].shape[:axis]), prod(c[0].shape[axis:]))


def transpose(c: Call) -> Value:
    return np.transpose(c[0], c.option("perm", None))


def squeeze(c: Call) -> Value:
    return np.squeeze(c[0], c.axes(1, c[0].ndim) if c.has(1) else None)


def unsqueeze(c: Call) -> Value:
    return np.expand_dims(c[0], c.axes(1, c[0].ndim + len(c.ints(1))))


def concat(c: Call) -> Value:
    axis = c.axis(0)
    parts = [c[i] for i in range(len(c.operands))]
    if sum(p.size for p in parts) > ELEMENTS_MAX:
        allowed((sum(p.size for p in parts),))
    return np.concatenate(parts, axis)


def split(c: Call) -> list[Value]:
    axis = c.axis(0)
    size = c[0].shape[axis]
    if c.has(1):
        sizes = list(c.ints(1))
    else:
        part = -(-size // c.count)
        sizes = [min(part, size - i * part) for i in range(c.count)]
    if min(sizes) < 0 or sum(sizes) != size:
        raise HostError(f"parts {sizes} of {size}")
    return np.split(c[0], np.cumsum(sizes)[:-1], axis)


def sliced(c: Call) -> Value:
    starts, ends = c.ints(1), c.ints(2)
    axes = c.axes(3, c[0].ndim) if c.has(3) else tuple(range(len(starts)))
    steps = c.ints(4) if c.has(4) else (1,) * len(starts)
    index = [slice(None)] * c[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        n = c[0].shape[axis]
        low = 0 if step > 0 else -1
        start = min(max(start + (n if start < 0 else 0), 0), n if step > 0 else n - 1)
        end = min(max(end + (n if end < 0 else 0), low), n)
        index[axis] = slice(start, None if end < 0 else end, step)
    return c[0][tuple(index)]


def _indices(c: Call, axis: int) -> Value:
    if c[1].dtype != np.int64:
        raise HostError("indices must be integers")
    size = c[0].shape[axis]
    if c[1].size and not (-size <= c[1].min() and c[1].max() < size):
        raise HostError(f"an index outside [{-size}, {size})")
    return c[1] % max(size, 1)


def gather(c: Call) -> Value:
    axis = c.axis(0)
    allowed((*c[0].shape[:axis], *c[1].shape, *c[0].shape[axis + 1 :]))
    return np.take(c[0], _indices(c, axis), axis)


def gather_elements(c: Call) -> Value:
    axis = c.axis(0)
    return np.take_along_axis(c[0], _indices(c, axis), axis)


def gather_nd(c: Call) -> Value:
    if c[1].dtype != np.int64 or not c[1].ndim or not 1 <= c[1].shape[-1] <= c[0].ndim:
        raise HostError("indices must be integers, one for each of the first axes")
    depth = c[1].shape[-1]
    allowed((*c[1].shape[:-1], *c[0].shape[depth:]))
    return c[0][tuple(np.moveaxis(c[1], -1, 0))]


def expand(c: Call) -> Value:
    shape = allowed(np.broadcast_shapes(c[0].shape, allowed(c.ints(1))))
    return np.broadcast_to(c[0], shape).copy()


def tile(c: Call) -> Value:
    repeats = c.ints(1)
    if len(repeats) != c[0].ndim:
        raise HostError(f"{len(repeats)} repeats for {c[0].ndim} axes")
    allowed([n * r for n, r in zip(c[0].shape, repeats, strict=True)])
    return np.tile(c[0], repeats)


def shape_of(c: Call) -> Value:
    found = c[0].shape[c.option("start", 0) : c.option("end", None)]
    return np.array(found, np.int64)


def filled(c: Call) -> Value:
    return np.full(allowed(c.ints(0)), c.number(1, 0.0))
