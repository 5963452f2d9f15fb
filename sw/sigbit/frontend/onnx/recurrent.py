"""Translation of ONNX LSTM and GRU, whose gates have another order than torch's."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from torch.fx import Node as FxNode

from sigbit.frontend.onnx.trace import Array, Call, Constant, View, aten


def lstm(c: Call) -> tuple[View, ...]:
    """LSTM: gates i, o, f, c."""
    _check(c, ["Sigmoid", "Tanh", "Tanh"])
    c.need(not c.has(7) or not np.any(c.array(7)), "peepholes", "leave operand P out")
    c.need(not c.get("input_forget", 0), "input_forget=1", "leave it at 0")
    return _layer(c, aten.lstm.input, (0, 2, 3, 1), states=2)


def gru(c: Call) -> tuple[View, ...]:
    """GRU: gates z, r, h."""
    _check(c, ["Sigmoid", "Tanh"])
    c.need(
        bool(c.get("linear_before_reset", 0)),
        "linear_before_reset=0",
        "use linear_before_reset=1, as torch.nn.GRU does",
    )
    return _layer(c, aten.gru.input, (1, 0, 2), states=1)


def _check(c: Call, functions: list[str]) -> None:
    direction = c.get("direction", "forward")
    given = [a.decode() if isinstance(a, bytes) else a for a in c.get("activations", functions)]
    c.need(direction == "forward", f"direction {direction!r}", "use one direction")
    c.need(given == functions, f"activations {given}", f"use {functions}")
    c.need(c.get("clip") is None, "clip", "leave it out")
    lengths_differ = c.has(4) and set(c.ints(4)) != {c.shape()[c.get("layout", 0) != 0]}
    c.need(not lengths_differ, "sequences of several lengths", "leave sequence_lens out")


def _layer(
    c: Call, operation: Callable[..., Any], order: tuple[int, ...], states: int
) -> tuple[View, ...]:
    x, first = c.view(), int(c.get("layout", 0))
    c.need(len(x.axes) == 3, f"works on a tensor with {len(x.axes)} axes", "give a sequence")
    if not first:
        x = View(x.node, (x.axes[1], x.axes[0], x.axes[2]))
    size, batch = c.array(2).shape[2], x.shape[0]
    c.same("hidden_size", size)

    def gates(array: Array) -> Array:
        return np.ascontiguousarray(np.concatenate([np.split(array, len(order))[g] for g in order]))

    weights = [c.derived(i, "gates", gates(c.array(i)[0])) for i in (1, 2)]
    if c.has(3):
        both = np.split(c.array(3)[0], 2)
        weights += [c.derived(3, f"gates{i}", gates(half)) for i, half in enumerate(both)]
    starts = [_start(c, 5 + i, (1, batch, size), bool(first)) for i in range(states)]
    options = (weights, len(weights) == 4, 1, 0.0, False, False, True)
    node = c.emit(operation, c.applied(x), starts if states == 2 else starts[0], *options)
    parts = [c.emit(operator.getitem, node, i) for i in range(states + 1)]
    last = (1, 0, 2) if first else (0, 1, 2)
    return (
        View(parts[0], (0, 1, None, 2) if first else (1, None, 0, 2)),
        *(View(p, last) for p in parts[1:]),
    )


def _start(c: Call, index: int, shape: tuple[int, ...], batch_first: bool) -> FxNode:
    """Return an initial state in the layout of torch."""
    state: Array = np.zeros(shape, c.array(1).dtype)
    if c.has(index):
        given = c.array(index)
        state = np.broadcast_to(given.swapaxes(0, 1) if batch_first else given, shape)
    return c.trace.constant(Constant(f"{c.origin.name}.state{index}", state))
