"""Codes that a quantized model defines: integers of its weights, functions of the accumulator by
exact arithmetic, differences counted one by one, reasons why there are none."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.test_folding import norm, numbers
from sigbit.ir.annotation import QuantAnnotation
from sigbit.quant.layers.given import GivenCodes, reach
from sigbit.quant.layers.integers import GivenSource, fewest_terms, given_source, norm_factor
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.plan.plans import Ones, SourcePlan
from sigbit.quant.spec import ActGrid, QuantSpec
from sigbit_hw.arch.numerics import requantize
from sigbit_hw.arch.params import ParamFormat, in_units

FORMAT = QuantSpec().params
BYTES = ActGrid(LevelGrid.uniform(-128, 127), 3, 0, 0, 0)
WIDE = ActGrid(LevelGrid.uniform(-255, 255), 4, 0, 0, 0)
INPUT = ActGrid(LevelGrid.uniform(-20, 25), 3, 2, 0, 0)
WEIGHTS = torch.tensor([[1.0, 2.0], [7.0, 0.0], [-3.0, 1.0]], dtype=torch.float64)[..., None, None]
BIAS = torch.tensor([0.0, 0.5, -3.25], dtype=torch.float64)


def annotation(scale: float = 1.0, bits: float = 8, signed: bool = True, **more) -> QuantAnnotation:
    zero = torch.tensor([float(more.pop("zero", 0))], dtype=torch.float64)
    return QuantAnnotation(torch.tensor([scale], dtype=torch.float64), zero, bits, signed, **more)


ROUND = {
    "ROUND": round,
    "FLOOR": math.floor,
    "CEIL": math.ceil,
    "ROUND_TO_ZERO": math.trunc,
    "UP": lambda v: -math.floor(-v) if v > 0 else math.floor(v),
    "HALF_UP": lambda v: math.floor(abs(v) + Fraction(1, 2)) * (1 if v > 0 else -1),
    "HALF_DOWN": lambda v: math.ceil(abs(v) - Fraction(1, 2)) * (1 if v > 0 else -1),
}


def code(q: QuantAnnotation, x: Fraction, channel: int) -> int:
    """The level that ``q`` defines for a real number."""
    zero, rounded = int(q.zero_point), ROUND[q.rounding]
    low, high = (int(v) for v in q.range)
    if q.thresholds is not None:
        rows = q.thresholds.tolist()
        count = sum(Fraction(t) <= x for t in rows[channel % len(rows)])
        return 2 * count - 1 if q.bipolar else count - zero
    if q.bipolar:
        return 1 if x >= 0 else -1
    if q.source is not None:
        source, factor = Fraction(float(q.source)), round(float(q.scale / q.source))
        fine = round(x / source + zero * factor)
        return min(max(rounded(Fraction(fine, factor)), low), high) - zero
    v = x / Fraction(float(q.scale))
    if q.mantissa is not None:
        digits = max(0, int(abs(v)).bit_length() - 1 - q.mantissa)
        return min(max(rounded(v / 2**digits) * 2**digits, low), high)
    n = rounded(v + zero) if q.shift_first else rounded(v) + zero
    return min(max(n, low), high) - zero


def given(
    q: QuantAnnotation, scale: Fraction = Fraction(3, 8), in_scale: float = 1.0, **more: object
) -> GivenCodes | str:
    sources = (GivenSource(WEIGHTS, (scale, scale / 2, scale)),)
    fields = {"positive": False, "rectified": False, "limit": None} | more
    grid = fields.pop("grid", WIDE)
    fmt = fields.pop("fmt", FORMAT)
    return GivenCodes.of(q, sources, BIAS, (in_scale,), (INPUT,), grid, fmt, **fields)


def compare(
    found: GivenCodes, q: QuantAnnotation, limit: Fraction | None = None, relu: bool = False
) -> int:
    """All codes of all accumulators; return how many of them differ."""
    off = most = total = 0
    deployed = found.found
    for c, (low, high) in enumerate(reach(found.weights, found.grids)):
        acc = np.arange(low, high + 1)
        scale, bias = found.scales[c], Fraction(float(BIAS[c]))
        real = [int(a) * scale + bias for a in acc]
        real = [max(r, Fraction(0)) for r in real] if relu else real
        real = [min(r, limit) for r in real] if limit is not None else real
        wanted = np.array([code(q, r, c) for r in real])
        assert np.array_equal(found.function(c)(acc), wanted)
        base, step = (int(in_units(v[c].numpy())) for v in (deployed.base, deployed.step))
        y = requantize(acc, base, step, int(deployed.tie[c]))
        gap = np.abs(deployed.table.numpy()[y + 128] - wanted)
        off, most, total = off + int((gap > 0).sum()), max(most, int(gap.max())), total + len(acc)
    assert (deployed.exactness.off, deployed.exactness.most) == (off, most)
    assert deployed.exactness.accumulators == total
    return off


ANNOTATIONS = {
    **{r: annotation(rounding=r) for r in ROUND},
    "zero": annotation(0.7, 6, False, zero=37),
    "odd zero": annotation(1.0, 8, zero=5),
    "zero after rounding": annotation(0.75, 8, zero=5, shift_first=False),
    "narrow": annotation(0.9, 4, narrow=True),
    "coarse": annotation(9.0, 4),
    "fine": annotation(0.1, 8),
    "sign": annotation(0.4, 1),
    "cut": annotation(2.0, 5, source=torch.tensor([0.25])),
    "cut to zero": annotation(2.0, 5, zero=3, source=torch.tensor([0.5]), rounding="FLOOR"),
    "thresholds": annotation(
        1.0, 3, False, thresholds=torch.tensor([[-8.0, -2.0, -1.5, 0.0, 2.25, 6.0, 9.0]])
    ),
    "thresholds of channels": annotation(
        1.0, 2, False, thresholds=torch.tensor([[-4.0, 0, 4], [-2, 1, 20], [-900, 900, 950]])
    ),
    "threshold": annotation(1.0, 1, thresholds=torch.tensor([[2.25]])),
    "floats": QuantAnnotation.floating(
        torch.tensor([1.0], dtype=torch.float64), 2, 3, 1, 1e9, "ROUND"),
}  # fmt: skip


@pytest.mark.parametrize("scale", [Fraction(3, 8), Fraction(1), Fraction(1, 7)], ids=str)
@pytest.mark.parametrize("kind", ANNOTATIONS)
def test_codes_are_those_of_exact_arithmetic(kind: str, scale: Fraction) -> None:
    q = ANNOTATIONS[kind]
    found = given(q, scale)
    assert isinstance(found, GivenCodes), found
    assert found.grid == ActGrid(found.grid.levels, WIDE.planes, WIDE.zero, 0, 0)
    off = compare(found, q)
    total = found.found.exactness.accumulators
    exact = ("FLOOR", "CEIL", "sign", "threshold", "narrow", "coarse", "zero", "HALF_UP", "fine")
    assert off <= total / (2 if "thresholds" in kind else 8)
    assert off == 0 or kind not in exact


@pytest.mark.parametrize("kind", ["FLOOR", "coarse", "zero", "sign"])
def test_rectified_codes(kind: str) -> None:
    q = ANNOTATIONS[kind]
    found = given(q, positive=kind != "sign", rectified=True)
    assert isinstance(found, GivenCodes), found
    assert found.grid.low == (-1 if kind == "sign" else 0)
    assert compare(found, q, relu=True) == 0


@pytest.mark.parametrize("limit", [5.0, 6.5, 1e4])
def test_codes_up_to_a_limit(limit: float) -> None:
    for q in (annotation(0.5, 8), annotation(0.5, 8, False, zero=7)):
        found = given(q, positive=True, rectified=True, limit=limit)
        assert isinstance(found, GivenCodes), found
        assert found.grid.high == min(round(limit / 0.5), int(q.range[1]) - int(q.zero_point))
        compare(found, q, Fraction(limit), relu=True)


def test_why_there_are_no_codes() -> None:
    rows = torch.tensor([[1.0, 2.0, 3.0]])
    small = ActGrid(LevelGrid.uniform(-7, 7), 1, 0, 0, 0)
    powers = ActGrid(LevelGrid((0, 1, 2, 4, 8, 16), True), 1, 0, 0, 0)
    limited = {"limit": 2.0}
    for q, more, reason in (
        (annotation(1.0, 2, False, thresholds=rows), limited, "its thresholds are behind"),
        (annotation(2.0, 5, source=torch.tensor([0.25])), limited, "it is cut off behind"),
        (annotation(1.0, 8, zero=5), {"grid": BYTES}, "its levels are not on the grid"),
        (annotation(1.0, 8, zero=-5), {"grid": BYTES}, "its levels are not on the grid"),
        (annotation(1.0, 8), {"grid": small}, "its levels are not on the grid"),
        (annotation(1.0, 4), {"grid": small}, "its levels are not on the grid"),
        (annotation(1.0, 5, narrow=True), {"grid": powers}, "its levels are not on the grid"),
        (annotation(9.0, 8), {"limit": 1.0, "positive": True}, "its levels are not on the grid"),
        (annotation(1.0, 9), {}, "it has 512 levels"),
    ):
        found = given(q, **more)
        assert isinstance(found, str)
        assert found.startswith(reason)
    assert isinstance(given(annotation(1.0, 4, narrow=True), grid=small), GivenCodes)


def test_accumulators_must_fit() -> None:
    """Of stored integers, at either end."""
    fmt = ParamFormat(16, 28, 14)
    for weight, fits in ((32767 // 18, True), (32767 // 18 + 1, False)):
        for sign in (1, -1):
            weights = torch.full((1, 1, 1, 1), float(sign * weight), dtype=torch.float64)
            stored = ActGrid(LevelGrid.uniform(-16, 18), 1, 0, 0, 0)
            found = GivenCodes.of(
                annotation(999.0, 4), (GivenSource(weights, (Fraction(1),)),), BIAS[:1], (1.0,),
                (stored,), BYTES, fmt, positive=False, rectified=False, limit=None,
            )  # fmt: skip
            assert isinstance(found, GivenCodes) == fits
            assert fits or found == "its accumulators do not fit 16 bits"
    for weight, sign, fits in ((4096, 1, False), (4096, -1, True)):
        weights = torch.full((1, 1, 1, 1), float(sign * weight), dtype=torch.float64)
        stored = ActGrid(LevelGrid.uniform(0, 8), 1, 0, 0, 0)
        found = GivenCodes.of(
            annotation(999.0, 4), (GivenSource(weights, (Fraction(1),)),), BIAS[:1], (1.0,),
            (stored,), BYTES, fmt, positive=False, rectified=False, limit=None,
        )  # fmt: skip
        assert isinstance(found, GivenCodes) == fits


def test_reach() -> None:
    weights = (
        torch.tensor([[1.0, -2.0], [0.0, 3.0]]).view(2, 2, 1, 1),
        torch.tensor([[5.0], [-1.0]]).view(2, 1, 1, 1),
    )
    grids = (
        ActGrid(LevelGrid.uniform(-3, 4), 1, 2, 0, 0),
        ActGrid(LevelGrid.uniform(0, 10), 1, 4, 0, 0),
    )
    assert reach(weights, grids) == [(-3 - 8 + 0, 4 + 6 + 50), (-9 - 10, 12)]
    # stored: -5 … 2 and -4 … 6
    assert reach(weights, grids, stored=True) == [(-5 - 4 - 20, 2 + 10 + 30), (-15 - 6, 6 + 4)]


def test_sums_of_two_steps_are_compared_for_all_pairs() -> None:
    q = annotation(0.75, 8, zero=3)
    for shift_first in (True, False):
        q = replace(q, shift_first=shift_first)
        one = torch.ones(3, 1, 1, 1, dtype=torch.float64)
        steps = Fraction(3, 8), Fraction(37501, 100000)
        sources = tuple(GivenSource(one, (s,) * 3) for s in steps)
        found = GivenCodes.of(
            q, sources, BIAS, (1.0, 1.0), (INPUT, BYTES), WIDE, FORMAT,
            positive=False, rectified=False, limit=None,
        )  # fmt: skip
        assert isinstance(found, GivenCodes)
        assert found.scales == (sum(steps) / 2,) * 3
        deployed = found.found
        off = most = 0
        for c in range(3):
            base, step = (int(in_units(v[c].numpy())) for v in (deployed.base, deployed.step))
            for a in INPUT.levels.values:
                y = requantize(a + np.arange(-128, 128), base, step, int(deployed.tie[c]))
                got = deployed.table.numpy()[y + 128]
                bias = Fraction(float(BIAS[c]))
                wanted = [code(q, a * steps[0] + b * steps[1] + bias, c) for b in range(-128, 128)]
                gap = np.abs(got - wanted)
                off, most = off + int((gap > 0).sum()), max(most, int(gap.max()))
        assert off > 0
        exactness = deployed.exactness
        assert (exactness.off, exactness.most) == (off, most)
        assert exactness.accumulators == 3 * len(INPUT.levels.values) * 256
    wide = (sources[0], replace(sources[1], weights=one.expand(3, 2, 1, 1)))
    three = (*sources, sources[0])
    assert "sums of different scales" in GivenCodes.of(
        q, wide, BIAS, (1.0,) * 2, (BYTES,) * 2, BYTES, FORMAT,
        positive=False, rectified=False, limit=None,
    )  # fmt: skip
    assert "sums of different scales" in GivenCodes.of(
        q, three, BIAS, (1.0,) * 3, (BYTES,) * 3, BYTES, FORMAT,
        positive=False, rectified=False, limit=None,
    )  # fmt: skip


def test_a_layer_that_still_is_the_models() -> None:
    """Up to rounding errors of float32 in weights and scales; every bit of the bias."""
    found = given(annotation(0.5, 8), Fraction(3, 8), 0.25)
    assert isinstance(found, GivenCodes)
    steps = torch.tensor([float(s) for s in found.scales], dtype=torch.float64) / 0.25
    assert torch.equal(found.step, steps * 0.25)
    assert found.out_scale == 0.5
    weights = (WEIGHTS * steps.view(-1, 1, 1, 1)).float()
    scales, out = [torch.tensor(0.25)], torch.tensor(0.5)
    assert found.holds((weights,), BIAS, scales, out)
    assert found.holds((weights,), BIAS, [scales[0] * (1 + 5e-7)], out * (1 - 5e-7))
    assert not found.holds((weights,), BIAS, [scales[0] * (1 + 1e-5)], out)
    assert not found.holds((weights,), BIAS, scales, out * (1 + 1e-5))
    assert not found.holds((weights,), BIAS + 1e-9, scales, out)
    moved = weights.clone()
    moved[1, 1] += 0.6 * float(steps[1])
    assert not found.holds((moved,), BIAS, scales, out)


def source(**fields: object) -> SourcePlan:
    return SourcePlan(**{"tensor": "x", "channels": 3, "weight": "w", **fields})


def quantized(scale: Tensor) -> QuantAnnotation:
    return QuantAnnotation(scale, torch.zeros(1), 4, True)


INTEGERS = torch.tensor([[3.0, 0, -1], [2, -3, 1]], dtype=torch.float64)[..., None, None]
SCALE = torch.tensor([0.3, 0.7], dtype=torch.float64).view(2, 1, 1, 1)


def test_integers_of_weights() -> None:
    values = {"w": INTEGERS * SCALE}
    quantizers = {"w": quantized(SCALE)}
    exact = [Fraction(s) for s in SCALE.flatten().tolist()]
    found = given_source(source(), values, quantizers)
    assert isinstance(found, GivenSource)
    assert torch.equal(found.weights, INTEGERS)
    assert list(found.scales) == exact
    found = given_source(source(scale=-1 / 3), values, quantizers)
    assert isinstance(found, GivenSource)
    assert torch.equal(found.weights, -INTEGERS + 0.0)
    assert list(found.scales) == [s / 3 for s in exact]
    assert not bool(torch.signbit(found.weights[0, 1]))
    one = given_source(source(), {"w": INTEGERS * 0.3}, {"w": quantized(torch.tensor([-0.3]))})
    assert isinstance(one, GivenSource)
    assert torch.equal(one.weights, INTEGERS)
    assert set(one.scales) == {Fraction(float(torch.tensor(0.3)))}
    near = {"w": (INTEGERS + 9e-4) * SCALE}
    assert isinstance(given_source(source(), near, quantizers), GivenSource)


def test_norms_are_part_of_scales_and_signs() -> None:
    """A factor of 0 leaves the scale, and no integers."""
    values = {"w": INTEGERS * SCALE}
    one = norm("n", 2, values)
    for weight in ([-1.5, 0.5], [0.0, 0.5]):
        values["n.weight"] = torch.tensor(weight, dtype=torch.float64)
        factor = norm_factor((one,), values)
        found = given_source(source(norms=(one,)), values, {"w": quantized(SCALE)})
        assert isinstance(found, GivenSource)
        assert torch.equal(found.weights, INTEGERS * factor.sign().view(-1, 1, 1, 1) + 0.0)
        scales = [Fraction(s) for s in SCALE.flatten().tolist()]
        sizes = [abs(Fraction(f)) or 1 for f in factor.tolist()]
        assert list(found.scales) == [a * b for a, b in zip(scales, sizes, strict=True)]


def test_integers_without_a_parameter() -> None:
    for scale, sign in ((1 / 9, 1), (-1 / 9, -1)):
        plan = SourcePlan(tensor="x", channels=2, groups=1, taps=Ones(3), scale=scale)
        found = given_source(plan, {}, {})
        assert isinstance(found, GivenSource)
        assert found.weights.shape == (3, 2, 1, 1)
        assert found.weights.unique().tolist() == [sign]
        assert found.scales == (Fraction(1, 9),) * 3


def test_why_weights_have_no_integers() -> None:
    values = {"w": INTEGERS * SCALE}
    assert given_source(source(), values, {}) == "its weights are not quantized"
    found = given_source(source(), values, {"w": quantized(SCALE.flatten())})
    assert found == "the scales of its weights fit no channels"
    found = given_source(source(), {"w": (INTEGERS + 2e-3) * SCALE}, {"w": quantized(SCALE)})
    assert found == "its weights are no integers of their scale"
    across = torch.tensor([0.3, 0.7, 0.2], dtype=torch.float64).view(1, 3, 1, 1)
    found = given_source(source(), {"w": INTEGERS * across}, {"w": quantized(across)})
    assert found == "its weights have several scales in an output channel"


def test_fewest_terms() -> None:
    grids = QuantSpec().weight_grid
    values = [grids(t).values for t in (1, 2, 3)]
    weights = numbers(3, 3).sign() * 12

    def found(weight: float, most: int = 3) -> int:
        own = torch.cat([weights.flatten(), torch.tensor([weight], dtype=torch.float64)])
        return fewest_terms(own, lambda t: values[t - 1], most)

    two = next(v for v in values[1] if v > 0 and v not in values[0])
    three = next(v for v in values[2] if v > 0 and v not in values[1])
    assert [found(0.0), found(two), found(three), found(three, 2)] == [1, 2, 3, 0]
