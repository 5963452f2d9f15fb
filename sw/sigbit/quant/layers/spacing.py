"""Assignments of the 256 y of the requantizer to the levels of a quantized model's tensor."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sigbit.ir.annotation import QuantAnnotation
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.plan.annotated import borders
from sigbit_hw.arch.numerics import PRE_BITS, Y_MAX, Y_MIN, Ints


@dataclass(frozen=True)
class Spacing:
    """The y that reach all levels except the lowest, and the number of y per level."""

    results: Ints
    density: int


def spacings(quantizer: QuantAnnotation, levels: LevelGrid) -> Iterator[Spacing]:
    """Yield the assignments with which a requantizer may have the codes of ``quantizer``: one y per
    level first, then several, for accumulators of which one step is more than a level.

    If rounding has another direction below 0, there is a gap there without codes, for which the 256
    codes lose their lowest.
    """
    if quantizer.bipolar:
        yield Spacing(np.zeros(1, np.int64), 1)
    elif quantizer.mantissa is not None:
        yield from _of_borders(levels, quantizer, 0, (0, 1))
    else:
        gap = {"ROUND_TO_ZERO": 1, "UP": -1}.get(quantizer.rounding, 0)
        zero = int(quantizer.zero_point) if quantizer.shift_first else 0
        for own in (gap, 0) if gap else (0,):
            for shift in range(PRE_BITS):
                width = levels.max - levels.min - 1 + max(own, 0)
                if width << shift <= Y_MAX - Y_MIN - (shift > 0):
                    yield Spacing(_of_integers(levels, zero, shift, own), 1 << shift)
        if quantizer.source is None and quantizer.thresholds is None:
            yield from _of_borders(levels, quantizer, zero, (1,))


def _of_integers(grid: LevelGrid, zero: int, shift: int, gap: int) -> Ints:
    """Return the y for levels ``2**shift`` apart, with ``gap`` additional steps between negative
    numbers and others."""
    low, high = grid.min, grid.max
    levels = np.arange(low + 1, high + 1)
    if shift == gap == 0:
        # y is odd where the number that is rounded is, to whose even neighbours ties go.
        offset = low - Y_MIN
        return levels - (offset - ((offset - zero) & 1 if high - low < Y_MAX - Y_MIN else 0))
    steps = (levels - (low + 1) + gap * (levels > -zero) - min(gap, 0)) << shift
    fits = steps.max(initial=0) < Y_MAX - Y_MIN  # else the lowest level is left out
    return np.asarray(steps + Y_MIN + fits, np.int64)


def _of_borders(
    levels: LevelGrid, quantizer: QuantAnnotation, zero: int, passing: tuple[int, ...]
) -> Iterator[Spacing]:
    """Yield the y for levels whose borders are multiples of half a level. ``passing`` 0 meets all
    borders, as if they belonged to the level above; 1 passes by one y those that belong to the
    level below. They may alternate from level to level, which no tie bit does."""
    quarters = borders(levels, quantizer.rounding, quantizer.mantissa, zero)
    halves, below = quarters // 2, quarters & 1
    unit = int(np.gcd.reduce(np.diff(halves))) or 2
    for passed in passing:
        for shift in range(PRE_BITS):
            steps = ((halves - halves[0]) // unit << shift) + passed * below
            if steps.max() < Y_MAX - Y_MIN:
                yield Spacing(steps + Y_MIN + 1, max(2 // unit, 1) << shift)
