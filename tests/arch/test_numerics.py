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


bases = st.integers(-numerics.BASE_MAX - 1, numerics.BASE_MAX)


def exact_requantize(acc: int, base: int, step: int, tie: int, bits: int = 8) -> int:
    """The definition in rationals."""
    quotient = Fraction(acc * 65536 + base, step)
    half = 1 << (bits - 1)
    if not -half <= quotient < half:
        return half - 1 if quotient > 0 else -half
    y = floor(quotient)
    return y - 1 if tie and y == quotient and y % 2 else y


@given(accumulators, bases, st.integers(1, 40), st.floats(0, 1), st.integers(0, 1))
def test_requantize_is_its_definition(acc, base, bits, share, tie):
    step = min(max(1, int(share * 2.0**bits)), numerics.STEP_MAX)
    expected = exact_requantize(acc, base, step, tie)
    assert int(numerics.requantize(acc, base, step, tie)) == expected


@given(
    accumulators,
    st.integers(-140, 140),
    st.integers(-3, 3),
    st.integers(1, numerics.STEP_MAX),
    st.integers(0, 1),
    st.integers(2, 8),
)
def test_requantize_near_whole_quotients(acc, quotient, rest, step, tie, bits):
    base = quotient * step + rest - acc * 65536
    got = int(numerics.requantize(acc, base, step, tie, bits=bits))
    assert got == exact_requantize(acc, base, step, tie, bits=bits)


@given(
    st.integers(-(1 << 20), 1 << 20),
    st.integers(-140, 140),
    st.sampled_from([-1, 0, 1]),
    st.integers(1, numerics.STEP_MAX),
)
def test_floats_divide_as_integers_do(acc, quotient, rest, step):
    """What training and exports rely on: the floor of a float64 quotient is exact."""
    total = quotient * step + rest
    base = total - acc * 65536
    y = np.floor((np.float64(acc) + base / 65536) / (step / 65536)).clip(-128, 127)
    assert y == numerics.requantize(acc, base, step)


def test_requantize_broadcasts(rng):
    acc = rng.integers(-1000, 1000, (2, 3, 4, 4))
    base, step = (rng.integers(*r, (3, 1, 1)) for r in ((-(1 << 22), 1 << 22), (1 << 10, 1 << 21)))
    tie = rng.integers(0, 2, (3, 1, 1))
    got = numerics.requantize(acc, base, step, tie)
    for index in np.ndindex(acc.shape):
        c = index[1]
        params = (int(a[c, 0, 0]) for a in (base, step, tie))
        assert got[index] == exact_requantize(int(acc[index]), *params)


def test_a_step_of_0_gives_the_limits():
    acc = np.array([-3, -1, 0, 1, 5])
    assert numerics.requantize(acc, 0, 0).tolist() == [-128, -128, 127, 127, 127]
    assert numerics.requantize(acc, 65536, 0, bits=4).tolist() == [-8, 7, 7, 7, 7]


def test_ties_go_to_even_numbers():
    acc = np.arange(-300, 301)
    y = numerics.requantize(acc, 65536, 2 * 65536, 1)
    assert (y == np.round(acc / 2).clip(-128, 127)).all()


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_codes_pass_unchanged(bits):
    codes = np.arange(1 << bits)
    index = numerics.passed(codes, bits)
    y = numerics.requantize(numerics.wrap(codes, bits), 0, numerics.UNIT, bits=bits)
    assert (index == numerics.table_index(y)).all()
    assert len(set(index.tolist())) == len(codes)


@given(st.integers(-(1 << 60), 1 << 60), st.integers(2, 32))
def test_wrap(x, bits):
    got = int(numerics.wrap(x, bits))
    assert (got - x) % (1 << bits) == 0
    assert -(1 << (bits - 1)) <= got < 1 << (bits - 1)


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
