"""Segments of an operation's reduction: term pairs, column phases, Horner's order."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sigbit.compiler.network import Op
from sigbit.compiler.place.layout import Layout
from sigbit_hw.arch.isa import Opcode, field_of

MAX_SLOTS, MAX_COLUMNS, MAX_ROWS = (
    field_of(Opcode.SEG, name).max for name in ("n_ic", "n_kx", "n_ky")
)
"""Maximum number of steps of the loops of a segment."""


@dataclass(frozen=True)
class Segment:
    """Part of a reduction: digit ``term`` of the weights times digit ``plane`` of the value, kernel
    rows ``[row, row + rows)``, kernel columns ``column + i * spacing`` (i < columns), channel slots
    ``[slot, slot + slots)`` of those that an output block reads. ``shift``: the accumulators shift
    left before it."""

    operand: int
    term: int
    plane: int
    row: int
    rows: int
    column: int
    columns: int
    slot: int
    slots: int
    spacing: int
    shift: bool = False

    @property
    def steps(self) -> int:
        """Steps per output-channel block, each with its weight word."""
        return self.rows * self.columns * self.slots


def reduction(
    op: Op, layouts: Mapping[str, Layout], counts: tuple[int, ...]
) -> tuple[Segment, ...]:
    """Segments of ``op`` in descending order of digit weight, for an output block that reads
    ``counts`` channel slots of its operands.

    Kernel columns in the same column phase are one segment; they are evenly spaced.
    """
    found = []
    for index, (operand, slots) in enumerate(zip(op.operands, counts, strict=True)):
        layout = layouts[operand.value]
        planes = 1 if op.kind == "copy" else layout.planes
        spacing = layout.phases // math.gcd(layout.phases, operand.dilation[1])
        rows, columns = operand.kernel
        for term in range(operand.terms):
            for plane in range(planes):
                for column in range(min(spacing, columns)):
                    count = len(range(column, columns, spacing))
                    found.append(
                        Segment(index, term, plane, 0, rows, column, count, 0, slots, spacing)
                    )
    found.sort(key=lambda s: -(s.term + s.plane))
    weights = [s.term + s.plane for s in found]
    return tuple(
        replace(s, shift=i > 0 and weights[i] != weights[i - 1]) for i, s in enumerate(found)
    )


def fits_loops(segments: tuple[Segment, ...]) -> bool:
    """True if the loops of all segments fit their fields."""
    return all(
        s.slots <= MAX_SLOTS and s.columns <= MAX_COLUMNS and s.rows <= MAX_ROWS for s in segments
    )


def word_places(segments: Iterable[Segment]) -> tuple[tuple[int, ...], int]:
    """First weight word of every segment, and the number of words of an output block: segments that
    differ only in the digit of the value share their words."""
    places: dict[Segment, int] = {}
    firsts, end = [], 0
    for segment in segments:
        weights = replace(segment, plane=0, shift=False)
        if weights not in places:
            places[weights] = end
            end += segment.steps
        firsts.append(places[weights])
    return tuple(firsts), end


def cut(segments: tuple[Segment, ...], words: int, count: int) -> list[tuple[Segment, ...]]:
    """``segments`` in groups of at most ``words`` steps and ``count`` segments, as few as a greedy
    split gives; segments that are too long are split along rows, then columns, then channel
    slots."""
    groups: list[list[Segment]] = [[]]
    for segment in (piece for s in segments for piece in _pieces(s, words)):
        used = sum(s.steps for s in groups[-1])
        if groups[-1] and (used + segment.steps > words or len(groups[-1]) == count):
            groups.append([])
        groups[-1].append(segment)
    return [tuple(group) for group in groups]


def _pieces(segment: Segment, words: int) -> list[Segment]:
    """``segment`` as segments of at most ``words`` steps whose loops fit their fields."""
    slots = min(segment.slots, MAX_SLOTS, words)
    columns = min(segment.columns, MAX_COLUMNS, max(1, words // segment.slots))
    rows = min(segment.rows, MAX_ROWS, max(1, words // (segment.columns * segment.slots)))
    if rows < segment.rows:
        parts = [
            replace(segment, row=segment.row + r, rows=min(rows, segment.rows - r))
            for r in range(0, segment.rows, rows)
        ]
    elif columns < segment.columns:
        parts = [
            replace(
                segment,
                column=segment.column + c * segment.spacing,
                columns=min(columns, segment.columns - c),
            )
            for c in range(0, segment.columns, columns)
        ]
    elif slots < segment.slots:
        parts = [
            replace(segment, slot=segment.slot + i, slots=min(slots, segment.slots - i))
            for i in range(0, segment.slots, slots)
        ]
    else:
        return [segment]
    parts = [replace(p, shift=segment.shift and i == 0) for i, p in enumerate(parts)]
    return [piece for part in parts for piece in _pieces(part, words)]
