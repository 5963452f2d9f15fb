"""Products of two tensors, by tables, squares and matrices: levels by definition, the integers of
the accelerator, gradients in closed form, refusals."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from quant.test_layers import (
    SPEC,
    UNSIGNED,
    crossed,
    learned,
    nearest,
    on_hardware,
    plain,
    real,
    source,
    summed,
)
from sigbit.errors import QuantizationError
from sigbit.quant.layers.moves import QuantSquare
from sigbit.quant.layers.pairs import QuantPair
from sigbit.quant.layers.products import QuantProduct
from sigbit.quant.layers.values import Levels
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.plan.plans import (
    PairPlan,
    ProductPlan,
    SquarePlan,
)
from sigbit.quant.spec import ActGrid, QuantSpec, act_grid, digit_grid
from sigbit_hw.arch.formats import EsbFormat, LevelFormat
from sigbit_hw.arch.numerics import UNIT

LN2 = math.log(2)

PAIRS = {
    "signed": (act_grid(SPEC, 1, 1), act_grid(SPEC, 1, 1)),
    "mixed": (act_grid(SPEC, 0, 1), act_grid(SPEC, 1, 1)),
    "unsigned": (act_grid(UNSIGNED, 0, 1), act_grid(UNSIGNED, 0, 1)),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_pairs(kind: str) -> None:
    grids, spec = PAIRS[kind], UNSIGNED if kind == "unsigned" else SPEC
    a, b = (x.requires_grad_() for x in crossed(grids, 2))
    grid = act_grid(spec, 0 if kind == "unsigned" else 1, 1)
    # some products, and levels beyond the grid's end
    scales, out = [real(0.5), real(0.375)], 1.3 * grids[0].high * grids[1].high * 0.1875 / 2
    quantizer = learned(grid, out / grid.high)
    plan = PairPlan("p", (2, 1, 1), (source(0, 2), source(1, 2)), "p", 1, False, "here")
    layer = QuantPair(plan, spec, grids, grid, quantizer)

    v = (a * b).detach() * 0.1875 / quantizer.scale().detach()
    wanted = nearest(v, grid.levels)
    assert float(v.abs().max()) > grid.high
    got = layer([Levels(a, scales[0]), Levels(b, scales[1])])
    assert torch.equal(got.levels, wanted)
    assert torch.equal(got.scale, quantizer.scale())
    deployed = layer.deploy(scales)
    assert torch.equal(on_hardware(deployed, summed(deployed, plan.sources, [a, b]), grid), wanted)
    assert torch.equal(deployed.out_scale, quantizer.scale())
    for weights, terms in zip(deployed.weights, layer.terms, strict=True):
        value = int(weights.flatten()[0])
        assert value in spec.weight_grid(terms).values
        assert terms == 1 or value not in spec.weight_grid(terms - 1).values

    upstream = torch.randn(a.shape, dtype=torch.float64)
    (got.levels * upstream).sum().backward()
    inside = (v > grid.low) & (v < grid.high)
    gain = upstream * inside * 0.1875 / quantizer.scale().detach()
    assert torch.allclose(a.grad, gain * b.detach())
    assert torch.allclose(b.grad, gain * a.detach())
    total = (upstream * (wanted - v * inside)).sum()
    assert quantizer.log_scale.grad.item() == pytest.approx(LN2 * float(total))


@pytest.mark.parametrize(
    "outside", [lambda a, g: a + 0.25, lambda a, g: a.clamp(max=g.high) + g.high]
)
@pytest.mark.parametrize("operand", [0, 1])
def test_operands_without_an_entry_are_multiplied(
    outside: Callable[[Tensor, ActGrid], Tensor], operand: int
) -> None:
    """Values between levels and beyond either end, and those beside them that have one."""
    grids = PAIRS["mixed"]
    grid = act_grid(SPEC, 1, 2)
    plan = PairPlan("p", (1, 1, 1), (source(0, 1), source(1, 1)), "p", 1, False, "here")
    layer = QuantPair(plan, SPEC, grids, grid, learned(grid, 0.9))
    inputs = crossed(grids)
    inputs[operand][..., ::2, ::3] = outside(inputs[operand], grids[operand])[..., ::2, ::3]
    inputs[operand][..., 1::4, ::3] = grids[operand].low - 1.0
    got = layer([Levels(x, real(1.0)) for x in inputs])
    assert torch.equal(got.levels, nearest(inputs[0] * inputs[1] / 0.9, grid.levels))


@pytest.mark.parametrize("ends", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_pairs_of_float32_are_rounded_as_exact_numbers(ends: tuple[int, int]) -> None:
    """The product of two ends is a little less than half a level: its nearest level is the lower
    one, although the nearest number of float32 is in the middle."""
    grids, grid = PAIRS["signed"], act_grid(SPEC, 1, 2)
    a, b = ((g.low, g.high)[end] for g, end in zip(grids, ends, strict=True))
    quantizer = learned(grid, abs(a * b) / (24.5 - 1e-9))
    plan = PairPlan("p", (1, 1, 1), (source(0, 1), source(1, 1)), "p", 1, False, "here")
    layer = QuantPair(plan, SPEC, grids, grid, quantizer)
    x, y = (torch.tensor(v, dtype=torch.float32).view(1, 1, 1, 1) for v in (a, b))
    assert float((x * y / quantizer.scale().detach().float()).abs()) == 24.5
    got = layer([Levels(x, real(1.0)), Levels(y, real(1.0))])
    assert abs(got.levels.item()) == 24


SQUARES = {
    "equal": (act_grid(SPEC, 1, 1), act_grid(SPEC, 1, 1)),
    "unequal": (act_grid(SPEC, 0, 1), act_grid(SPEC, 1, 2)),
    "small first": (act_grid(SPEC, 1, 2), act_grid(SPEC, 0, 1)),
    "bytes": (act_grid(SPEC, 1, 3), act_grid(SPEC, 0, 3)),
    "steep": (act_grid(SPEC, 1, 1), act_grid(SPEC, 1, 3)),
    "half": (
        ActGrid(LevelGrid.uniform(-7, 6), 1, 0, 0, 0),
        ActGrid(LevelGrid.uniform(-12, 14), 2, 0, 0, 0),
    ),
    "skewed": (act_grid(SPEC, 1 / 8, 2), act_grid(SPEC, 1, 2)),
}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", SQUARES)
def test_squares(kind: str, sign: int) -> None:
    """Exact quarters of squares where the sum has 256 values, else 8 bits of the sum, and results
    within what those and the levels of the result round away."""
    grids = SQUARES[kind]
    plan = SquarePlan("q", (2, 1, 1), (source(0, 2), source(1, 2)), sign, "p", 1, "here")
    layer = QuantSquare(plan, SPEC, grids)
    kx, ky = layer.factors
    reach = [max(g.high, -g.low) for g in grids]
    for k, own in zip((kx, ky), reach, strict=True):  # the largest weight that keeps both equal
        allowed = [m for m in SPEC.weight_grid(1).magnitudes if m * own <= max(reach)]
        assert k == max(*allowed, 1)
    a, b = (x.requires_grad_() for x in crossed(grids, 2))
    scales = [real(0.25), real(3.0)]
    got = layer([Levels(a, scales[0]), Levels(b, scales[1])])
    total = (a * kx + b * (sign * ky)).detach()
    square, unit = total.square() / 4, layer.unit
    span = [abs(k) * (g.high - g.low) for k, g in zip((kx, ky), grids, strict=True)]
    fits = sum(span) <= 255
    assert (layer.step == 1) == fits
    assert (unit == 1) == (kind in ("equal", "half"))
    assert got.scale.item() == pytest.approx(0.75 * unit / (kx * ky), rel=1e-15)
    assert layer.grid.low == 0
    # one grid for the squares of the sum and of the difference
    peak = float((a.detach().abs() * kx + b.detach().abs() * ky).max()) ** 2 / 4
    if unit == 1:
        assert torch.equal(got.levels, square.floor())
        assert layer.grid.high == int(peak)
    else:
        # half a step of the sum, or a whole one at its ends, and half a level
        end = (total - total.min() < layer.step) | (total.max() - total < layer.step)
        away = torch.where(end & (not fits), layer.step, layer.step / 2)
        most = total.abs() * away / 2 + away**2 / 4 + unit / 2
        assert bool(((got.levels * unit - square).abs() <= most + 1e-9).all())
        assert peak / unit == pytest.approx(layer.grid.high, rel=1e-12)
    deployed = layer.deploy(scales)
    hardware = on_hardware(deployed, summed(deployed, plan.sources, [a, b]), layer.grid)
    assert torch.equal(hardware, got.levels)
    assert torch.equal(deployed.out_scale, got.scale)
    assert layer.terms == (1, 1)
    assert {int(w.abs().max()) for w in deployed.weights} == {kx, ky}

    upstream = torch.randn(a.shape, dtype=torch.float64)
    (got.levels * upstream).sum().backward()
    assert torch.allclose(a.grad, upstream * total * kx / (2 * unit))
    assert torch.allclose(b.grad, upstream * total * sign * ky / (2 * unit))


def test_factors_of_squares() -> None:
    """The largest weight that leaves the other tensor the wider one; 1 if no weight is so small."""
    plan = SquarePlan("q", (2, 1, 1), (source(0, 2), source(1, 2)), 1, "p", 1, "here")
    found = {kind: QuantSquare(plan, SPEC, grids).factors for kind, grids in SQUARES.items()}
    assert found["equal"] == [1, 1]
    assert found["unequal"] == [4, 1]
    assert found["steep"] == [12, 1]
    assert found["half"] == [2, 1]
    large = QuantSpec(weight_format=LevelFormat((0, 2, 4, 6)))
    assert QuantSquare(plan, large, SQUARES["unequal"]).factors == [4, 1]
    assert QuantSquare(plan, large, SQUARES["equal"]).factors == [1, 1]


@pytest.mark.parametrize(
    ("act_format", "radix_bits", "levels", "planes"),
    [
        (EsbFormat(4, 2), 3, 1022, 3),  # 14, 126, 1022
        (EsbFormat(3, 2, False), 3, 511, 3),  # 7, 63, 511
        (EsbFormat(5, 3), 4, 8190, 3),  # 30, 510, 8190
        (EsbFormat(2, 0), 1, 30, 4),  # 2, 6, 14, 30
    ],
)
def test_planes_of_squares_that_are_not_exact(
    act_format: EsbFormat, radix_bits: int, levels: int, planes: int
) -> None:
    """The fewest with more than 510 levels above the lowest, or all."""
    spec = QuantSpec(act_format=act_format, radix_bits=radix_bits)
    grids = (ActGrid(LevelGrid.uniform(-128, 127), 4, 0, 0, 0),) * 2
    plan = SquarePlan("q", (1, 1, 1), (source(0, 1), source(1, 1)), 1, "p", 1, "here")
    grid = QuantSquare(plan, spec, grids).grid
    assert (grid.low, grid.high, grid.planes) == (0, levels, planes)
    assert (grid.pre_shift, grid.offset) == (0, 0)
    assert grid.zero == (levels // 2 if act_format.signed else 0)


def test_planes_of_squares() -> None:
    plan = SquarePlan("q", (1, 1, 1), (source(0, 1), source(1, 1)), 1, "p", 1, "here")
    layer = QuantSquare(plan, SPEC, SQUARES["unequal"])
    capacity = [2 * SPEC.act_contiguous(p) for p in (1, 2, 3, 4)]
    assert layer.grid.planes == next(p for p in (1, 2, 3, 4) if capacity[p - 1] >= 511)
    assert layer.grid.high == capacity[layer.grid.planes - 1]
    bytes_of_one = QuantSpec(act_format=EsbFormat(8, 6), radix_bits=7)
    coarse = QuantSquare(plan, bytes_of_one, SQUARES["steep"])
    assert 1 < coarse.step < 2  # too many sums for 256 values, although their squares have room
    assert coarse.unit < 1
    assert coarse.grid.high == 2 * bytes_of_one.act_contiguous(2)
    few = QuantSpec(act_format=EsbFormat(2, 0), radix_bits=1)
    grids = tuple(ActGrid(LevelGrid.uniform(0, high), 4, 0, 0, 0) for high in (5, 6))
    full = QuantSquare(plan, few, grids)
    assert full.unit == 1
    assert full.grid.high == 11**2 // 4 == 2 * few.act_contiguous(4)
    exact = QuantSquare(plan, SPEC, SQUARES["equal"])
    assert exact.grid.high == 14**2 // 4
    assert capacity[exact.grid.planes - 2] < exact.grid.high <= capacity[exact.grid.planes - 1]


@pytest.mark.parametrize("factor", [0.25, -0.25])
@pytest.mark.parametrize("out_planes", [1, 3])
@pytest.mark.parametrize("is_output", [False, True])
def test_products(factor: float, out_planes: int, is_output: bool) -> None:
    """Sums over channels of products of all pairs of pixels, on the grid of the result."""
    digits, acts = digit_grid(SPEC, 2), act_grid(SPEC, 1, 2)
    grid = act_grid(SPEC, 1, out_planes)
    plan = ProductPlan("p", (6, 1, 4), "l", "r", factor, 1, "here")
    generator = torch.Generator().manual_seed(3)
    left = plain(acts)[torch.randint(len(plain(acts)), (2, 5, 1, 4), generator=generator)]
    right = plain(digits)[torch.randint(len(plain(digits)), (2, 5, 2, 3), generator=generator)]
    inputs = [x.requires_grad_() for x in (left, right)]
    scales = [real(0.125), real(0.02)]
    unit = 0.125 * 0.02 * 0.25  # signs are those of weights
    acc = torch.einsum("bchw,bcpq->bpqhw", left, right).flatten(1, 2).detach()
    quantizer = learned(grid, 0.6 * unit * float(acc.abs().max()) / grid.high)
    layer = QuantProduct(plan, SPEC, (acts, digits), grid, quantizer, is_output=is_output)
    got = layer([Levels(x, s) for x, s in zip(inputs, scales, strict=True)])
    out_scale = quantizer.scale().item()
    step = SPEC.params.nearest_step(real(out_scale * 2.0**-grid.pre_shift / unit), torch).item()
    y = torch.floor(acc / step + 0.5 - grid.centre).clamp(-128, 127)
    wanted = nearest((y + grid.centre) * 2.0**-grid.pre_shift, grid.levels)
    assert torch.equal(got.levels, wanted)
    assert got.scale.item() == out_scale
    deployed = layer.deploy(scales)
    assert torch.equal(on_hardware(deployed, acc, grid), wanted)
    assert deployed.out_scale.item() == out_scale
    assert deployed.weights == ()

    upstream = torch.randn(wanted.shape, dtype=torch.float64, generator=generator)
    (got.levels * upstream).sum().backward()
    v = acc * unit / out_scale
    inside = torch.ones_like(v) if is_output else ((v > grid.low) & (v < grid.high)).double()
    if not is_output:
        assert 0 < float(inside.mean()) < 1
    flow = (upstream * inside * 2.0**-grid.pre_shift / step).unflatten(1, (2, 3))
    assert torch.allclose(left.grad, torch.einsum("bpqhw,bcpq->bchw", flow, right.detach()))
    assert torch.allclose(right.grad, torch.einsum("bpqhw,bchw->bcpq", flow, left.detach()))


def test_ends_of_products() -> None:
    grids = (act_grid(SPEC, 1, 1), ActGrid(LevelGrid.uniform(-3, 7), 1, 0, 0, 0))
    plan = ProductPlan("p", (6, 1, 4), "l", "r", 1.0, 1, "here")
    grid = act_grid(SPEC, 1, 1)
    layer = QuantProduct(plan, SPEC, grids, grid, learned(grid, 1.0), is_output=False)
    assert [end.tolist() for end in layer.ends(5)] == [[-5 * 7 * 7], [5 * 7 * 7]]
    layer.in_grids = (act_grid(UNSIGNED, 0, 1), grids[1])
    assert [end.tolist() for end in layer.ends(5)] == [[-5 * 15 * 3], [5 * 15 * 7]]


def test_products_that_cannot_be_computed_are_refused() -> None:
    plan = ProductPlan("p", (6, 1, 4), "l", "r", 1.0, 1, "here")
    grid, positive = act_grid(SPEC, 1, 1), act_grid(SPEC, 0, 2)
    with pytest.raises(QuantizationError, match="no zero among the values"):
        QuantProduct(plan, SPEC, (positive, grid), grid, learned(grid, 1.0), is_output=False)
    most = SPEC.params.step_max / UNIT
    for scale, fits in ((most * (1 - 1e-12), True), (most + 1, False), (math.nan, False)):
        quantizer = learned(grid, scale * 2.0**grid.pre_shift)
        layer = QuantProduct(plan, SPEC, (grid, grid), grid, quantizer, is_output=False)
        if fits:
            assert layer.deploy([real(1.0)] * 2).step.unique().tolist() == [most]
        else:
            with pytest.raises(QuantizationError, match="a step of its result"):
                layer.deploy([real(1.0)] * 2)
