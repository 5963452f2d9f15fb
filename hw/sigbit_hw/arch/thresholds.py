"""Which function of its accumulators a requantization is, decided and not hoped for.

A monotone function of integers to codes is given by its *thresholds*: for each of some codes, the
least accumulator at which the function reaches it. The functions here find the thresholds of any
function, the parameters that have given thresholds, and the accumulators at which two functions
differ. They think of ascending functions; one that falls is that of the negated accumulator, which
a layer has with negated weights.

A division by a constant meets the thresholds of ``round(acc s + b)``, ties up, of float32 scales,
and of halves to even for scales 2**-j. Two kinds it misses by a few accumulators in 32,768: halves
to even for scales m 2**-j with odd m > 1, and fixed point that rounds twice on signed results.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from sigbit_hw.arch.numerics import PRE_BITS, UNIT, Ints, requantize
from sigbit_hw.arch.params import ParamFormat

_WIDTH = 256
"""Steps on each side of the best one among which a base is sought that can be stored."""
_FAR = 1 << 61
"""Beyond every product of a code and a step."""


@dataclass(frozen=True)
class Channel:
    """Parameters of one channel, and at how many accumulators they miss what was asked for: 0 if
    they are exact."""

    base: int
    step: int
    tie: int
    off: int


def thresholds(function: Callable[[Ints], Ints], low: int, high: int, codes: ArrayLike) -> Ints:
    """For each of ``codes`` the least accumulator in [low, high] at which the ascending
    ``function`` reaches it; ``high + 1`` for those that it does not reach."""
    wanted = np.asarray(codes, np.int64)
    first: Ints = np.full(wanted.shape, low, np.int64)
    last: Ints = np.full(wanted.shape, high + 1, np.int64)
    while bool((first < last).any()):
        middle = (first + last) // 2
        reached = (first == last) | (np.asarray(function(middle.clip(low, high))) >= wanted)
        first, last = np.where(reached, first, middle + 1), np.where(reached, middle, last)
    return first


def affine(scale: Fraction, offset: Fraction) -> Callable[[Ints], Ints]:
    """``round(acc * scale + offset)`` of exact numbers, ties up; any number of digits."""
    common = 2 * scale.denominator * offset.denominator
    a, b = int(scale * common), int(offset * common) + common // 2
    function = np.frompyfunc(lambda acc: (int(acc) * a + b) // common, 1, 1)
    return lambda acc: np.asarray(function(acc), np.int64)


def fit(
    at: ArrayLike, results: ArrayLike, low: int, high: int, fmt: ParamFormat, start: float
) -> Channel:
    """The parameters with which a requantizer reaches ``results[k]`` from accumulator ``at[k]`` on,
    over accumulators in [low, high]; both ascend. A threshold of ``low`` or below is always
    reached, one above ``high`` never. ``start`` is the scale that is sought around. With and
    without the tie bit; where neither is exact, the nearest thresholds.
    """
    at, results = np.asarray(at, np.int64), np.asarray(results, np.int64)
    step = int(fmt.nearest_step(1 / start, np) * UNIT)
    found = [_fit(at, results, low, high, fmt, step, tie) for tie in (0, 1)]
    return min(found, key=lambda channel: channel.off)


def _fit(
    at: Ints, results: Ints, low: int, high: int, fmt: ParamFormat, start: int, tie: int
) -> Channel:
    strict = tie & results  # an odd result is reached only beyond a tie
    least = np.where(at > high, -_FAR, strict - np.maximum(at, low) * UNIT)
    most = np.where(at <= low, _FAR, strict - 1 - (np.minimum(at, high + 1) - 1) * UNIT)

    def room(steps: Ints) -> tuple[Ints, Ints]:
        """Least and greatest base with which all thresholds are met, by step."""
        products = results * steps[:, None]
        return (products + least).max(1), (products + most).min(1)

    unit, base_unit = fmt.step_unit, fmt.base_unit
    first, last = 1, fmt.step_max // unit
    while first < last:  # the room is concave in the step
        middle = (first + last) // 2
        here, there = room(np.array([middle, middle + 1]) * unit)
        sizes = there - here
        if sizes[0] < sizes[1]:
            first = middle + 1
        else:
            last = middle
    centre = min(first, last)
    near = np.unique(
        np.concatenate(
            [np.arange(-_WIDTH, _WIDTH + 1) + middle for middle in (start // unit, centre)]
        ).clip(1, fmt.step_max // unit)
    )
    steps = near * unit
    lowest, highest = room(steps)
    bases = -(-lowest // base_unit) * base_unit
    limit = fmt.base_max
    exact = (bases <= highest) & (bases <= limit) & (bases >= -limit - base_unit)
    if exact.any():
        best = int(np.flatnonzero(exact)[np.abs(steps[exact] - start).argmin()])
        kept = (highest[best] - bases[best]) // base_unit // 2 * base_unit
        return Channel(int(min(bases[best] + kept, limit)), int(steps[best]), tie, 0)
    middles = (lowest + highest) // 2 // base_unit * base_unit
    bases = middles.clip(-limit - base_unit, limit)
    codes = results[:, None]
    reached = (codes * steps + (tie & codes) - bases + UNIT - 1) // UNIT
    missed = reached.clip(low, high + 1) - at[:, None].clip(low, high + 1)
    off = np.abs(missed).sum(0)
    best = int(off.argmin())
    return Channel(int(bases[best]), int(steps[best]), tie, int(off[best]))


def channel(
    scale: Fraction, offset: Fraction, low: int, high: int, fmt: ParamFormat, bits: int = PRE_BITS
) -> Channel:
    """The parameters of ``round(acc * scale + offset)``, ties up, saturated to ``bits`` bits, for
    accumulators in [low, high] and a positive scale."""
    half = 1 << (bits - 1)
    results = np.arange(1 - half, half)
    at = thresholds(affine(scale, offset), low, high, results)
    return fit(at, results, low, high, fmt, float(scale))


def differences(
    wanted: Callable[[Ints], Ints],
    codes: ArrayLike,
    table: ArrayLike,
    found: Channel,
    low: int,
    high: int,
) -> tuple[int, int]:
    """At how many accumulators in [low, high] ``table[y]`` (in the order of y, ascending) of the
    deployed ``found`` is not what the ascending function ``wanted`` gives, and by how much at most.
    ``codes`` are all that either gives."""
    table = np.asarray(table, np.int64)
    steps = np.asarray(codes, np.int64)
    half = len(table) // 2

    def deployed(acc: Ints) -> Ints:
        y = requantize(acc, found.base, found.step, found.tie, (len(table) - 1).bit_length())
        return np.asarray(table[y + half], np.int64)

    edges = [thresholds(f, low, high, steps) for f in (wanted, deployed)]
    starts = np.unique(np.concatenate([[low], *edges]))
    starts = starts[starts <= high]
    lengths = np.diff(np.append(starts, high + 1))
    gap = np.abs(np.asarray(wanted(starts)) - deployed(starts))
    return int(lengths[gap > 0].sum()), int(gap.max())
