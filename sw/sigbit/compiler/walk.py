"""How the output pixels of an operation are cut into row runs and blocks, and the address steps."""

from dataclasses import dataclass

from sigbit.compiler.layout import Layout, continues
from sigbit.compiler.memory import Placed
from sigbit.compiler.network import Op
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import LAYOUTS, Opcode

MAX_MERGED = next(f.max for f in LAYOUTS[Opcode.OUT] if f.name == "phases")
"""Longest line that a merged walk can step over."""


@dataclass(frozen=True)
class Walk:
    """Output pixels in order of execution: ``rows`` runs of ``run`` pixels from (``y``, ``x``) on.

    ``lines``: a run is the whole image, its blocks continue across image lines. ``merged``: so
    short lines that a block spans several; they follow each other without a gap in the operands.
    """

    rows: int
    run: int
    wrap: int
    width: int
    y: int = 0
    x: int = 0
    lines: bool = False
    merged: bool = False

    def out_fields(self, layout: Layout) -> dict[str, int]:
        """Fields of OUT that step through the pixels of ``layout``."""
        line = layout.at(0, 0, 1, 0) - layout.at(0, 0, 0, self.width - 1)
        if self.merged:
            return {"phases": self.width, "d_pix": 1, "d_col": line, "d_line": line, "d_row": line}
        last = layout.at(0, 0, 0, layout.phases - 1)
        return {
            "phases": layout.phases,
            "d_pix": layout.phase_step,
            "d_col": layout.at(0, 0, 0, layout.phases) - last,
            "d_line": line,
            "d_row": line,
        }

    def last_block(self, jump: int, pixels: int) -> int:
        """Slots from the first block's base to the last one's, ``jump`` slots apart lines."""
        blocks = -(-self.run // pixels)
        if self.merged or not self.lines:
            return (self.rows - 1) * jump + (blocks - 1) * pixels
        line, column = divmod((blocks - 1) * pixels, self.width)
        return line * jump + column


def walk_of(op: Op, placed: Placed, config: ArchConfig) -> Walk:
    """The walk with the fullest blocks that the layouts of ``op`` allow."""
    _, height, width = placed.network.values[op.result].shape
    layout = placed.layouts[op.result]
    pixels = config.pixels
    fits = height > 1 and all(
        continues(operand.stride[0], placed.layouts[operand.value].pitch, width, config)
        for operand in op.operands
    )
    if fits and width >= pixels:
        return Walk(1, height * width, width, width, lines=True)
    if fits and layout.phases == 1 and width <= MAX_MERGED:
        run = height * width
        return Walk(1, run, -(-run // pixels) * pixels, width, lines=True, merged=True)
    return Walk(height, width, -(-width // pixels) * pixels, width)


def single_blocks(op: Op, placed: Placed, config: ArchConfig) -> list[Walk]:
    """The output pixels in runs of one block each."""
    _, height, width = placed.network.values[op.result].shape
    phases, pixels = placed.layouts[op.result].phases, config.pixels
    step = pixels // phases * phases if phases <= pixels else pixels if phases % pixels == 0 else 1
    return [
        Walk(1, min(step, width - x), pixels, width, y, x)
        for y in range(height)
        for x in range(0, width, step)
    ]
