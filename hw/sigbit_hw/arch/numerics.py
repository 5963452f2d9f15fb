"""Integer arithmetic of the accelerator: the only place where its rounding and saturation are
written.

The golden model, the interpreter and the gateware's tests call these functions; the gateware
implements them. All arguments are integers (NumPy arrays or Python ints), all results exact.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch.formats import Format

MANTISSA_BITS = 4
"""Significant bits of a requantization scale; the top one is always set: mantissa in [8, 15]."""

GUARD_BITS = 3
"""Fraction bits kept between the shift and the multiplication by the mantissa."""

SHIFT_MAX = 31
"""Largest requantization shift."""
PRE_BITS = 8
"""Bits of the requantized pre-activation ``y``, the index of the activation table."""

SCALED_BITS = PRE_BITS + GUARD_BITS + 1
"""Bits of the shifted accumulator that enters the multiplication."""

SCALED_MIN, SCALED_MAX = -(1 << (SCALED_BITS - 1)), (1 << (SCALED_BITS - 1)) - 1
"""Where the shifted accumulator saturates."""

DROP_BITS = MANTISSA_BITS - 1 + GUARD_BITS
"""Fraction bits that are rounded away after the multiplication by the mantissa."""

ROUND_UNIT = 1 << DROP_BITS
"""By what that divides."""

ROUND_HALF = ROUND_UNIT // 2
"""What is added before: half a unit, so that ties round up."""

BIAS_BITS = 32
"""Bits of a bias as it is stored; the hardware keeps the low ``acc_bits``."""

BIAS_MAX = (1 << (BIAS_BITS - 1)) - 1
"""Largest bias."""

ACC_BITS_MIN, ACC_BITS_MAX = 16, BIAS_BITS
"""Least and largest width of an accumulator."""

MANTISSA_MIN, MANTISSA_MAX = 1 << (MANTISSA_BITS - 1), (1 << MANTISSA_BITS) - 1
"""Least and largest mantissa: the top bit is set."""

Y_MIN, Y_MAX = -(1 << (PRE_BITS - 1)), (1 << (PRE_BITS - 1)) - 1
TABLE_ENTRIES = 1 << PRE_BITS


Ints = NDArray[np.int64]


def wrap(x: ArrayLike, bits: int) -> Ints:
    """``x`` modulo ``2**bits`` as a two's-complement number: what a ``bits``-wide accumulator
    holds."""
    x = np.asarray(x, np.int64)
    half = np.int64(1) << (bits - 1)
    return ((x + half) & ((np.int64(1) << bits) - 1)) - half


def requantize(acc: ArrayLike, bias: ArrayLike, mantissa: ArrayLike, shift: ArrayLike) -> Ints:
    """Pre-activation ``y`` of accumulators: ``sat8(round_half_up(sat12(floor((acc + bias) 8 /
    2^shift)) m / 64))``.

    The effective scale is ``mantissa / 8 * 2**-shift``. ``acc + bias`` must not overflow the
    accumulator, which the compiler proves for every layer. Arguments broadcast; the result lies in
    [-128, 127].
    """
    acc, bias, mantissa, shift = (np.asarray(a, np.int64) for a in (acc, bias, mantissa, shift))
    scaled = (((acc + bias) << GUARD_BITS) >> shift).clip(SCALED_MIN, SCALED_MAX)
    return ((scaled * mantissa + ROUND_HALF) >> DROP_BITS).clip(Y_MIN, Y_MAX)


def table_index(y: Any) -> Any:
    """Index into an activation table of pre-activations ``y``, an array of integers of any
    library."""
    return y & (TABLE_ENTRIES - 1)


def scale_value(mantissa: ArrayLike, shift: ArrayLike) -> NDArray[np.float64]:
    """The real factor that (mantissa, shift) stands for, exactly."""
    return np.ldexp(np.asarray(mantissa, np.float64) / MANTISSA_MIN, -np.asarray(shift, np.int64))


def snap_scale(scale: ArrayLike) -> tuple[Ints, Ints]:
    """(mantissa, shift) of the representable scale nearest to ``scale``, ties to the larger one.

    Representable are ``m / 8 * 2**-s``, m in [8, 15], s in [0, 31]; outside that range the nearest
    end is taken. Raises ``ValueError`` unless every scale is finite and positive.
    """
    scale = np.asarray(scale, np.float64)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError("requantization scales must be finite and positive")
    mantissa, shift = nearest_scale(scale, np)
    return mantissa.astype(np.int64), shift.astype(np.int64)


def nearest_scale(scale: Any, library: Any) -> tuple[Any, Any]:
    """:func:`snap_scale` on arrays of float64 of ``library`` (``numpy``, ``torch``), where they
    are: whole mantissas as float64, shifts as integers."""
    fraction, exponent = library.frexp(scale)
    mantissa = library.floor(fraction * (2 * MANTISSA_MIN) + 0.5)
    carry = mantissa == 2 * MANTISSA_MIN
    shift = 1 - library.where(carry, exponent + 1, exponent)
    mantissa = library.where(carry, MANTISSA_MIN, mantissa)
    mantissa = library.where(shift < 0, MANTISSA_MAX, mantissa)
    mantissa = library.where(shift > SHIFT_MAX, MANTISSA_MIN, mantissa)
    return mantissa, library.clip(shift, 0, SHIFT_MAX)


def product_bound(weights: Format, acts: Format) -> int:
    """Largest magnitude of one product."""
    return weights.max * acts.max


def dot_bits(weights: Format, acts: Format, lanes: int) -> int:
    """Width of a sum of ``lanes`` products, two's complement."""
    return (lanes * product_bound(weights, acts)).bit_length() + 1


def order_key(codes: ArrayLike, fmt: Format) -> Ints:
    """Unsigned integers ordered as the values of ``codes``: what max pooling compares.

    Signed codes have their magnitude field inverted when negative, and the sign bit inverted; minus
    zero sorts just below zero.
    """
    codes = np.asarray(codes, np.int64)
    if not fmt.signed:
        return codes
    sign = 1 << (fmt.bits - 1)
    return np.where(codes & sign, codes ^ (sign | (sign - 1)), codes ^ sign)
