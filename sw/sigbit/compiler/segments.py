"""How an operation becomes segments of the reduction: term pairs, column phases, Horner's order."""

from dataclasses import dataclass, replace

from sigbit.compiler.memory import Placed
from sigbit.compiler.network import Op
from sigbit_hw.arch.config import ArchConfig


@dataclass(frozen=True)
class Segment:
    """Part of a reduction: digit ``term`` of the weights times digit ``plane`` of the value, kernel
    rows ``[row, row + rows)``, kernel columns ``column + i * phases`` (i < columns), channel slots
    ``[slot, slot + slots)`` of a block. ``shift``: the accumulators shift left before it."""

    operand: int
    term: int
    plane: int
    row: int
    rows: int
    column: int
    columns: int
    slot: int
    slots: int
    phases: int
    shift: bool = False

    @property
    def steps(self) -> int:
        """Steps, hence weight words of an output-channel block."""
        return self.rows * self.columns * self.slots


def reduction(op: Op, placed: Placed, config: ArchConfig) -> list[Segment]:
    """Segments of ``op`` in descending order of digit weight, for a whole output-channel block."""
    found = []
    for index, operand in enumerate(op.operands):
        layout = placed.layouts[operand.value]
        digits = 1 if op.kind == "copy" else layout.planes
        slots = layout.slots if op.kind == "conv" else 1
        if operand.depthwise:
            slots = config.slots_per_block
        for term in range(operand.terms):
            for plane in range(digits):
                for column in range(min(layout.phases, operand.kernel[1])):
                    columns = len(range(column, operand.kernel[1], layout.phases))
                    rows = operand.kernel[0]
                    found.append(
                        Segment(
                            index, term, plane, 0, rows, column, columns, 0, slots, layout.phases
                        )
                    )
    found.sort(key=lambda s: -(s.term + s.plane))
    weights = [s.term + s.plane for s in found]
    return [replace(s, shift=i > 0 and weights[i] != weights[i - 1]) for i, s in enumerate(found)]


def cut(segments: list[Segment], words: int, count: int) -> list[list[Segment]]:
    """``segments`` in groups of at most ``words`` steps and ``count`` segments; those that are too
    long are cut along rows, then columns, then channel slots."""
    groups: list[list[Segment]] = [[]]
    for segment in (piece for s in segments for piece in _pieces(s, words)):
        used = sum(s.steps for s in groups[-1])
        if groups[-1] and (used + segment.steps > words or len(groups[-1]) == count):
            groups.append([])
        groups[-1].append(segment)
    return groups


def _pieces(segment: Segment, words: int) -> list[Segment]:
    """``segment`` as segments of at most ``words`` steps."""
    if segment.steps <= words:
        return [segment]
    if segment.rows > 1:
        rows = max(1, words // (segment.columns * segment.slots))
        parts = [
            replace(segment, row=segment.row + r, rows=min(rows, segment.rows - r))
            for r in range(0, segment.rows, rows)
        ]
    elif segment.columns > 1:
        columns = max(1, words // segment.slots)
        parts = [
            replace(
                segment,
                column=segment.column + c * segment.phases,
                columns=min(columns, segment.columns - c),
            )
            for c in range(0, segment.columns, columns)
        ]
    else:
        parts = [
            replace(segment, slot=segment.slot + i, slots=min(words, segment.slots - i))
            for i in range(0, segment.slots, words)
        ]
    parts = [replace(p, shift=segment.shift and i == 0) for i, p in enumerate(parts)]
    return [piece for part in parts for piece in _pieces(part, words)]
