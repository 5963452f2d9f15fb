"""Integer arithmetic of the accelerator: the single definition of its rounding and saturation.

The golden model, the interpreter and the gateware's tests call these functions; the gateware
implements them. All arguments are integers (NumPy arrays or Python ints), all results exact.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch.formats import Format

FRACTION_BITS = 16
"""Fraction bits of a requantization's base and step; both are in units of 2**-16 of an accumulator
step."""

UNIT = 1 << FRACTION_BITS
"""One accumulator step in these units."""

PRE_BITS = 8
"""Bits of the requantized pre-activation ``y``, the index of the activation table."""

ACC_BITS_MIN, ACC_BITS_MAX = 16, 32
"""Minimum and maximum width of an accumulator."""

BASE_MAX = (1 << (ACC_BITS_MAX + FRACTION_BITS)) - 1
"""Largest base, twice the range of an accumulator; the smallest is ``-BASE_MAX - 1``."""

STEP_MAX = (1 << (24 + FRACTION_BITS)) - 1
"""Largest step, just below 2**24 accumulator steps. Up to this step float64 divides as exactly as
integers do: eight-bit quotients are never rounded across an integer."""

Y_MIN, Y_MAX = -(1 << (PRE_BITS - 1)), (1 << (PRE_BITS - 1)) - 1
TABLE_ENTRIES = 1 << PRE_BITS


Ints = NDArray[np.int64]


def wrap(x: ArrayLike, bits: int) -> Ints:
    """``x`` modulo ``2**bits`` as a two's-complement number: the value that a ``bits``-wide
    accumulator holds."""
    x = np.asarray(x, np.int64)
    half = np.int64(1) << (bits - 1)
    return ((x + half) & ((np.int64(1) << bits) - 1)) - half


def requantize(
    acc: ArrayLike, base: ArrayLike, step: ArrayLike, tie: ArrayLike = 0, *, bits: int = PRE_BITS
) -> Ints:
    """Pre-activation ``y`` of accumulators: ``floor((acc 2^16 + base) / step)``, saturated to
    ``bits`` bits of two's complement.

    ``base`` lies within [-BASE_MAX - 1, BASE_MAX], ``step`` within [0, STEP_MAX]; a step of 0,
    which no compiler uses, saturates to the limits. Where ``tie`` is 1, an odd quotient that is
    exact and does not saturate is lowered by one: with a base that includes half a step, ties go to
    even numbers. Arguments broadcast; with accumulators of up to 32 bits nothing exceeds 64 bits.
    """
    acc, base, step, tie = (np.asarray(a, np.int64) for a in (acc, base, step, tie))
    total = (acc << FRACTION_BITS) + base
    half = 1 << (bits - 1)
    y: Ints = (total // np.maximum(step, 1)).clip(-half, half - 1)
    if not step.all():
        y = np.where(step == 0, np.where(total < 0, -half, half - 1), y)
    return y - (tie & y & (y * step == total)) if tie.any() else y


def table_index(y: Any) -> Any:
    """Index into an activation table for pre-activations ``y``, an integer array of any library."""
    return y & (TABLE_ENTRIES - 1)


def passed(codes: ArrayLike, bits: int) -> Ints:
    """Index into an activation table for codes that pass a requantizer of ``bits`` bits unchanged,
    as maxima do: the codes are their own ``y``."""
    return np.asarray(table_index(wrap(codes, bits)), np.int64)


def product_bound(weights: Format, acts: Format) -> int:
    """Largest magnitude of one product."""
    return weights.max * acts.max


def dot_bits(weights: Format, acts: Format, lanes: int) -> int:
    """Width of a sum of ``lanes`` products in two's complement."""
    return (lanes * product_bound(weights, acts)).bit_length() + 1


def order_key(codes: ArrayLike, fmt: Format) -> Ints:
    """Unsigned integers in the order of the values of ``codes``, for the comparisons of max
    pooling.

    Negative signed codes have their magnitude field inverted, and all signed codes their sign bit;
    minus zero sorts just below zero.
    """
    codes = np.asarray(codes, np.int64)
    if not fmt.signed:
        return codes
    sign = 1 << (fmt.bits - 1)
    return np.where(codes & sign, codes ^ (sign | (sign - 1)), codes ^ sign)
