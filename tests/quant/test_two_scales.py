"""Sums of two tensors of different scales: integer factors that bring both to one accumulator
step."""

from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from sigbit.quant.layers.integers import GivenSource, weighed
from sigbit.quant.spec import QuantSpec

SCALES = st.fractions(Fraction(1, 1000), Fraction(10), max_denominator=1 << 20)
SPEC = QuantSpec()


def factors(scales, grids, finest) -> tuple[int, int]:
    one = GivenSource(torch.ones(2, 1, 1, 1), (Fraction(1),) * 2)
    parts = weighed((one, one), scales, grids, finest)
    p, q = (int(part.weights.flatten()[0]) for part in parts)
    assert [part.scales for part in parts] == [(Fraction(1, p),) * 2, (Fraction(1, q),) * 2]
    return p, q


def error(scales: tuple[Fraction, Fraction], p: int, q: int) -> Fraction:
    return abs(1 - p * scales[1] / (q * scales[0]))


@given(scales=st.tuples(SCALES, SCALES), finest=st.sampled_from([0, Fraction(1, 50), 1]))
def test_no_other_factors_of_a_grid_are_nearer(scales, finest) -> None:
    grid = SPEC.weight_grid(2).magnitudes
    p, q = factors(scales, [grid], Fraction(finest))
    allowed = [
        [m for m in grid if m == 1 or (m > 1 and m * float(finest) <= float(s))] for s in scales
    ]
    assert p in allowed[0]
    assert q in allowed[1]
    best = min((error(scales, m, n), m, n) for m in allowed[0] for n in allowed[1])
    assert (error(scales, p, q), p, q) == best


@given(scales=st.tuples(SCALES, SCALES))
def test_terms_are_added_until_the_steps_agree(scales) -> None:
    grids = [SPEC.weight_grid(t).magnitudes for t in (3, 4)]
    p, q = factors(scales, grids, Fraction(0))
    near = Fraction(1, 1 << 20)
    only = factors(scales, grids[:1], Fraction(0))
    if error(scales, *only) <= near:
        assert (p, q) == only
    else:
        assert error(scales, p, q) <= error(scales, *only)
