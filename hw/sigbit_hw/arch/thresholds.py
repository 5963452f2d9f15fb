"""Exact comparison of requantizations, as functions of the accumulator, by their thresholds.

A monotone function from integers to codes is described by its *thresholds*: for each of a list of
codes, the smallest accumulator at which the function reaches it. This module finds the thresholds
of a given function, the parameters that have given thresholds, and the accumulators at which two
functions differ. It handles ascending functions; a descending one is a function of the negated
accumulator, which a layer obtains with negated weights.

A division by a constant has the thresholds of ``round(acc s + b)``, ties up, for float32 scales,
and, with halves to even, for scales 2**-j. In 24 trials each over 32,769 accumulators with 8-bit
codes, two kinds of functions were missed at some accumulators: halves to even for scales m 2**-j
with odd m > 1 at 8 to 31, and fixed point of 31 bits that rounds twice, on signed results, at 26 to
97.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch.numerics import PRE_BITS, UNIT, Ints, requantize
from sigbit_hw.arch.params import ParamFormat

_NEAR = 48
"""Number of steps tried on each side of the requested one, and of the one with the most room."""
_FAR = 1 << 61
"""Bound beyond every product of a code and a step."""


@dataclass(frozen=True)
class Channel:
    """Parameters of one channel, and the number of accumulators at which they miss the requested
    function; 0 if they are exact."""

    base: int
    step: int
    tie: int
    off: int


def thresholds(
    function: Callable[[Ints], Ints],
    low: int,
    high: int,
    codes: ArrayLike,
    near: ArrayLike | None = None,
) -> Ints:
    """For each of ``codes``, the smallest accumulator in [low, high] at which the ascending
    ``function`` reaches it, or ``high + 1`` if it does not. ``near`` holds guesses, which save time
    where they are right."""
    wanted = np.asarray(codes, np.int64)
    first: Ints = np.full(wanted.shape, low, np.int64)
    last: Ints = np.full(wanted.shape, high + 1, np.int64)
    if near is not None:
        guess = np.asarray(near, np.float64).clip(low, high + 1).astype(np.int64)
        after = (guess > high) | (function(guess.clip(low, high)) >= wanted)
        before = (guess == low) | (function((guess - 1).clip(low, high)) < wanted)
        right = after & before
        first, last = np.where(right, guess, first), np.where(right, guess, last)
    while bool((first < last).any()):
        middle = (first + last) // 2
        reached = (first == last) | (np.asarray(function(middle.clip(low, high))) >= wanted)
        first, last = np.where(reached, first, middle + 1), np.where(reached, middle, last)
    return first


Rounding = Literal[
    "TIES_UP", "ROUND", "HALF_UP", "HALF_DOWN", "FLOOR", "CEIL", "ROUND_TO_ZERO", "UP"
]
"""Rounding modes: to nearest with ties up, to even, away from 0, and towards 0; down; up; towards
0; away from 0. All names except the first are those of QONNX."""


def rounded(
    scale: Fraction, offset: Fraction, rounding: Rounding, mantissa: int | None = None
) -> Callable[[Ints], Ints]:
    """Return the function ``acc * scale + offset``, computed exactly and rounded: to integers, or,
    with ``mantissa``, to integers with this number of bits after the leading one."""
    common = scale.denominator * offset.denominator
    a, b = int(scale * common), int(offset * common)

    def value(acc: int) -> int:
        number, removed = int(acc) * a + b, 0
        if mantissa is not None:
            removed = max(0, (abs(number) // common).bit_length() - 1 - mantissa)
        return _quotient(number, common << removed, rounding) << removed

    function = np.frompyfunc(value, 1, 1)
    return lambda acc: np.asarray(function(acc), np.int64)


def _quotient(number: int, divisor: int, rounding: Rounding) -> int:
    """Return ``number / divisor``, rounded."""
    match rounding:
        case "FLOOR":
            return number // divisor
        case "CEIL":
            return -(-number // divisor)
    sign, size = (1, number) if number >= 0 else (-1, -number)
    match rounding:
        case "ROUND_TO_ZERO":
            return sign * (size // divisor)
        case "UP":
            return sign * -(-size // divisor)
        case "HALF_UP":
            return sign * ((2 * size + divisor) // (2 * divisor))
        case "HALF_DOWN":
            return sign * -((divisor - 2 * size) // (2 * divisor))
    nearest, rest = divmod(2 * number + divisor, 2 * divisor)
    return nearest - (rounding == "ROUND" and rest == 0 and nearest & 1)


def guessed(codes: Ints, scale: float, offset: float, rounding: Rounding) -> NDArray[np.float64]:
    """Thresholds of :func:`rounded`, computed in floating point: almost all are right."""
    borders: dict[str, NDArray[np.float64] | float] = {
        "FLOOR": 0.0,
        "CEIL": 1.0,
        "ROUND_TO_ZERO": (codes <= 0).astype(np.float64),
        "UP": (codes > 0).astype(np.float64),
    }
    border = borders.get(rounding, 0.5)
    return np.ceil((codes - border - offset) / scale)


def fit(
    at: ArrayLike, results: ArrayLike, low: int, high: int, fmt: ParamFormat, start: float
) -> Channel:
    """Find the parameters with which a requantizer reaches ``results[k]`` from accumulator
    ``at[k]`` on, over accumulators in [low, high]; both sequences ascend. A threshold of ``low`` or
    below is always reached, one above ``high`` never. ``start`` is the scale around which to
    search. Solutions with and without the tie bit are tried; if neither is exact, the one with the
    nearest thresholds is returned."""
    at, results = np.asarray(at, np.int64), np.asarray(results, np.int64)
    step = int(fmt.nearest_step(1 / start, np) * UNIT) // fmt.step_unit
    plain = _fit(at, results, low, high, fmt, step, 0)
    if not plain.off:
        return plain
    return min(plain, _fit(at, results, low, high, fmt, step, 1), key=lambda c: c.off)


def _fit(
    at: Ints, results: Ints, low: int, high: int, fmt: ParamFormat, start: int, tie: int
) -> Channel:
    strict = tie & results  # an odd result is reached only beyond a tie
    least = np.where(at > high, -_FAR, strict - np.maximum(at, low) * UNIT)
    most = np.where(at <= low, _FAR, strict - 1 - (np.minimum(at, high + 1) - 1) * UNIT)
    largest, base_unit = fmt.step_max // fmt.step_unit, fmt.base_unit

    def room(steps: Ints) -> tuple[Ints, Ints]:
        """Smallest and largest base that meet all thresholds, for each step."""
        products = results * (steps * fmt.step_unit)[:, None]
        return (products + least).max(1), (products + most).min(1)

    def around(centre: int) -> Channel:
        """Exact solution with the step nearest to ``start`` among those around ``centre``, or the
        one that misses the fewest accumulators."""
        steps = np.arange(max(1, centre - _NEAR), min(largest, centre + _NEAR) + 1)
        lowest, highest = _bounded(*room(steps), (high - low + 1) * UNIT)
        limit = fmt.base_max // base_unit
        first, final = -(-lowest // base_unit), highest // base_unit
        bases = ((first + final) // 2).clip(-limit - 1, limit) * base_unit
        exact = (first <= final) & (bases >= lowest) & (bases <= highest)
        if exact.any():
            best = int(np.abs(np.where(exact, steps, _FAR) - start).argmin())
            return Channel(int(bases[best]), int(steps[best]) * fmt.step_unit, tie, 0)
        codes = results[:, None]
        reached = -(-(codes * (steps * fmt.step_unit) + (tie & codes) - bases) // UNIT)
        off = np.abs(reached.clip(low, high + 1) - at[:, None].clip(low, high + 1)).sum(0)
        best = int(off.argmin())
        return Channel(int(bases[best]), int(steps[best]) * fmt.step_unit, tie, int(off[best]))

    found = around(start)
    if found.off:
        first, last = 1, largest
        while first < last:  # the room is concave in the step
            middle = (first + last) // 2
            here, there = room(np.array([middle, middle + 1]))
            if there[0] - here[0] < there[1] - here[1]:
                first = middle + 1
            else:
                last = middle
        found = min(found, around(first), key=lambda channel: channel.off)
    return found


def _bounded(lowest: Ints, highest: Ints, span: int) -> tuple[Ints, Ints]:
    """Smallest and largest bases; where one end is open, at most ``span`` of them are considered,
    so that bases stay near the accumulators."""
    below, above = lowest < -_FAR // 2, highest > _FAR // 2
    ends = (np.where(below, highest - span, lowest), np.where(above, lowest + span, highest))
    return np.where(below & above, 0, ends[0]), np.where(below & above, 0, ends[1])


def channel(
    scale: Fraction,
    offset: Fraction,
    low: int,
    high: int,
    fmt: ParamFormat,
    rounding: Rounding = "TIES_UP",
    bits: int = PRE_BITS,
) -> Channel:
    """Parameters of ``acc * scale + offset``, rounded and saturated to ``bits`` bits, for
    accumulators in [low, high] and a positive scale."""
    half = 1 << (bits - 1)
    results = np.arange(1 - half, half)
    near = guessed(results, float(scale), float(offset), rounding)
    at = thresholds(rounded(scale, offset, rounding), low, high, results, near)
    return fit(at, results, low, high, fmt, float(scale))


def differences(
    wanted: Callable[[Ints], Ints],
    codes: ArrayLike,
    table: ArrayLike,
    found: Channel,
    low: int,
    high: int,
) -> tuple[int, int]:
    """Number of accumulators in [low, high] at which ``table[y]`` (in ascending order of y) of the
    deployed ``found`` differs from the ascending function ``wanted``, and the largest difference.
    ``codes`` are all codes that either function returns."""
    table = np.asarray(table, np.int64)
    steps = np.asarray(codes, np.int64)
    half = len(table) // 2

    def deployed(acc: Ints) -> Ints:
        y = requantize(acc, found.base, found.step, found.tie, bits=(len(table) - 1).bit_length())
        return np.asarray(table[y + half], np.int64)

    edges = [thresholds(f, low, high, steps) for f in (wanted, deployed)]
    starts = np.unique(np.concatenate([[low], *edges]))
    starts = starts[starts <= high]
    lengths = np.diff(np.append(starts, high + 1))
    gap = np.abs(np.asarray(wanted(starts)) - deployed(starts))
    return int(lengths[gap > 0].sum()), int(gap.max())
