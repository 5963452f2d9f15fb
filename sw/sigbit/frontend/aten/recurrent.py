"""Translation of LSTM and GRU: steps one after the other, with the same parameters."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Steps, Value
from sigbit.ir import floating

STEPS_MAX = 4096
"""Maximum number of steps of a sequence; each step becomes nodes of its own."""


def lstm(t: Translation) -> Value:
    """lstm: states of all steps, last hidden and cell states of all layers."""
    tops, hidden, cells = _layers(t, _lstm_layer, states=2)
    return Steps(tops, 1), Steps(hidden, 0), Steps(cells, 0)


def gru(t: Translation) -> Value:
    """gru: states of all steps, last states of all layers."""
    tops, hidden, _ = _layers(t, _gru_layer, states=1)
    return Steps(tops, 1), Steps(hidden, 0)


Layer = Callable[[Translation, tuple[str, ...], list[FxNode], str], tuple[tuple[str, ...], str]]


def _layers(t: Translation, layer: Layer, states: int) -> tuple[tuple[str, ...], ...]:
    given = t.argument("hx")
    starts = [t.values.get(s) for s in (given if isinstance(given, (list, tuple)) else [given])]
    for problem, reason, remedy in (
        (t.argument("bidirectional"), "a bidirectional layer", "use one direction"),
        (not t.argument("batch_first"), "steps before samples", "use batch_first=True"),
        (
            all([t.argument("train"), t.argument("dropout")]),
            "dropout between layers that stays active",
            "export in evaluation mode",
        ),
        (
            len(starts) != states
            or not all(isinstance(s, Tensor) and not bool(s.any()) for s in starts),
            "an initial state that is not zero",
            "leave the initial state out",
        ),
    ):
        if problem:
            raise Refusal(f"{reason} is not supported", remedy)
    steps = _steps(t)
    params: list[Any] = list(t.argument("params"))
    count = int(t.argument("num_layers"))
    each = len(params) // count
    if each != (4 if t.argument("has_biases") else 2):
        raise Refusal("projections (proj_size) are not supported", "leave proj_size at 0")
    hidden, cells = [], []
    for i in range(count):
        steps, cell = layer(t, steps, params[each * i : each * (i + 1)], f"l{i}")
        hidden.append(steps[-1])
        cells.append(cell)
    return steps, tuple(hidden), tuple(cells)


def _steps(t: Translation) -> tuple[str, ...]:
    """Return the vectors of the input sequence."""
    value = t.values.get(t.argument("input"))
    if isinstance(value, Steps) and value.dim == 1:
        return value.tensors
    known = t.known(t.argument("input"))
    shape = t.shape_of(known.tensor)
    index = np.arange(int(np.prod(shape))).reshape(shape) if known.index is None else known.index
    if index.ndim != 2:
        raise Refusal("works on [batch, steps, features] only", "give a sequence")
    if len(index) > STEPS_MAX:
        raise Refusal(f"has {len(index)} steps, at most {STEPS_MAX} work", "give shorter sequences")
    return tuple(
        t.build.tensor(Computed(known.tensor, row, t.node), t.location, t.dtype) for row in index
    )


def _values(t: Translation, params: list[FxNode]) -> tuple[str, str, Tensor, Tensor]:
    """Names of the two matrices, and both biases."""
    found = [t.values.get(p) for p in params]
    if not all(isinstance(f, Tensor) for f in found):
        raise Refusal("computed weights", "use parameters of the module")
    tensors = [f for f in found if isinstance(f, Tensor)]
    names = [
        t.build.parameter(t.names.get(p, f"{t.name}.weight{i}"), tensors[i])
        for i, p in enumerate(params[:2])
    ]
    biases = tensors[2:] or [tensors[0].new_zeros(len(tensors[0]))] * 2
    return names[0], names[1], biases[0], biases[1]


class _Cell:
    """Shorthand for the operations of one step."""

    def __init__(self, t: Translation, part: str) -> None:
        self._t, self._part = t, part

    def linear(self, x: str, weight: str, bias: str | None) -> str:
        rows = len(self._t.build.parameters[weight])
        base = self._t.base(x, shape=(rows,), part=f"{self._part}.linear")
        return self._t.build.add(floating.Linear(**base, weight=weight, bias=bias))

    def gate(self, x: str, number: int, size: int) -> str:
        base = self._t.base(x, shape=(size,), part=f"{self._part}.gate{number}")
        index = tuple(range(number * size, (number + 1) * size))
        return self._t.build.add(floating.Channels(**base, index=index))

    def function(self, name: str, x: str) -> str:
        return self._t.unary(Computed(x), name, part=f"{self._part}.{name}").tensor

    def add(self, a: str, b: str) -> str:
        base = self._t.base(a, b, shape=self._t.shape_of(a), part=f"{self._part}.add")
        return self._t.build.add(floating.Add(**base))

    def multiply(self, a: str, b: str) -> str:
        base = self._t.base(a, b, shape=self._t.shape_of(a), part=f"{self._part}.mul")
        return self._t.build.add(floating.Multiply(**base))


def _lstm_layer(
    t: Translation, steps: tuple[str, ...], params: list[FxNode], layer: str
) -> tuple[tuple[str, ...], str]:
    """Compute ``c = f * c + i * g; h = o * tanh(c)`` with the gates i, f, g, o."""
    w_x, w_h, b_x, b_h = _values(t, params)
    bias = t.derived(f"{layer}.bias", b_x + b_h)
    size = len(b_x) // 4
    states: list[str] = []
    c = ""
    for number, x in enumerate(steps):
        cell = _Cell(t, f"{layer}.t{number}")
        sums = cell.linear(x, w_x, bias)
        if states:
            sums = cell.add(sums, cell.linear(states[-1], w_h, None))
        kinds = ("sigmoid", "sigmoid", "tanh", "sigmoid")
        i, f, g, o = (
            cell.function(kind, cell.gate(sums, k, size)) if states or k != 1 else ""
            for k, kind in enumerate(kinds)
        )
        new = cell.multiply(i, g)
        c = cell.add(cell.multiply(f, c), new) if states else new
        states.append(cell.multiply(o, cell.function("tanh", c)))
    return tuple(states), c


def _gru_layer(
    t: Translation, steps: tuple[str, ...], params: list[FxNode], layer: str
) -> tuple[tuple[str, ...], str]:
    """Compute ``n = tanh(x_n + r * h_n); h = n + z * (h - n)`` with the gates r, z."""
    w_x, w_h, b_x, b_h = _values(t, params)
    size = len(b_x) // 3
    both = torch.cat([b_x[: 2 * size] + b_h[: 2 * size], b_x[2 * size :]])
    only = torch.cat([torch.zeros_like(b_h[: 2 * size]), b_h[2 * size :]])
    bias_x, bias_h = t.derived(f"{layer}.bias_x", both), t.derived(f"{layer}.bias_h", only)
    states: list[str] = []
    for number, x in enumerate(steps):
        cell = _Cell(t, f"{layer}.t{number}")
        from_x = cell.linear(x, w_x, bias_x)
        r, z, n = (cell.gate(from_x, k, size) for k in range(3))
        if states:
            h = states[-1]
            from_h = cell.linear(h, w_h, bias_h)
            r, z = (
                cell.function("sigmoid", cell.add(gate, cell.gate(from_h, k, size)))
                for k, gate in enumerate((r, z))
            )
            n = cell.add(n, cell.multiply(r, cell.gate(from_h, 2, size)))
        else:
            h = ""
            r, z = cell.function("sigmoid", r), cell.function("sigmoid", z)
            part = f"{layer}.t{number}.reset"
            reset = t.affine(Computed(r), b_h[2 * size :].to(t.dtype), None, part=part)
            n = cell.add(n, reset.tensor)
        n = cell.function("tanh", n)
        back = cell.function("neg", n)
        change = cell.multiply(z, cell.add(h, back) if states else back)
        states.append(cell.add(n, change))
    return tuple(states), ""
