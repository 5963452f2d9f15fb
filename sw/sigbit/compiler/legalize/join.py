"""Gathers: concatenations and splits as ranges of channels of one value, which cost nothing.

Tensors that a concatenation combines are written to one *joined* value, and a split reads a part of
one, if all pieces begin at multiples of ``ic_lanes`` channels. Growing concatenations (DenseNet)
extend the value that they begin with. Pieces that cannot move, because they are inputs, parts of
others, or already joined elsewhere, are copied; unaligned pieces are selected by a convolution.
"""

from dataclasses import dataclass, field

import numpy as np

from sigbit.errors import CompileError
from sigbit.ir.integer import Constant, Conv, Gather, IntegerGraph, tensors_of
from sigbit_hw.arch.config import ArchConfig

Run = tuple[str, int, int]
"""Consecutive channels of a tensor: its name, the first channel and the number of channels."""


@dataclass(frozen=True)
class Clone:
    """A copy of some channels of a tensor, under the tensor name ``name``."""

    name: str
    source: Run


@dataclass
class Joins:
    """Location of the channels of all tensors.

    ``members``: tensors of every value in order; ``runs``: every tensor as channels of members, one
    contiguous range of a value, except for those ``absorbed``; ``clones``: copies to make, by
    gather. ``selected``: gathers that are computed.
    """

    channels: dict[str, int] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)
    home: dict[str, str] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    clones: dict[str, list[Clone]] = field(default_factory=dict)
    selected: set[str] = field(default_factory=set)
    absorbed: set[str] = field(default_factory=set)

    def place(self, tensor: str) -> tuple[str, int]:
        """(value, first channel) of a tensor that is not absorbed."""
        return self.locate(self.runs[tensor][0])

    def locate(self, run: Run) -> tuple[str, int]:
        """(value, first channel) of a run."""
        value = self.home[run[0]]
        members = self.members[value]
        before = members[: members.index(run[0])]
        return value, sum(self.channels[m] for m in before) + run[1]

    def resolve(self, tensor: str, channel: int) -> tuple[str, int]:
        """(member of a value, its channel) of ``channel`` of a tensor."""
        for member, first, count in self.runs[tensor]:
            if channel < count:
                return member, first + channel
            channel -= count
        raise IndexError(f"{tensor} has no channel {channel}")

    def total(self, value: str) -> int:
        """Channels of a value."""
        return sum(self.channels[m] for m in self.members[value])

    def contiguous(self, runs: list[Run]) -> bool:
        """True if ``runs`` are one range of channels of one value."""
        value, at = self.locate(runs[0])
        for run in runs:
            if self.locate(run) != (value, at):
                return False
            at += run[2]
        return True

    def add(self, name: str, channels: int) -> None:
        """Add a tensor with a value of its own."""
        self.channels[name], self.members[name], self.home[name] = channels, [name], name
        self.runs[name] = [(name, 0, channels)]


def join(graph: IntegerGraph, config: ArchConfig) -> Joins:
    """Locate the channels of all tensors of ``graph``; raises :class:`CompileError` for outputs
    that no operation can move."""
    joins = Joins()
    inputs = {n.name for n in graph.inputs}
    inputs |= {n.name for n in graph.nodes if isinstance(n, Constant)}
    for node in graph.nodes:
        if not isinstance(node, Gather):
            joins.add(node.name, node.type.shape[0])
            continue
        runs = _runs(node, joins)
        starts = np.cumsum([0, *(n for _, _, n in runs)])[:-1]
        aligned = all(s % config.ic_lanes == 0 for s in starts)
        if joins.contiguous(runs) and joins.locate(runs[0])[1] % config.ic_lanes == 0:
            joins.runs[node.name] = runs
        elif aligned and all(joins.locate(r)[1] % config.ic_lanes == 0 for r in runs):
            joins.runs[node.name] = _joined(node.name, runs, joins, inputs, config)
        elif _selectable(node.type.planes, config):
            joins.add(node.name, node.type.shape[0])
            joins.selected.add(node.name)
        else:
            _check_absorbable(graph, node, config)
            joins.runs[node.name] = runs
            joins.absorbed.add(node.name)
    return joins


def _runs(node: Gather, joins: Joins) -> list[Run]:
    """Channels of ``node`` as runs of tensors that have channels of their own."""
    found: list[Run] = []
    for tensor, channel in node.channels.tolist():
        name, at = joins.resolve(node.tensors[tensor], channel)
        last = found[-1] if found else ("", 0, 0)
        if (last[0], last[1] + last[2]) == (name, at):
            found[-1] = (name, last[1], last[2] + 1)
        else:
            found.append((name, at, 1))
    return found


def _joined(
    name: str, runs: list[Run], joins: Joins, inputs: set[str], config: ArchConfig
) -> list[Run]:
    """``runs`` as a contiguous range: they extend the value that the first of them end, standalone
    tensors move there, others are cloned."""
    value, _ = joins.locate(runs[0])
    kept = 0
    for count in range(1, len(runs)):
        tail, first, length = runs[count - 1]
        ends = tail == joins.members[value][-1] and first + length == joins.channels[tail]
        if ends and joins.contiguous(runs[:count]) and value not in inputs:
            kept = count
    if joins.total(value) % config.ic_lanes:
        kept = 0
    found = runs[:kept]
    for number, run in enumerate(runs[kept:], kept):
        tensor, first, length = run
        whole = length == joins.channels[tensor] and tensor not in inputs
        alone = bool(found) and whole and joins.members.get(tensor) == [tensor] and tensor != value
        if not alone:
            tensor = f"{name}:{number}"
            joins.add(tensor, length)
            joins.clones.setdefault(name, []).append(Clone(tensor, run))
        if not found:
            value = tensor
        else:
            del joins.members[tensor]
            joins.members[value].append(tensor)
            joins.home[tensor] = value
        found.append((tensor, 0, length))
    return found


def _selectable(planes: int, config: ArchConfig) -> bool:
    """True if stored integers, minus their smallest value, pass the requantizer unchanged."""
    values = config.act_grid(planes).values
    return bool(values.max() - values.min() < 1 << config.result_bits)


def _check_absorbable(graph: IntegerGraph, node: Gather, config: ArchConfig) -> None:
    readers = [n for n in graph.nodes if node.name in tensors_of(n)]
    if node.name in graph.outputs or not all(isinstance(n, Conv | Gather) for n in readers):
        raise CompileError(
            f"{node.name}: pieces of {node.type.planes} digits must start at multiples of "
            f"{config.ic_lanes} channels on {config.name}: use fewer bits for it, or pad it"
        )
