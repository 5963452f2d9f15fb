"""Splitting of values that do not stay on chip into bands of rows.

An input is loaded band by band. Any other value is *spilled*, that is, stored band by band and
loaded again for every reader, or *fused* if a single operation reads it through windows that do not
overlap: then each of its bands is computed just before the band that is computed from it (a
convolution and its pooling), and never leaves the chip. Operations that read or write bands are
split accordingly; a band consists of the rows that a part needs, with real rows at inner borders
and a halo at those of the image.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from sigbit.compiler.fit.cut import (
    Rows,
    cut_op,
    extent,
    moved_operand,
    moved_result,
    rows_read,
)
from sigbit.compiler.fit.spill import detach, unjoin
from sigbit.compiler.network import MemoryTensor, Network, Op, Value
from sigbit.compiler.network import Rows as MemoryRows
from sigbit_hw.arch.config import ArchConfig

FIRST_BAND = 4
"""Ratio of the band size to that of the first band of an input, which is smaller so that the array
starts early."""


@dataclass
class Stage:
    """Operations that together write one value, or a part of it, band by band."""

    result: str
    ops: list[Op]


def band(network: Network, names: set[str], budget: int, config: ArchConfig) -> Network:
    """``network`` with the values ``names`` in bands; the bands of one step fill about ``budget``
    slots."""
    network, names = unjoin(*detach(network, names))
    return _Bander(network, names, budget, config).network()


def fusable(network: Network, name: str) -> bool:
    """True if a single operation reads ``name``, through windows that do not overlap, and writes a
    whole value."""
    value, uses = network.values[name], network.uses[name]
    if len(uses) != 1 or value.load or value.store:
        return False
    index, operand = uses[0]
    op = network.ops[index]
    region, result = op.region, network.values[op.result]
    reach = (operand.kernel[0] - 1) * operand.dilation[0] + 1
    return (
        region.y == 0
        and region.step[0] == 1
        and region.rows == result.shape[1]
        and len(network.writers[op.result]) == 1
        and operand.padding[0] < reach <= operand.stride[0]
        and (region.rows - 1) * operand.stride[0] - operand.padding[0] < value.shape[1]
    )


class _Bander:
    """Emits stages band by band; fused stages within the bands of others."""

    def __init__(self, network: Network, names: set[str], budget: int, config: ArchConfig) -> None:
        self.old, self.names, self.budget, self.config = network, names, budget, config
        self.fused = {n for n in names if fusable(network, n)}
        self.values = {n: v for n, v in network.values.items() if n not in names}
        self.memory = dict(network.memory)
        self.homes = {n: self._home(n) for n in sorted(names - self.fused)}
        self.ops: list[Op] = []
        self.stages = self._stages()
        self.by_result = {s.result: s for s in self.stages if s.result in names}

    def network(self) -> Network:
        """All stages in order."""
        for stage in self.stages:
            if stage.result in self.fused:
                continue
            banded = {o.value for op in stage.ops for o in op.operands} & self.names
            if stage.result in self.names:
                for rows in self._bands(stage):
                    name, value = self._part(stage.result, rows)
                    store = MemoryRows(self.homes[stage.result], rows[0])
                    self.values[name] = replace(value, halo=None, store=store)
                    self._run(stage, rows, name)
            elif banded:
                for rows in self._bands(stage):
                    self._run(stage, rows, None)
            else:
                self.ops += stage.ops
        return replace(self.old, values=self.values, ops=tuple(self.ops), memory=self.memory)

    def _home(self, name: str) -> str:
        """Tensor in memory that holds a value."""
        value = self.old.values[name]
        rows = value.load or value.store
        if rows:
            return rows.memory
        memory = f"spill {name}"
        image = self.old.ops[self.old.writers[name][0]].image
        self.memory[memory] = MemoryTensor(
            memory, "spill", value.tensor, image, value.shape, value.planes, value.phases
        )
        return memory

    def _stages(self) -> list[Stage]:
        """Operations on one banded value together, at the position of the last one; adjacent
        operations of one layer together."""
        last = {n: self.old.writers[n][-1] for n in self.names if self.old.writers[n]}
        waiting: dict[str, list[Op]] = {}
        stages: list[Stage] = []
        for index, op in enumerate(self.old.ops):
            if op.result in self.names:
                waiting.setdefault(op.result, []).append(op)
                if index == last[op.result]:
                    stages.append(Stage(op.result, waiting[op.result]))
            elif stages and (stages[-1].result, stages[-1].ops[0].name) == (op.result, op.name):
                stages[-1].ops.append(op)
            else:
                stages.append(Stage(op.result, [op]))
        return stages

    def _part(self, name: str, rows: Rows) -> tuple[str, Value]:
        """Create a new value for ``rows`` of ``name``."""
        value = self.old.values[name]
        channels, _, width = value.shape
        part = f"{name}#{rows[0]}"
        copies = 0
        while part in self.values:
            copies += 1
            part = f"{name}#{rows[0]}.{copies}"
        shape = (channels, rows[1] - rows[0], width)
        return part, replace(value, name=part, shape=shape, load=None, store=None)

    def _needs(self, stage: Stage, rows: Rows) -> tuple[list[Op], dict[str, Rows]]:
        """Parts of a stage's operations that write ``rows``, and the rows of banded values that
        they read."""
        pieces = [piece for op in stage.ops if (piece := cut_op(op, rows))]
        needs: dict[str, Rows] = {}
        for piece in pieces:
            for operand in piece.operands:
                name = operand.value
                if name in self.fused:
                    needs[name] = self._fused_rows(name, rows)
                elif name in self.names:
                    value = self.old.values[name]
                    first, end = rows_read(piece, operand, value.shape[1])
                    beat = extent(value, self.config).beat_rows(self.config)
                    low, high = needs.get(name, (first, end))
                    needs[name] = min(low, first // beat * beat), max(high, end)
        return pieces, needs

    def _fused_rows(self, name: str, rows: Rows) -> Rows:
        """Rows of a fused value from which ``rows`` of its reader's result are computed."""
        index, operand = self.old.uses[name][0]
        height = self.old.values[name].shape[1]
        total = self.old.ops[index].region.rows
        first, end = (row * operand.stride[0] - operand.padding[0] for row in rows)
        return first if rows[0] else 0, end if rows[1] < total else height

    def _run(self, stage: Stage, rows: Rows, result: str | None) -> None:
        """Write ``rows`` of a stage's result to the value ``result``, which holds only them."""
        pieces, needs = self._needs(stage, rows)
        places: dict[str, tuple[str, Rows]] = {}
        halos: dict[str, int | None] = {}
        for name, need in needs.items():
            part, value = self._part(name, need)
            places[name], halos[part] = (part, need), None
            if name in self.fused:
                self.values[part] = value
                self._run(self.by_result[name], need, part)
            else:
                self.values[part] = replace(value, load=MemoryRows(self.homes[name], need[0]))
        for piece in pieces:
            operands = []
            for operand in piece.operands:
                if operand.value in places:
                    part, need = places[operand.value]
                    whole = self.old.values[operand.value]
                    operand = moved_operand(piece, operand, part, whole, need)
                    if operand.halo is not None:
                        halos[part] = operand.halo
                operands.append(operand)
            moved = replace(piece, operands=tuple(operands))
            self.ops.append(moved_result(moved, result, rows[0]) if result else moved)
        for part, halo in halos.items():
            self.values[part] = replace(self.values[part], halo=halo)

    def _cost(self, stage: Stage, rows: Rows) -> int:
        """Slots of the bands that are alive while ``rows`` of a stage are computed."""
        _, needs = self._needs(stage, rows)
        cost = 0
        if stage.result in self.names:
            cost += (rows[1] - rows[0]) * extent(self.old.values[stage.result], self.config).slots
        for name, need in needs.items():
            if name in self.fused:
                cost += self._cost(self.by_result[name], need)
            else:
                value = self.old.values[name]
                count = need[1] - need[0] + 2 * (value.halo is not None)
                cost += count * extent(value, self.config).slots
        return cost

    def _bands(self, stage: Stage) -> list[Rows]:
        """Rows of a stage's result in bands of about equal height, as high as the budget allows."""
        value = self.old.values[stage.result]
        height = value.shape[1]
        beat = 1
        if stage.result in self.names:
            beat = extent(value, self.config).beat_rows(self.config)
        low, high = 1, -(-height // beat)
        while low < high:
            middle = (low + high + 1) // 2
            start = max(0, (height - middle * beat) // 2)
            if self._cost(stage, (start, min(height, start + middle * beat))) <= self.budget:
                low = middle
            else:
                high = middle - 1
        count = -(-height // (low * beat))
        step = -(-height // (count * beat)) * beat
        loaded = any(
            o.value in self.names and self.old.values[o.value].load
            for op in stage.ops
            for o in op.operands
        )
        first = -(-step // (FIRST_BAND * beat)) * beat if loaded and height > step else step
        edges = [0, *range(min(first, height), height, step), height]
        return [(a, b) for a, b in pairwise(edges) if a < b]
