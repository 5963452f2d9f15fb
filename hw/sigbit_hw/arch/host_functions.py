"""The functions of the host: operators of ONNX, operator set 21, in double precision.

A file that anybody may have written names them, so that each checks what it is given, and how large
its results become, before it makes them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from sigbit_hw.arch import host_moves as moves
from sigbit_hw.arch.host_call import Apply, Call, Function, HostError, Kind, Value, allowed

COMPARISONS_MAX = 1 << 31
"""Pairs of boxes that are compared at most."""


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
        "Concat": Function(moves.concat, 1, _MANY, options=_AXIS),
        "ConstantOfShape": Function(moves.filled, 1, 2),
        "Cos": Function(_reals(np.cos), 1, 1),
        "Div": Function(_pairs(_divided), 2, 2),
        "Equal": Function(_pairs(np.equal), 2, 2),
        "Exp": Function(_reals(np.exp), 1, 1),
        "Expand": Function(moves.expand, 2, 2),
        "Flatten": Function(moves.flatten, 1, 1, options=_AXIS),
        "Floor": Function(_reals(np.floor), 1, 1),
        "Gather": Function(moves.gather, 2, 2, options=_AXIS),
        "GatherElements": Function(moves.gather_elements, 2, 2, options=_AXIS),
        "GatherND": Function(moves.gather_nd, 2, 2),
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
        "Reshape": Function(moves.reshape, 2, 2, options={"allowzero": "int"}),
        "Round": Function(_reals(np.rint), 1, 1),
        "Shape": Function(moves.shape_of, 1, 1, options={"start": "int", "end": "int"}),
        "Sigmoid": Function(_reals(_sigmoid), 1, 1),
        "Sign": Function(_each(np.sign), 1, 1),
        "Sin": Function(_reals(np.sin), 1, 1),
        "Slice": Function(moves.sliced, 3, 5),
        "Softmax": Function(_softmax, 1, 1, options=_AXIS),
        "Softplus": Function(_reals(lambda x: np.logaddexp(x, 0)), 1, 1),
        "Split": Function(
            moves.split, 1, 2, results=_MANY, options={"axis": "int", "num_outputs": "int"}
        ),
        "Sqrt": Function(_reals(np.sqrt), 1, 1),
        "Squeeze": Function(moves.squeeze, 1, 2),
        "Sub": Function(_pairs(np.subtract), 2, 2),
        "Sum": Function(_pairs(np.add), 1, _MANY),
        "Tanh": Function(_reals(np.tanh), 1, 1),
        "Tile": Function(moves.tile, 2, 2),
        "TopK": Function(
            _top, 2, 2, results=2, options={"axis": "int", "largest": "int", "sorted": "int"}
        ),
        "Transpose": Function(moves.transpose, 1, 1, options={"perm": "ints"}),
        "Unsqueeze": Function(moves.unsqueeze, 2, 2),
        "Where": Function(_where, 3, 3),
        "Xor": Function(_pairs(np.logical_xor), 2, 2),
    }
)
"""By name."""
