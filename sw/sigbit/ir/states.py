"""States: tensors that a run reads, and overwrites for the next one.

A state is an input and an output of a network that are one tensor in time: the output of a run is
the input of the next. A run is a function of both; only what repeats it carries the state.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sigbit.ir.arrays import Exact, Ints
from sigbit.ir.integer_nodes import Constant, Conv, Gather, Input, Matmul, Node
from sigbit_hw.arch.axes import Axes
from sigbit_hw.arch.formats import Format

STATES_MAX = 1 << 12
"""Maximum number of states."""


@dataclass(frozen=True, eq=False)
class State(Exact):
    """The input ``input`` of a run is the output called ``output`` of the run before; ``initial``
    ``[C, H, W]``, stored integers, in the first run. The state has the input's name."""

    input: str
    output: str
    initial: Ints


def check_states(
    states: Sequence[State],
    nodes: Mapping[str, Node],
    outputs: Mapping[str, tuple[str, Axes]],
    on_host: Collection[str],
    native: Format,
) -> None:
    """Raise ``ValueError`` unless every state is an input and an output of one type, whose values
    the input may have. ``outputs`` are tensors and axes by the outputs' names, of which the host
    reads those ``on_host``; ``native`` is the format of activations."""
    if not states:
        return
    _need(len(states) <= STATES_MAX, f"{len(states)} states, at most {STATES_MAX} work")
    for what in ("input", "output"):
        names = [getattr(s, what) for s in states]
        _need(len(set(names)) == len(names), f"two states have one {what}")
    ranges = _Ranges(nodes, native)
    for state in states:
        where = f"state {state.input!r}"
        node = nodes.get(state.input)
        if not isinstance(node, Input):
            raise ValueError(f"{where}: there is no such input")
        _need(state.output in outputs, f"{where}: there is no output {state.output!r}")
        _need(state.output not in on_host, f"{where}: the host reads its output")
        tensor, axes = outputs[state.output]
        wanted, found = (
            (t.shape, t.planes, t.scale, t.zero) for t in (node.type, nodes[tensor].type)
        )
        _need(wanted == found, f"{where} is {wanted} as an input, {found} as an output")
        same = axes.alike(node.axes, node.type.shape)
        _need(same, f"{where} has the axes {node.axes} as an input, {axes} as an output")
        low, high = ranges.of(tensor)
        _need(
            node.low <= low and high <= node.high,
            f"{where}: its output reaches [{low}, {high}], its input takes [{node.low}, "
            f"{node.high}]",
        )
        initial = state.initial
        _need(
            initial.dtype == np.int64 and initial.shape == node.type.shape,
            f"{where}: initial codes must be int64 {list(node.type.shape)}, not {initial.dtype} "
            f"{list(initial.shape)}",
        )
        inside = bool(((initial >= node.low) & (initial <= node.high)).all())
        _need(inside, f"{where}: initial codes must be in [{node.low}, {node.high}]")
    _need(len(states) < len(outputs), "all outputs are states")


class _Ranges:
    """Smallest and largest stored integers of tensors."""

    def __init__(self, nodes: Mapping[str, Node], native: Format) -> None:
        self._known: dict[str, tuple[int, int]] = {}
        for node in nodes.values():  # in topological order
            self._known[node.name] = self._range(node, native)

    def of(self, name: str) -> tuple[int, int]:
        return self._known[name]

    def _range(self, node: Node, native: Format) -> tuple[int, int]:
        match node:
            case Input():
                return node.low, node.high
            case Constant():
                return int(node.values.min()), int(node.values.max())
            case Conv() | Matmul():
                return int(node.table.min()), int(node.table.max())
            case Gather():
                lows, highs = zip(*(self._known[t] for t in node.tensors), strict=True)
                return min(lows), max(highs)
        low, high = self._known[node.tensor]
        return (min(low, native.min) if any(node.padding) else low), high


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
