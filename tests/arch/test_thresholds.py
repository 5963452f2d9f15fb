"""Thresholds of functions of accumulators, and the requantizations that meet them."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from sigbit_hw.arch import numerics
from sigbit_hw.arch.params import ParamFormat
from sigbit_hw.arch.thresholds import (
    Channel,
    channel,
    differences,
    fit,
    rounded,
    thresholds,
)

FMT = ParamFormat(24)
ROUNDINGS = {
    "TIES_UP": lambda v: floor(v + Fraction(1, 2)),
    "ROUND": round,
    "FLOOR": floor,
    "CEIL": ceil,
    "ROUND_TO_ZERO": int,
    "HALF_UP": lambda v: (1 if v >= 0 else -1) * floor(abs(v) + Fraction(1, 2)),
    "HALF_DOWN": lambda v: (1 if v >= 0 else -1) * ceil(abs(v) - Fraction(1, 2)),
    "UP": lambda v: (1 if v >= 0 else -1) * ceil(abs(v)),
}


@given(st.lists(st.integers(-60, 60), max_size=30), st.integers(-50, 0), st.integers(1, 50))
def test_thresholds_are_where_codes_begin(steps, low, high):
    steps = np.sort(np.array(steps, np.int64))

    def function(acc):
        return np.searchsorted(steps, acc, side="right")

    codes = np.arange(-2, len(steps) + 3)
    expected = [
        next((a for a in range(low, high + 1) if function(a) >= code), high + 1) for code in codes
    ]
    assert thresholds(function, low, high, codes).tolist() == expected
    near = np.array(expected) + np.resize([0, 1, 0, -1, 10**6], len(expected))
    assert thresholds(function, low, high, codes, near).tolist() == expected


@pytest.mark.parametrize("rounding", ROUNDINGS)
@given(st.fractions(0, 4, max_denominator=64), st.fractions(-9, 9, max_denominator=64))
def test_rounded_is_exact(rounding, scale, offset):
    acc = np.arange(-40, 41)
    expected = [ROUNDINGS[rounding](a * scale + offset) for a in acc.tolist()]
    assert rounded(scale, offset, rounding)(acc).tolist() == expected


def deployed(found: Channel, acc: np.ndarray, bits: int = 8) -> np.ndarray:
    return numerics.requantize(acc, found.base, found.step, found.tie, bits=bits)


@pytest.mark.parametrize("rounding", ["TIES_UP", "FLOOR", "CEIL"])
@settings(max_examples=examples(15), deadline=None)
@given(
    st.integers(6, 18),
    st.floats(-1, 2, allow_subnormal=False),
    st.floats(-60, 60, allow_subnormal=False),
)
def test_affine_functions_are_exact_or_nearly(rounding, reach, octave, offset):
    """Any float32 scale that spreads the accumulators over half to four times the codes; hypothesis
    finds some that miss a few accumulators, which are counted."""
    high = 1 << reach
    scale = Fraction(float(np.float32(128 / high * 2.0**octave)))
    found = channel(scale, Fraction(offset), -high, high, FMT, rounding)
    FMT.check(found.base, found.step, found.tie)
    every = 1 if found.off else max(1, high >> 11)
    acc = np.arange(-high, high + 1, every)
    expected = rounded(scale, Fraction(offset), rounding)(acc).clip(-128, 127)
    assert (deployed(found, acc) != expected).sum() == found.off <= 8


@pytest.mark.parametrize("reach", [8, 12, 16, 20])
def test_random_scales_are_exact(reach):
    rng, high = np.random.default_rng(reach), 1 << reach
    for _ in range(40):
        scale = Fraction(float(np.float32(128 / high * 2 ** rng.uniform(-1, 2))))
        offset = Fraction(rng.uniform(-64, 64))
        assert channel(scale, offset, -high, high, FMT).off == 0


@pytest.mark.parametrize("shift", range(9))
@pytest.mark.parametrize("offset", [0, Fraction(3, 8), -7])
def test_halves_go_to_even_numbers(shift, offset):
    scale = Fraction(1, 1 << shift)
    high = 200 << shift
    found = channel(scale, Fraction(offset), -high, high, FMT, "ROUND")
    assert found.off == 0
    acc = np.arange(-high, high + 1)
    assert (
        deployed(found, acc) == np.round(acc * float(scale) + float(offset)).clip(-128, 127)
    ).all()


def test_what_is_not_exact_is_counted():
    """Halves to even of 3/16: the count is that of the accumulators that differ."""
    scale, low, high = Fraction(3, 16), -600, 600
    found = channel(scale, Fraction(0), low, high, FMT, "ROUND")
    acc = np.arange(low, high + 1)
    wanted = np.array([round(a * scale) for a in acc.tolist()]).clip(-128, 127)
    wrong = deployed(found, acc) != wanted
    assert 0 < found.off <= 100
    assert found.off == wrong.sum()
    function = rounded(scale, Fraction(0), "ROUND")
    codes, table = np.arange(-128, 128), np.arange(-128, 128)
    assert differences(lambda a: function(a).clip(-128, 127), codes, table, found, low, high) == (
        wrong.sum(),
        1,
    )


@given(st.data())
@settings(max_examples=examples(30), deadline=None)
def test_differences_count_every_accumulator(data):
    low, high = data.draw(st.integers(-300, -1)), data.draw(st.integers(0, 300))
    scale = data.draw(st.fractions(Fraction(1, 8), 2, max_denominator=40))
    found = Channel(
        data.draw(st.integers(-(1 << 20), 1 << 20)),
        data.draw(st.integers(1 << 14, 1 << 19)),
        data.draw(st.integers(0, 1)),
        0,
    )
    table = np.sort(data.draw(st.lists(st.integers(-7, 7), min_size=256, max_size=256)))

    def wanted(acc):
        return rounded(scale, Fraction(0), "ROUND")(acc).clip(-7, 7)

    acc = np.arange(low, high + 1)
    gap = np.abs(wanted(acc) - table[deployed(found, acc) + 128])
    expected = int((gap > 0).sum()), int(gap.max())
    assert differences(wanted, np.arange(-7, 8), table, found, low, high) == expected


def test_few_codes_on_a_narrow_step():
    """16 codes with 20 bits of step, 6 of them fraction bits: any scale, to 2**14."""
    fmt, rng = ParamFormat(24, 20, 6), np.random.default_rng(3)
    exact = 0
    for _ in range(20):
        scale = Fraction(float(np.float32(8 / (1 << 14) * 2 ** rng.uniform(-1, 2))))
        offset = Fraction(rng.uniform(-4, 4))
        found = channel(scale, offset, -(1 << 14), 1 << 14, fmt, bits=4)
        acc = np.arange(-(1 << 14), (1 << 14) + 1, 7)
        if found.off == 0:
            exact += 1
            expected = rounded(scale, offset, "TIES_UP")(acc).clip(-8, 7)
            assert (deployed(found, acc, 4) == expected).all()
    assert exact == 20


def test_thresholds_without_reach_are_free():
    found = fit([5, 5000], [0, 1], 0, 100, FMT, 0.01)
    assert found.off == 0
    acc = np.arange(101)
    assert (deployed(found, acc) >= 0).tolist() == (acc >= 5).tolist()
    assert (deployed(found, acc) < 1).all()
