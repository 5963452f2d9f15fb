"""Splitting of an operation's output pixels into row runs and blocks, and the address steps."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.network import Op, Region
from sigbit.compiler.place.layout import Layout, clear, clear_lines, gap, runs_on
from sigbit_hw.arch import addressing
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import WRAP_MIN, Opcode, field_of

Ints = NDArray[np.int64]

MAX_PHASES = field_of(Opcode.OUT, "phases").max
"""Maximum number of column phases that OUT steps through."""


class ExecPixels(addressing.ColumnSteps):
    """Fields of ``EXEC`` that count pixels."""

    n_rows: int
    run: int
    wrap: int


class SegSteps(TypedDict):
    """Fields of ``SEG`` that step from block to block."""

    gap: int
    d_block: int
    d_row: int
    d_ocb: int


class LineSteps(TypedDict):
    """Fields of ``OUT`` that step through a line."""

    phases: int
    d_pix: int
    d_col: int


class OutSteps(LineSteps):
    """Fields of ``OUT`` that step through pixels."""

    d_line: int
    d_row: int


@dataclass(frozen=True)
class Walk:
    """``rows`` lines of ``columns`` pixels of an operation's region, starting at line ``y`` and
    column ``x``, in order of execution.

    ``whole``: all of them are one row run, else every line is one. ``flat``: a run without line
    ends, because lines follow each other without a gap in all operands and evenly spaced in the
    result.
    """

    y: int
    x: int
    rows: int
    columns: int
    whole: bool = False
    flat: bool = False

    @property
    def n_rows(self) -> int:
        """Number of row runs."""
        return 1 if self.whole else self.rows

    @property
    def run(self) -> int:
        """Output pixels per row run."""
        return self.rows * self.columns // self.n_rows

    def blocks(self, config: ArchConfig) -> int:
        """Blocks per row run."""
        return -(-self.run // config.pixels)

    def part(self, region: Region) -> Region:
        """The pixels of ``region`` that this walk visits."""
        (dy, dx), y, x = region.step, region.y, region.x
        return Region(y + self.y * dy, x + self.x * dx, self.rows, self.columns, region.step)

    def exec_fields(self, config: ArchConfig) -> ExecPixels:
        """Fields of EXEC that count pixels."""
        several = self.whole and not self.flat
        wrap = self.columns if several else self.blocks(config) * config.pixels
        steps = addressing.column_steps(wrap, config)
        return {"n_rows": self.n_rows, "run": self.run, "wrap": wrap, **steps}

    def segment_fields(self, jump: int, follow: int, config: ArchConfig) -> SegSteps:
        """Fields of SEG that step from block to block, for an operand whose lines are ``jump``
        slots apart and whose output blocks are ``follow`` slots apart."""
        pixels = config.pixels
        last = (self.blocks(config) - 1) * pixels
        if self.flat or not self.whole:
            return {
                "gap": 0,
                "d_block": pixels,
                "d_row": jump - last,
                "d_ocb": follow - (self.n_rows - 1) * jump - last,
            }
        skip = jump - self.columns
        return {
            "gap": skip,
            "d_block": pixels + pixels // self.columns * skip,
            "d_row": 0,
            "d_ocb": follow - last - last // self.columns * skip,
        }

    def out_fields(self, layout: Layout, region: Region) -> OutSteps:
        """Fields of OUT that step through the pixels of ``region`` in ``layout``."""
        part = self.part(region)
        lines = layout.pixels(part, None if self.flat else 2)
        line = lines.ravel() if self.flat else lines[0]
        steps = _line_steps(line, _period(layout, region))
        assert steps is not None
        turn = 0 if self.flat or self.rows == 1 else int(lines[1, 0] - lines[0, -1])
        return {**steps, "d_line": turn, "d_row": turn}


def walks_of(op: Op, layouts: Mapping[str, Layout], config: ArchConfig) -> list[Walk]:
    """The region of ``op`` in the fewest blocks that the layouts of its values allow."""
    region, layout = op.region, layouts[op.result]
    rows, columns = region.rows, region.columns
    line = layout.pixels(region, 1)[0]
    period = _period(layout, region)
    gaps = [gap(operand, layouts[operand.value], columns) for operand in op.operands]
    if (
        rows > 1
        and _line_steps(line, period)
        and all(runs_on(g, rows, columns, config) for g in gaps)
    ):
        if columns >= min(WRAP_MIN, config.pixels) and clear_lines(layout, region, config):
            return [Walk(0, 0, rows, columns, whole=True)]
        if not any(gaps):
            every = layout.pixels(region).ravel()
            if _line_steps(every, period) and clear(every, config):
                return [Walk(0, 0, rows, columns, whole=True, flat=True)]
    return [Walk(0, x, rows, count) for x, count in _pieces(line, period, config)]


def single_blocks(op: Op, layouts: Mapping[str, Layout], config: ArchConfig) -> Iterator[Walk]:
    """The region of ``op`` in runs of one block each."""
    walks = walks_of(op, layouts, config)
    if len(walks) == 1 and walks[0].n_rows * walks[0].blocks(config) == 1:
        yield walks[0]
        return
    layout = layouts[op.result]
    line, period = layout.pixels(op.region, 1)[0], _period(layout, op.region)
    for y in range(op.region.rows):
        for start in range(0, op.region.columns, config.pixels):
            for x, count in _pieces(line[start : start + config.pixels], period, config):
                yield Walk(y, start + x, 1, count)


def _period(layout: Layout, region: Region) -> int:
    """Number of pixels of a region's line after which its column phases repeat."""
    return layout.phases // math.gcd(layout.phases, region.step[1])


def _line_steps(places: Ints, period: int) -> LineSteps | None:
    """Fields of OUT that visit ``places``, whose phases repeat after ``period``; None if there are
    none."""
    steps = np.diff(places)
    for phases in {1, period}:
        turns = np.arange(1, places.size) % phases == 0
        within, across = np.unique(steps[~turns]), np.unique(steps[turns])
        if phases <= MAX_PHASES and within.size <= 1 and across.size <= 1:
            d_pix, d_col = (int(d[0]) if d.size else 0 for d in (within, across))
            return {"phases": phases, "d_pix": d_pix, "d_col": d_col}
    return None


def _pieces(line: Ints, period: int, config: ArchConfig) -> Iterator[tuple[int, int]]:
    """(first column, columns) of the longest pieces of a line that OUT can step through and whose
    drain groups lie in different banks."""
    x = 0
    while x < line.size:
        count = line.size - x
        while not (_line_steps(line[x : x + count], period) and clear(line[x : x + count], config)):
            count = min(-(-count // 2), count - 1)
        yield x, count
        x += count
