"""Integer arithmetic of the accelerator: the only place where its rounding and saturation are
written.

The golden model, the interpreter and the gateware's tests call these functions; the gateware
implements them. All arguments are integers (NumPy arrays or Python ints), all results exact.
"""

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

BIAS_BITS = 32
"""Bits of a bias as it is stored; the hardware keeps the low ``acc_bits``."""

Y_MIN, Y_MAX = -(1 << (PRE_BITS - 1)), (1 << (PRE_BITS - 1)) - 1
TABLE_ENTRIES = 1 << PRE_BITS

_HIDDEN = 1 << (MANTISSA_BITS - 1)
_DROP = MANTISSA_BITS - 1 + GUARD_BITS

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
    limit = 1 << (SCALED_BITS - 1)
    scaled = (((acc + bias) << GUARD_BITS) >> shift).clip(-limit, limit - 1)
    return ((scaled * mantissa + (1 << (_DROP - 1))) >> _DROP).clip(Y_MIN, Y_MAX)


def scale_value(mantissa: ArrayLike, shift: ArrayLike) -> NDArray[np.float64]:
    """The real factor that (mantissa, shift) stands for, exactly."""
    return np.ldexp(np.asarray(mantissa, np.float64) / _HIDDEN, -np.asarray(shift, np.int64))


def snap_scale(scale: ArrayLike) -> tuple[Ints, Ints]:
    """(mantissa, shift) of the representable scale nearest to ``scale``, ties to the larger one.

    Representable are ``m / 8 * 2**-s``, m in [8, 15], s in [0, 31]; outside that range the nearest
    end is taken. Raises ``ValueError`` unless every scale is finite and positive.
    """
    scale = np.asarray(scale, np.float64)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError("requantization scales must be finite and positive")
    fraction, exponent = np.frexp(scale)
    mantissa = np.floor(fraction * 2 * _HIDDEN + 0.5).astype(np.int64)
    carry = mantissa == 2 * _HIDDEN
    mantissa = np.where(carry, _HIDDEN, mantissa)
    shift = 1 - exponent.astype(np.int64) - carry
    mantissa = np.where(shift < 0, 2 * _HIDDEN - 1, np.where(shift > SHIFT_MAX, _HIDDEN, mantissa))
    return mantissa, shift.clip(0, SHIFT_MAX)


def product_bound(weights: Format, acts: Format) -> int:
    """Largest magnitude of one product."""
    return weights.max * acts.max


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
