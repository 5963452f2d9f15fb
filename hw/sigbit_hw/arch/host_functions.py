"""The functions of the host: operators of ONNX, operator set 21, in double precision.

A file that anybody may have written names them, so that each checks what it is given, and how large
its results become, before it makes them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Value = NDArray[Any]
Option = int | float | tuple[int, ...]
Operands = list[Value | None]

ELEMENTS_MAX = 1 << 26
"""Elements of a result at most."""
COMPARISONS_MAX = 1 << 31
"""Pairs of boxes that are compared at most."""


class HostError(ValueError):
    """A step cannot be done; the message says why."""


Apply = Callable[["Call"], "Value | Sequence[Value]"]
Kind = Literal["int", "float", "ints"]


@dataclass(frozen=True)
class Call:
    """Operands and options of one step, and the number of its results; in a ``trial``, which only
    asks if it can be done, one box a class is enough."""

    operands: Operands
    options: Mapping[str, Option]
    count: int
    trial: bool = False

    def __getitem__(self, index: int) -> Value:
        """An operand that must be there."""
        value = self.operands[index] if index < len(self.operands) else None
        if value is None:
            raise HostError(f"operand {index} is missing")
        return value

    def has(self, index: int) -> bool:
        """Whether an operand is given."""
        return index < len(self.operands) and self.operands[index] is not None

    def ints(self, index: int) -> tuple[int, ...]:
        """An operand that is a few integers."""
        array = self[index].reshape(-1)
        if array.size > 64:
            raise HostError(f"operand {index} has {array.size:,} numbers")
        return tuple(int(v) for v in array)

    def number(self, index: int, default: float) -> float:
        """An operand that is one number, or its default."""
        if not self.has(index):
            return default
        if self[index].size != 1:
            raise HostError(f"operand {index} has {self[index].size:,} numbers")
        return float(self[index].reshape(-1)[0])

    def option(self, name: str, default: Any) -> Any:
        """An option, or its default."""
        return self.options.get(name, default)

    def axis(self, default: int, name: str = "axis") -> int:
        """The axis of operand 0 that an option names."""
        return _axis(int(self.option(name, default)), self[0].ndim)

    def axes(self, index: int, rank: int) -> tuple[int, ...]:
        """The axes that an operand lists, of a tensor of ``rank``."""
        found = tuple(_axis(a, rank) for a in self.ints(index))
        if len(set(found)) < len(found):
            raise HostError("an axis comes twice")
        return found


@dataclass(frozen=True)
class Function:
    """A function with ``least`` to ``most`` operands and up to ``results`` results; ``ragged`` if
    their size depends on values."""

    apply: Apply
    least: int
    most: int
    results: int = 1
    options: Mapping[str, Kind] = field(default_factory=dict)
    ragged: bool = False

    def check(
        self, operands: Sequence[str], results: Sequence[str], options: Mapping[str, Option]
    ) -> None:
        """Raise :class:`HostError` unless a step may be written so."""
        if not self.least <= len(operands) <= self.most:
            raise HostError(f"takes {self.least} to {self.most} operands, not {len(operands)}")
        if not 1 <= len(results) <= self.results:
            raise HostError(f"has 1 to {self.results} results, not {len(results)}")
        for name, value in options.items():
            kind = self.options.get(name)
            if kind is None or not _is(value, kind):
                allowed = ", ".join(f"{n} ({k})" for n, k in self.options.items()) or "none"
                raise HostError(f"options are {allowed}, not {name}={value!r}")

    def __call__(
        self, operands: Operands, options: Mapping[str, Option], count: int, *, trial: bool = False
    ) -> list[Value]:
        """The results; :class:`HostError` where there are none."""
        try:
            found = self.apply(Call(operands, options, count, trial))
        except HostError:
            raise
        except (ValueError, IndexError, TypeError, OverflowError, np.exceptions.AxisError) as error:
            raise HostError(f"its operands do not fit ({' '.join(str(error).split())})") from None
        several = list(found) if isinstance(found, (tuple, list)) else [np.asarray(found)]
        if len(several) < count:
            raise HostError(f"has {len(several)} results, not {count}")
        return several[:count]


def _is(value: object, kind: Kind) -> bool:
    if kind == "ints":
        return isinstance(value, tuple) and all(type(v) is int for v in value)
    return type(value) is int or (kind == "float" and type(value) is float)


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise HostError(f"axis {axis} of a tensor with {rank}")
    return axis % rank


def allowed(shape: Sequence[int]) -> tuple[int, ...]:
    """``shape``, if a result may have it."""
    if any(n < 0 for n in shape) or len(shape) > 16 or prod(shape) > ELEMENTS_MAX:
        raise HostError(f"a result of shape {list(shape)[:16]}, at most {ELEMENTS_MAX:,} elements")
    return tuple(int(n) for n in shape)


def _each(function: Callable[[Value], Value]) -> Apply:
    return lambda c: function(c[0])


def _reals(function: Callable[[Value], Value]) -> Apply:
    return lambda c: function(np.asarray(c[0], np.float64))


def _pairs(function: Callable[[Value, Value], Any]) -> Apply:
    def apply(c: Call) -> Value:
        found = c[0]
        for i in range(1, len(c.operands)):
            allowed(np.broadcast_shapes(found.shape, c[i].shape))
            found = np.asarray(function(found, c[i]))
        return found

    return apply


def _divided(a: Value, b: Value) -> Value:
    if a.dtype.kind == b.dtype.kind == "i":
        if not b.all():
            raise HostError("an integer is divided by 0")
        return np.asarray(np.trunc(a / b).astype(np.int64))
    return np.asarray(a / b)


def _power(a: Value, b: Value) -> Value:
    return np.power(np.asarray(a, np.float64), b)


def _sigmoid(x: Value) -> Value:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


def _clip(c: Call) -> Value:
    low, high = c.number(1, -np.inf), c.number(2, np.inf)
    return np.minimum(np.maximum(c[0], low), high)


def _where(c: Call) -> Value:
    allowed(np.broadcast_shapes(c[0].shape, c[1].shape, c[2].shape))
    return np.where(c[0], c[1], c[2])


_CASTS = {np.float64: (1, 10, 11, 16), np.int64: (2, 3, 4, 5, 6, 7, 12, 13), np.bool_: (9,)}


def _cast(c: Call) -> Value:
    to = int(c.option("to", 0))
    for kind, numbers in _CASTS.items():
        if to in numbers:
            return np.asarray(c[0].astype(kind))
    raise HostError(f"a cast to type {to}")


def _reshape(c: Call) -> Value:
    shape = list(c.ints(1))
    for i, n in enumerate(shape):
        if n == 0 and not c.option("allowzero", 0):
            if i >= c[0].ndim:
                raise HostError(f"no axis {i} to copy")
            shape[i] = c[0].shape[i]
    return c[0].reshape(shape)


def _flatten(c: Call) -> Value:
    axis = int(c.option("axis", 1))
    if not -c[0].ndim <= axis <= c[0].ndim:
        raise HostError(f"axis {axis} of a tensor with {c[0].ndim}")
    axis += c[0].ndim if axis < 0 else 0
    return c[0].reshape(prod(c[0].shape[:axis]), prod(c[0].shape[axis:]))


def _transpose(c: Call) -> Value:
    return np.transpose(c[0], c.option("perm", None))


def _squeeze(c: Call) -> Value:
    return np.squeeze(c[0], c.axes(1, c[0].ndim) if c.has(1) else None)


def _unsqueeze(c: Call) -> Value:
    return np.expand_dims(c[0], c.axes(1, c[0].ndim + len(c.ints(1))))


def _concat(c: Call) -> Value:
    axis = c.axis(0)
    parts = [c[i] for i in range(len(c.operands))]
    if sum(p.size for p in parts) > ELEMENTS_MAX:
        allowed((sum(p.size for p in parts),))
    return np.concatenate(parts, axis)


def _split(c: Call) -> list[Value]:
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


def _slice(c: Call) -> Value:
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


def _gather(c: Call) -> Value:
    axis = c.axis(0)
    allowed((*c[0].shape[:axis], *c[1].shape, *c[0].shape[axis + 1 :]))
    return np.take(c[0], _indices(c, axis), axis)


def _gather_elements(c: Call) -> Value:
    axis = c.axis(0)
    return np.take_along_axis(c[0], _indices(c, axis), axis)


def _gather_nd(c: Call) -> Value:
    if c[1].dtype != np.int64 or not c[1].ndim or not 1 <= c[1].shape[-1] <= c[0].ndim:
        raise HostError("indices must be integers, one for each of the first axes")
    depth = c[1].shape[-1]
    allowed((*c[1].shape[:-1], *c[0].shape[depth:]))
    return c[0][tuple(np.moveaxis(c[1], -1, 0))]


def _expand(c: Call) -> Value:
    shape = allowed(np.broadcast_shapes(c[0].shape, allowed(c.ints(1))))
    return np.broadcast_to(c[0], shape).copy()


def _tile(c: Call) -> Value:
    repeats = c.ints(1)
    if len(repeats) != c[0].ndim:
        raise HostError(f"{len(repeats)} repeats for {c[0].ndim} axes")
    allowed([n * r for n, r in zip(c[0].shape, repeats, strict=True)])
    return np.tile(c[0], repeats)


def _shape(c: Call) -> Value:
    found = c[0].shape[c.option("start", 0) : c.option("end", None)]
    return np.array(found, np.int64)


def _filled(c: Call) -> Value:
    return np.full(allowed(c.ints(0)), c.number(1, 0.0))


def _reduced(function: Callable[..., Any]) -> Apply:
    def apply(c: Call) -> Value:
        axes = c.axes(1, c[0].ndim) if c.has(1) and c[1].size else None
        if axes is None and c.option("noop_with_empty_axes", 0):
            return c[0]
        return np.asarray(function(c[0], axis=axes, keepdims=bool(c.option("keepdims", 1))))

    return apply


def _extreme_index(function: Callable[..., Any]) -> Apply:
    def apply(c: Call) -> Value:
        axis, x = c.axis(0), c[0]
        if c.option("select_last_index", 0):
            found = x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis, keepdims=True)
        else:
            found = function(x, axis=axis, keepdims=True)
        found = np.asarray(found, np.int64)
        return found if c.option("keepdims", 1) else np.squeeze(found, axis)

    return apply


def _log_softmax(c: Call) -> Value:
    axis, x = c.axis(-1), np.asarray(c[0], np.float64)
    x = x - x.max(axis, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(axis, keepdims=True)))


def _softmax(c: Call) -> Value:
    axis, x = c.axis(-1), np.asarray(c[0], np.float64)
    raised = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(raised / raised.sum(axis, keepdims=True))


def _top(c: Call) -> list[Value]:
    axis, x = c.axis(-1), c[0]
    (k,) = c.ints(1)
    if not 0 <= k <= x.shape[axis]:
        raise HostError(f"the first {k} of {x.shape[axis]}")
    order = np.argsort(-x if c.option("largest", 1) else x, axis, kind="stable")
    index = np.take(order, np.arange(k), axis)
    return [np.take_along_axis(x, index, axis), index]


def _corners(boxes: Value, centred: bool) -> Value:
    """(top, left, bottom, right) of boxes ``[n, 4]``."""
    if centred:
        x, y, w, h = boxes.T
        return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], 1)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, high], 1)


def _suppressed(c: Call) -> Value:
    """(sample, class, box) of every box that no better one of its class overlaps."""
    boxes, scores = c[0], c[1]
    if boxes.ndim != 3 or boxes.shape[2] != 4 or scores.ndim != 3 or len(boxes) != len(scores):
        raise HostError("boxes must be [batch, n, 4], scores [batch, classes, n]")
    if scores.shape[2] != boxes.shape[1]:
        raise HostError(f"{scores.shape[2]} scores a class for {boxes.shape[1]} boxes")
    most, overlap = int(c.number(2, 0)), c.number(3, 0.0)
    most = min(most, 1) if c.trial else most
    least = c.number(4, -np.inf)
    found: list[tuple[int, int, int]] = []
    left = COMPARISONS_MAX
    for n, (sample, of_class) in enumerate(zip(boxes, scores, strict=True)):
        corners = _corners(sample, bool(c.option("center_point_box", 0)))
        areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        for k, score in enumerate(of_class):
            order = np.argsort(-score, kind="stable")
            order = order[score[order] > least]
            chosen = 0
            while order.size and chosen < most:
                best, order = order[0], order[1:]
                found.append((n, k, int(best)))
                chosen += 1
                left -= order.size
                if left < 0:
                    raise HostError(f"more than {COMPARISONS_MAX:,} boxes to compare")
                low = np.maximum(corners[best, :2], corners[order, :2])
                high = np.minimum(corners[best, 2:], corners[order, 2:])
                common = np.prod(np.maximum(high - low, 0.0), axis=1)
                total = areas[best] + areas[order] - common
                order = order[~((common > overlap * total) & (total > 0))]
    return np.array(found, np.int64).reshape(-1, 3)


_AXIS: Mapping[str, Kind] = {"axis": "int"}
_REDUCED: Mapping[str, Kind] = {"keepdims": "int", "noop_with_empty_axes": "int"}
_INDEX: Mapping[str, Kind] = {"axis": "int", "keepdims": "int", "select_last_index": "int"}
_MANY = 256

FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "Abs": Function(_each(np.abs), 1, 1),
        "Add": Function(_pairs(np.add), 2, 2),
        "And": Function(_pairs(np.logical_and), 2, 2),
        "ArgMax": Function(_extreme_index(np.argmax), 1, 1, options=_INDEX),
        "ArgMin": Function(_extreme_index(np.argmin), 1, 1, options=_INDEX),
        "Cast": Function(_cast, 1, 1, options={"to": "int"}),
        "Ceil": Function(_reals(np.ceil), 1, 1),
        "Clip": Function(_clip, 1, 3),
        "Concat": Function(_concat, 1, _MANY, options=_AXIS),
        "ConstantOfShape": Function(_filled, 1, 2),
        "Cos": Function(_reals(np.cos), 1, 1),
        "Div": Function(_pairs(_divided), 2, 2),
        "Equal": Function(_pairs(np.equal), 2, 2),
        "Exp": Function(_reals(np.exp), 1, 1),
        "Expand": Function(_expand, 2, 2),
        "Flatten": Function(_flatten, 1, 1, options=_AXIS),
        "Floor": Function(_reals(np.floor), 1, 1),
        "Gather": Function(_gather, 2, 2, options=_AXIS),
        "GatherElements": Function(_gather_elements, 2, 2, options=_AXIS),
        "GatherND": Function(_gather_nd, 2, 2),
        "Greater": Function(_pairs(np.greater), 2, 2),
        "GreaterOrEqual": Function(_pairs(np.greater_equal), 2, 2),
        "Identity": Function(_each(np.asarray), 1, 1),
        "Less": Function(_pairs(np.less), 2, 2),
        "LessOrEqual": Function(_pairs(np.less_equal), 2, 2),
        "Log": Function(_reals(np.log), 1, 1),
        "LogSoftmax": Function(_log_softmax, 1, 1, options=_AXIS),
        "Max": Function(_pairs(np.maximum), 1, _MANY),
        "Min": Function(_pairs(np.minimum), 1, _MANY),
        "Mul": Function(_pairs(np.multiply), 2, 2),
        "Neg": Function(_each(np.negative), 1, 1),
        "NonMaxSuppression": Function(
            _suppressed, 2, 5, options={"center_point_box": "int"}, ragged=True
        ),
        "Not": Function(_each(np.logical_not), 1, 1),
        "Or": Function(_pairs(np.logical_or), 2, 2),
        "Pow": Function(_pairs(_power), 2, 2),
        "Reciprocal": Function(_reals(np.reciprocal), 1, 1),
        "ReduceMax": Function(_reduced(np.max), 1, 2, options=_REDUCED),
        "ReduceMean": Function(_reduced(np.mean), 1, 2, options=_REDUCED),
        "ReduceMin": Function(_reduced(np.min), 1, 2, options=_REDUCED),
        "ReduceSum": Function(_reduced(np.sum), 1, 2, options=_REDUCED),
        "Relu": Function(_each(lambda x: np.maximum(x, 0)), 1, 1),
        "Reshape": Function(_reshape, 2, 2, options={"allowzero": "int"}),
        "Round": Function(_reals(np.rint), 1, 1),
        "Shape": Function(_shape, 1, 1, options={"start": "int", "end": "int"}),
        "Sigmoid": Function(_reals(_sigmoid), 1, 1),
        "Sign": Function(_each(np.sign), 1, 1),
        "Sin": Function(_reals(np.sin), 1, 1),
        "Slice": Function(_slice, 3, 5),
        "Softmax": Function(_softmax, 1, 1, options=_AXIS),
        "Softplus": Function(_reals(lambda x: np.logaddexp(x, 0)), 1, 1),
        "Split": Function(
            _split, 1, 2, results=_MANY, options={"axis": "int", "num_outputs": "int"}
        ),
        "Sqrt": Function(_reals(np.sqrt), 1, 1),
        "Squeeze": Function(_squeeze, 1, 2),
        "Sub": Function(_pairs(np.subtract), 2, 2),
        "Sum": Function(_pairs(np.add), 1, _MANY),
        "Tanh": Function(_reals(np.tanh), 1, 1),
        "Tile": Function(_tile, 2, 2),
        "TopK": Function(
            _top, 2, 2, results=2, options={"axis": "int", "largest": "int", "sorted": "int"}
        ),
        "Transpose": Function(_transpose, 1, 1, options={"perm": "ints"}),
        "Unsqueeze": Function(_unsqueeze, 2, 2),
        "Where": Function(_where, 3, 3),
        "Xor": Function(_pairs(np.logical_xor), 2, 2),
    }
)
"""By name."""
