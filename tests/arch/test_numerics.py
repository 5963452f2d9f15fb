"""Integer arithmetic against exact rational definitions."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigbit_hw.arch import numerics
from sigbit_hw.arch.formats import EsbFormat, round_half_away

accumulators = st.integers(-(1 << 31), (1 << 31) - 1)


def exact_requantize(total: int, mantissa: int, shift: int) -> int:
    """The definition, step by step in rationals."""
    scaled = floor(Fraction(total * 8, 2**shift))
    scaled = max(-2048, min(2047, scaled))
    rounded = floor(Fraction(scaled * mantissa, 64) + Fraction(1, 2))
    return max(-128, min(127, rounded))


@given(accumulators, accumulators, st.integers(8, 15), st.integers(0, 31))
def test_requantize_is_its_definition(acc, bias, mantissa, shift):
    got = int(numerics.requantize(acc, bias, mantissa, shift))
    assert got == exact_requantize(acc + bias, mantissa, shift)


@given(st.integers(-4000, 4000), st.integers(8, 15), st.integers(0, 8))
def test_requantize_is_close_to_the_real_scale(acc, mantissa, shift):
    real = acc * float(numerics.scale_value(mantissa, shift))
    error = abs(int(numerics.requantize(acc, 0, mantissa, shift)) - np.clip(real, -128, 127))
    assert error <= 0.5 + 15 / 64


def test_requantize_broadcasts(rng):
    acc = rng.integers(-1000, 1000, (2, 3, 4, 4))
    mantissa, shift, bias = (rng.integers(*r, (3, 1, 1)) for r in ((8, 16), (0, 6), (-50, 50)))
    got = numerics.requantize(acc, bias, mantissa, shift)
    for index in np.ndindex(acc.shape):
        c = index[1]
        assert got[index] == exact_requantize(
            int(acc[index] + bias[c, 0, 0]), int(mantissa[c, 0, 0]), int(shift[c, 0, 0])
        )


@given(st.integers(-(1 << 60), 1 << 60), st.integers(2, 32))
def test_wrap(x, bits):
    got = int(numerics.wrap(x, bits))
    assert (got - x) % (1 << bits) == 0
    assert -(1 << (bits - 1)) <= got < 1 << (bits - 1)


@given(st.floats(2.0**-31, 1.875))
def test_snap_scale_is_nearest(scale):
    mantissa, shift = numerics.snap_scale(scale)
    got = Fraction(float(numerics.scale_value(mantissa, shift)))
    assert 8 <= int(mantissa) <= 15
    assert 0 <= int(shift) <= 31
    grid = [Fraction(m, 8) / 2**s for m in range(8, 16) for s in range(32)]
    error = min(abs(Fraction(scale) - g) for g in grid)
    assert abs(Fraction(scale) - got) == error
    assert got == max(g for g in grid if abs(Fraction(scale) - g) == error)


def test_snap_scale_keeps_what_is_representable():
    mantissa, shift = (a.ravel() for a in np.meshgrid(np.arange(8, 16), np.arange(32)))
    got = numerics.snap_scale(numerics.scale_value(mantissa, shift))
    assert (got[0] == mantissa).all()
    assert (got[1] == shift).all()


def test_snap_scale_ends():
    assert [int(v) for v in numerics.snap_scale(1e6)] == [15, 0]
    assert [int(v) for v in numerics.snap_scale(1e-30)] == [8, 31]
    assert [int(v) for v in numerics.snap_scale(1.9999)] == [15, 0]
    assert [int(v) for v in numerics.snap_scale(0.9999)] == [8, 0]


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_snap_scale_refuses(scale):
    with pytest.raises(ValueError, match="finite and positive"):
        numerics.snap_scale([1.0, scale])


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_order_key_orders_as_values(bits, signed):
    for frac in range(bits - signed):
        fmt = EsbFormat(bits, frac, signed)
        codes = np.arange(1 << bits)
        keys = numerics.order_key(codes, fmt)
        assert sorted(keys.tolist()) == codes.tolist()
        ordered = fmt.decode(codes[np.argsort(keys)])
        assert (np.diff(ordered) >= 0).all()


def test_product_bound():
    weights, acts = EsbFormat(4, 1), EsbFormat(4, 2)
    products = np.outer(weights.values, acts.values)
    assert numerics.product_bound(weights, acts) == np.abs(products).max()


def test_round_half_away_is_exact_next_to_a_half() -> None:
    below = np.nextafter(0.5, 0.0)
    x = np.array([below, -below, 0.5, -0.5, 1.5, -2.5, 2.0**53 - 1, 0.0])
    expected = [0, 0, 1, -1, 2, -3, 2.0**53 - 1, 0]
    assert round_half_away(x).tolist() == expected
