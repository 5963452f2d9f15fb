"""Quantizers of a float graph, one by one against their definitions."""

import pytest
import torch
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation, Rounding

ONE = torch.ones(1)


def of(bits: float = 4, signed: bool = True, zero: float = 0.0, **more: object) -> QuantAnnotation:
    return QuantAnnotation(ONE / 2, torch.tensor([zero]), bits, signed, **more)  # type: ignore[arg-type]


def values(quantizer: QuantAnnotation, *x: float) -> list[float]:
    found: Tensor = quantizer(torch.tensor([x], dtype=torch.float64).T[:, :, None])
    return [float(v) for v in found.flatten()]


@pytest.mark.parametrize(
    ("quantizer", "low", "high"),
    [
        (of(4), -8, 7),
        (of(4, narrow=True), -7, 7),
        (of(4, signed=False), 0, 15),
        (of(4, signed=False, narrow=True), 0, 14),
        (of(2), -2, 1),
        (of(3, signed=False, thresholds=torch.zeros(1, 5)), 0, 5),
        (of(3, thresholds=torch.zeros(2, 7)), 0, 7),
    ],
)
def test_ranges(quantizer: QuantAnnotation, low: float, high: float) -> None:
    assert quantizer.range == (low, high)


ROUNDED: dict[Rounding, list[float]] = {
    "ROUND": [-2, -1, 0, 0, 1, 2],
    "HALF_UP": [-2, -1, -1, 1, 1, 2],
    "HALF_DOWN": [-1, -1, 0, 0, 1, 1],
    "CEIL": [-1, -1, 0, 1, 1, 2],
    "FLOOR": [-2, -2, -1, 0, 0, 1],
    "ROUND_TO_ZERO": [-1, -1, 0, 0, 0, 1],
    "UP": [-2, -2, -1, 1, 1, 2],
}
"""Of -1.5, -1.25, -0.5, 0.5, 0.75, 1.5, in steps of the scale."""


@pytest.mark.parametrize("rounding", ROUNDED)
def test_rounding(rounding: Rounding) -> None:
    found = values(of(rounding=rounding), -0.75, -0.625, -0.25, 0.25, 0.375, 0.75)
    assert found == [v / 2 for v in ROUNDED[rounding]]


def test_clipping_around_the_zero_point() -> None:
    """Integers, with the zero point, lie in the range; the zero point is subtracted again."""
    assert values(of(zero=3.0), -99.0, -5.5, 0.0, 2.0, 99.0) == [-5.5, -5.5, 0.0, 2.0, 2.0]
    assert values(of(signed=False, zero=5.0), -99.0, 99.0) == [-2.5, 5.0]


def test_the_zero_point_may_be_added_before_or_after_rounding() -> None:
    """Half steps round to even integers: with an odd zero point, to others."""
    assert values(of(zero=1.0), 0.25, 0.75) == [0.5, 0.5]
    assert values(of(zero=1.0, shift_first=False), 0.25, 0.75) == [0.0, 1.0]


def test_signs() -> None:
    assert values(of(1), -0.1, 0.0, 0.1) == [-0.5, 0.5, 0.5]


def test_thresholds() -> None:
    """The number of those that are reached; of one signed bit, a sign."""
    three = of(2, signed=False, zero=1.0, thresholds=torch.tensor([[-1.0, 0.0, 2.0]]))
    assert values(three, -2.0, -1.0, 0.0, 1.0, 2.0) == [-0.5, 0.0, 0.5, 0.5, 1.0]
    sign = of(1, thresholds=torch.tensor([[0.25]]))
    assert values(sign, 0.0, 0.25, 1.0) == [-0.5, 0.5, 0.5]


def test_bits_are_cut_off() -> None:
    """Of integers of the source's scale, the lowest two, after rounding to even."""
    cut = of(8, source=ONE / 8, rounding="FLOOR")
    assert values(cut, 0.4375, 0.5, 0.9375, -0.125) == [0.5, 0.5, 1.0, -0.5]
    assert values(of(8, source=ONE / 8), 0.25, 0.75) == [0.0, 1.0]


def test_channels_have_their_own_scales() -> None:
    two = QuantAnnotation(torch.tensor([1.0, 0.5]), torch.tensor([0.0, 1.0]), 3, True)
    x = torch.full((1, 2, 1, 3), 9.0)
    assert two(x)[0, :, 0, 0].tolist() == [3.0, 1.0]
    assert two(-x)[0, :, 0, 2].tolist() == [-4.0, -2.5]


def test_small_floats() -> None:
    """Two mantissa bits, exponents from -2 (subnormal below) to 1: 3.5 is the largest, and a
    smaller limit is kept."""
    small = QuantAnnotation.floating(ONE, 2, 2, 2, 99.0, "ROUND")
    assert small.range == (-3.5 * 8, 3.5 * 8)
    x = (0.0, 0.0625, 0.1, 0.19, 0.25, 0.51, 1.1, 1.2, 3.2, 3.4, 9.0, -0.1, -9.0)
    wanted = [0.0, 0.0, 0.125, 0.25, 0.25, 0.5, 1.0, 1.25, 3.0, 3.5, 3.5, -0.125, -3.5]
    assert values(small, *x) == wanted
    limited = QuantAnnotation.floating(ONE * 2, 2, 2, 2, 3.0, "ROUND")
    assert limited.range == (-3.0 * 8, 3.0 * 8)
    assert values(limited, 9.0, 0.2) == [6.0, 0.25]
    down = QuantAnnotation.floating(ONE, 2, 2, 2, 99.0, "FLOOR")
    assert values(down, 1.2, -1.2) == [1.0, -1.25]
