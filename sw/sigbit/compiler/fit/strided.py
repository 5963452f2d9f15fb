"""Replacement of operands with a row stride by copies of every n-th row, where that saves cycles.

Values whose readers need different column phases are copied for some of them (``separate``). A
reader whose kernel has fewer rows than its stride gets a copy of the rows that it reads.

A row stride can also keep lanes from running across lines. Blocks run across the lines of an output
if ``stride * pitch`` of every operand is congruent to the output's width modulo ``pixels``. For a
width that is incompatible with the stride and the lanes (7 columns, stride 2) no pitch satisfies
this. On values that hold the even and the odd rows the stride is 1, and some pitch does.
"""

import math
from dataclasses import replace

from sigbit.compiler import cost
from sigbit.compiler.network import Ints, Network, Op, Operand, Region, Value
from sigbit.ir.constants import digest
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import WRAP_MIN


def split_rows(network: Network, config: ArchConfig) -> Network:
    """``network`` with strided operands replaced by copies by row, where that saves cycles."""
    work = _Split(network, config)
    for op in network.ops:
        work.ops.append(work.rewritten(op) if op.kind == "conv" else op)
    return replace(network, values=work.values, ops=tuple(work.ops))


class _Split:
    """The network during the rewriting of its operations."""

    def __init__(self, network: Network, config: ArchConfig) -> None:
        self.network, self.config = network, config
        self.values = dict(network.values)
        self.ops: list[Op] = []
        self._weights: dict[tuple[bytes, int, int], Ints] = {}

    def _sparse(self, op: Op, operand: Operand) -> bool:
        """True if ``operand`` reads few rows of a value that other readers need in other column
        phases."""
        readers = ((self.network.ops[i], other) for i, other in self.network.uses[operand.value])
        phases = {other.phases(reader.region.columns) for reader, other in readers}
        mine = operand.phases(op.region.columns)
        few = operand.kernel[0] < operand.stride[0] and self._splits(operand)
        return few and mine not in (1, None) and len(phases - {None}) > 1

    def _splits(self, operand: Operand) -> bool:
        """True if the kernel reads rows modulo its stride, and there are rows for every copy."""
        rows = self.values[operand.value].shape[1]
        return operand.dilation[0] == 1 and rows >= operand.stride[0]

    def _stuck(self, op: Op, operand: Operand) -> bool:
        """True if no pitch of its value lets the blocks of ``op`` run across lines, although its
        rows can be split."""
        common = math.gcd(operand.stride[0], self.config.pixels)
        return self._splits(operand) and op.region.columns % common != 0

    def _pays(self, op: Op) -> bool:
        """True if full blocks save more than the copies cost."""
        rows, columns, pixels = op.region.rows, op.region.columns, self.config.pixels
        stuck = [o for o in op.operands if self._stuck(op, o)]
        if not stuck or rows < 2 or columns < min(WRAP_MIN, pixels):
            return False
        saved = rows * -(-columns // pixels) - -(-rows * columns // pixels)
        copied = {(o.value, o.channel, o.channels) for o in stuck}
        copies = sum(
            self.values[name].planes
            * -(-channels // self.config.ic_lanes)
            * -(-self.values[name].shape[1] * self.values[name].shape[2] // pixels)
            * (pixels // self.config.drain_pixels)
            for name, _, channels in copied
        )
        return cost.op_cycles(op, self.network, saved, self.config) > 2 * copies

    def rewritten(self, op: Op) -> Op:
        """``op`` with operands of row stride 1 in place of those that read few rows or cannot run
        across lines."""
        operands: list[Operand] = []
        pays = self._pays(op)
        for operand in op.operands:
            by_row = self._sparse(op, operand) or (pays and self._stuck(op, operand))
            operands += self._by_row(operand) if by_row else [operand]
        return replace(op, operands=tuple(operands))

    def _by_row(self, operand: Operand) -> list[Operand]:
        """Operands for the kernel rows that use the same rows modulo the stride."""
        stride, top = operand.stride[0], operand.padding[0]
        found = []
        for first in range(min(stride, operand.kernel[0])):
            count = len(range(first, operand.kernel[0], stride))
            above, phase = divmod(first - top, stride)
            found.append(
                replace(
                    operand,
                    value=self._copy(operand, stride, phase),
                    channel=0,
                    kernel=(count, operand.kernel[1]),
                    stride=(1, operand.stride[1]),
                    padding=(-above, operand.padding[1]),
                    weights=self._rows_of(operand, first, stride),
                )
            )
        return found

    def _rows_of(self, operand: Operand, first: int, stride: int) -> Ints:
        """Every ``stride``-th kernel row; equal weights share one array."""
        assert operand.weights is not None
        key = (digest(operand.weights), first, stride)
        if key not in self._weights:
            self._weights[key] = operand.weights[:, :, first::stride]
        return self._weights[key]

    def _copy(self, operand: Operand, stride: int, phase: int) -> str:
        """Rows ``phase``, ``phase + stride``, … of the input of ``operand``; copied if not copied
        yet."""
        value = self.network.values[operand.value]
        last = operand.channel + operand.channels
        target = f"{value.name}[{operand.channel}:{last}] rows {phase}::{stride}"
        if target not in self.values:
            rows, columns = len(range(phase, value.shape[1], stride)), value.shape[2]
            self.values[target] = self._of_rows(value, target, (operand.channels, rows, columns))
            source = Operand(
                value.name,
                (1, 1),
                operand.channels,
                operand.channel,
                stride=(stride, 1),
                padding=(-phase, 0),
            )
            region = Region(0, 0, rows, columns)
            self.ops.append(
                Op(f"copy {target}", "copy", (source,), target, region, operand.channels)
            )
        return target

    @staticmethod
    def _of_rows(value: Value, name: str, shape: tuple[int, int, int]) -> Value:
        return replace(value, name=name, shape=shape, load=None, store=None)
