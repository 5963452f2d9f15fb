"""Layers without weights of the model, one by one: levels by definition, the integers of the
accelerator, gradients in closed form, refusals."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.ir.convolution import conv2d
from sigbit.ir.integer import Axes
from sigbit.quant.layers.moves import QuantMask, QuantMove
from sigbit.quant.layers.plain import QuantGather, QuantInput, QuantMaxPool, QuantState
from sigbit.quant.layers.products import QuantConstant, QuantTranspose
from sigbit.quant.layers.values import Deployed, Levels
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.numbers.scales import scale_rule
from sigbit.quant.plan.plans import (
    ConstantPlan,
    GatherPlan,
    InputPlan,
    MaskPlan,
    MaxPoolPlan,
    MovePlan,
    Ones,
    SourcePlan,
    TransposePlan,
)
from sigbit.quant.quantizers import Quantizer
from sigbit.quant.spec import ActGrid, QuantSpec, act_grid, digit_grid
from sigbit_hw.arch import numerics
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.params import in_units

SPEC = QuantSpec()
UNSIGNED = QuantSpec(act_format=EsbFormat(4, 3, False))


def real(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def source(number: int, channels: int, **fields: object) -> SourcePlan:
    return SourcePlan(tensor=f"t{number}", channels=channels, groups=channels, **fields)


def plain(grid: ActGrid) -> Tensor:
    """All levels of a grid."""
    return torch.tensor(grid.levels.values, dtype=torch.float64)


def crossed(grids: Sequence[ActGrid], channels: int = 1) -> list[Tensor]:
    """All pairs of levels of two grids, as images."""
    pair = torch.meshgrid(*(plain(g) for g in grids), indexing="ij")
    return [levels[None, None].repeat(1, channels, 1, 1) for levels in pair]


def nearest(v: Tensor, levels: LevelGrid) -> Tensor:
    """The level nearest to each of ``v``; between two, the one farther from 0."""
    table = torch.tensor(levels.values, dtype=torch.float64)
    gap = (v[..., None] - table).abs()
    tied = gap == gap.amin(-1, keepdim=True)
    return table[(tied * (1 + table.abs())).argmax(-1)]


def learned(grid: ActGrid, scale: float) -> Quantizer:
    quantizer = Quantizer(grid.levels, scale_rule("learned"))
    quantizer.give(real(scale))
    return quantizer


def on_hardware(deployed: Deployed, acc: Tensor, grid: ActGrid) -> Tensor:
    """Levels that the accelerator computes from accumulators of levels ``[N, C, H, W]``."""
    for v in (deployed.base, deployed.step, deployed.tie):
        assert v.shape == acc.shape[1:2]
    columns = (in_units(v.numpy())[:, None, None] for v in (deployed.base, deployed.step))
    tie = deployed.tie.long().numpy()[:, None, None]
    y = numerics.requantize(acc.long().numpy(), *columns, tie)
    return deployed.table[torch.from_numpy(y) & 255].double() + grid.zero


def summed(deployed: Deployed, sources: Sequence[SourcePlan], inputs: Sequence[Tensor]) -> Tensor:
    return sum(
        conv2d(x, w.double(), None, s.stride, 0, s.dilation, s.groups)
        for x, w, s in zip(inputs, deployed.weights, sources, strict=True)
    )


MOVES = {
    "copy": ((1.0,), False, 1),
    "sum": ((1.0, 1.0), False, 1),
    "excess": ((1.0, -1.0), True, 1),
    "negated": ((-1.0,), True, 1),
}


@pytest.mark.parametrize("grid", [act_grid(SPEC, 1, 2), act_grid(SPEC, 0, 3)], ids=["7", "8"])
@pytest.mark.parametrize("kind", MOVES)
def test_moves(kind: str, grid: ActGrid) -> None:
    scales, rectified, divisor = MOVES[kind]
    parts = tuple(source(i, 2, scale=s) for i, s in enumerate(scales))
    plan = MovePlan("m", (2, 1, 1), parts, "max", "here", rectified, divisor=divisor)
    layer = QuantMove(plan, SPEC, (grid,) * len(parts))
    inputs = crossed([grid, grid], 2)[: len(parts)]
    total = sum(s * x for s, x in zip(scales, inputs, strict=True))
    if rectified:
        keep = total <= grid.high
        wanted = total.clamp(min=0)
    else:
        keep = (total >= grid.low) & (total <= grid.high)
        wanted = total
    inputs = [torch.where(keep, x, 0).requires_grad_() for x in inputs]
    wanted = torch.where(keep, wanted, 0)
    got = layer([Levels(x, real(0.3 + i)) for i, x in enumerate(inputs)])
    assert torch.equal(got.levels, wanted)
    assert got.scale.item() == 0.3
    assert layer.grid.low == (0 if rectified else grid.low)
    assert layer.grid.planes == grid.planes
    deployed = layer.deploy([real(0.3)] * len(parts))
    hardware = on_hardware(deployed, summed(deployed, parts, inputs), layer.grid)
    assert torch.equal(hardware, wanted)
    assert deployed.out_scale.item() == 0.3
    assert layer.terms == (1,) * len(parts)
    upstream = torch.randn(wanted.shape, dtype=torch.float64)
    (got.levels * upstream).sum().backward()
    passes = (wanted != 0) if rectified else torch.ones_like(wanted)
    away = torch.where(keep, wanted != 0, False)  # from the kink
    for s, x in zip(scales, inputs, strict=True):
        assert torch.equal(x.grad[away], (upstream * passes * s)[away])


def test_values_between_levels_are_moved() -> None:
    """Block learning mixes some in."""
    grid = act_grid(SPEC, 1, 1)
    layer = QuantMove(MovePlan("m", (1, 1, 1), (source(0, 1),), "copy", "here"), SPEC, (grid,))
    x = torch.tensor([[[[0.25, -1.5, 2.0]]]])
    assert torch.equal(layer([Levels(x, real(0.3))]).levels, x)


@pytest.mark.parametrize("spec", [SPEC, UNSIGNED], ids=["signed", "unsigned"])
@pytest.mark.parametrize("size", [2, 3])
def test_averages(size: int, spec: QuantSpec) -> None:
    """Halves go up; gradients are those of the mean."""
    grid = act_grid(spec, 1 if spec is SPEC else 0, 1)
    part = SourcePlan(tensor="t", channels=size, groups=1, taps=Ones(1))
    plan = MovePlan("m", (1, 1, 1), (part,), "average", "here", divisor=size)
    layer = QuantMove(plan, spec, (grid,))
    levels = plain(grid)
    x = torch.stack(torch.meshgrid(*[levels] * size, indexing="ij")).reshape(1, size, 1, -1)
    x.requires_grad_()
    got = layer([Levels(x, real(0.3))])
    wanted = torch.floor(x.detach().sum(1, keepdim=True) / size + 0.5)
    assert torch.equal(got.levels, wanted)
    deployed = layer.deploy([real(0.3)])
    acc = summed(deployed, [part], [x.detach()])
    if grid.levels.is_uniform:
        assert torch.equal(on_hardware(deployed, acc, layer.grid), wanted)
    else:
        assert torch.equal(on_hardware(deployed, acc, layer.grid), nearest(wanted, grid.levels))
    upstream = torch.randn(wanted.shape, dtype=torch.float64)
    (got.levels * upstream).sum().backward()
    assert torch.allclose(x.grad, (upstream / size).expand_as(x))


def test_what_eight_bits_do_not_hold_is_refused() -> None:
    wide = ActGrid(LevelGrid.uniform(0, 256), 4, 0, 0, 0)
    tight = ActGrid(LevelGrid.uniform(-128, 127), 4, 0, 0, 0)
    move = MovePlan("m", (1, 1, 1), (source(0, 1),), "copy", "here")
    QuantMove(move, SPEC, (tight,))
    with pytest.raises(QuantizationError, match="m \\(here\\): values from 0 to 256 cannot"):
        QuantMove(move, SPEC, (wide,))
    mask = MaskPlan("k", (1, 1, 2), "t", "keep", "here")
    QuantMask(mask, SPEC, tight, torch.ones(1, 1, 2))
    both = ActGrid(LevelGrid.uniform(-128, 128), 4, 0, 0, 0)
    with pytest.raises(QuantizationError, match="m \\(here\\): values from -128 to 128 cannot"):
        QuantMove(move, SPEC, (both,))
    with pytest.raises(QuantizationError, match="k \\(here\\): levels from -128 to 128 cannot"):
        QuantMask(mask, SPEC, both, torch.ones(1, 1, 2))
    with pytest.raises(QuantizationError, match="k \\(here\\): levels from 0 to 256 cannot"):
        QuantMask(mask, SPEC, wide, torch.ones(1, 1, 2))
    turn = TransposePlan("t", (1, 1, 1), "x", "here", weights=False)
    QuantTranspose(turn, SPEC, ActGrid(LevelGrid.uniform(-127, 127), 3, 0, 0, 0))
    with pytest.raises(QuantizationError, match="t \\(here\\): levels up to 128 cannot"):
        QuantTranspose(turn, SPEC, tight)


@pytest.mark.parametrize("planes", [1, 2, 3])
@pytest.mark.parametrize("negative", [0, 1])
def test_masks(negative: float, planes: int) -> None:
    """Levels that count pass; others become the lowest one, by one more term of the sum."""
    grid = act_grid(SPEC, negative, planes)
    keep = torch.tensor([[[1.0, 0.0, -2.0]], [[0.0, 0.0, 0.5]]])
    plan = MaskPlan("k", (2, len(grid.levels.values), 3), "t", "keep", "here")
    layer = QuantMask(plan, SPEC, grid, keep)
    x = plain(grid)[:, None].expand(2, -1, 3)[None].clone().requires_grad_()
    counts = (keep != 0).double().expand(2, x.shape[2], 3)
    wanted = torch.where(counts > 0, x.detach(), grid.low)
    got = layer([Levels(x, real(0.3))])
    assert torch.equal(got.levels, wanted)
    assert got.scale.item() == 0.3
    assert layer.grid == grid
    assert not layer.state_dict()
    deployed = layer.deploy([real(0.3)])
    assert all(w.shape == (2, 1, 1, 1) for w in deployed.weights)
    own, mask = (w.double().view(1, -1, 1, 1) for w in deployed.weights)
    # the mask's stored level is where elements do not count
    acc = x.detach() * own + layer.level * (1 - counts) * mask
    assert torch.equal(on_hardware(deployed, acc, grid), wanted)
    assert deployed.out_scale.item() == 0.3
    assert layer.weight in SPEC.weight_grid(layer.terms).values
    less = SPEC.weight_grid(layer.terms - 1).max if layer.terms > 1 else 0
    assert layer.level * less < grid.high - grid.low <= layer.level * layer.weight
    (got.levels * (upstream := torch.randn_like(wanted))).sum().backward()
    assert torch.equal(x.grad, upstream * counts)


def test_a_mask_is_as_small_as_possible() -> None:
    """Its tensor has one plane, whose largest level a weight multiplies."""
    level, largest = SPEC.act_contiguous(1), SPEC.weight_grid(1).max
    for high, terms in ((level * largest, 1), (level * largest + 1, 2)):
        grid = ActGrid(LevelGrid.uniform(0, high), 2, 0, 0, 0)
        plan = MaskPlan("k", (1, 1, 1), "t", "keep", "here")
        layer = QuantMask(plan, SPEC, grid, torch.ones(1, 1, 1))
        assert (layer.level, layer.terms) == (level, terms)
        assert layer.level * layer.weight >= high


@pytest.mark.parametrize(
    ("low", "high", "levels"), [(0.0, 4.0, (0, 255)), (-1.0, 4.0, (-128, 127))]
)
def test_inputs(low: float, high: float, levels: tuple[int, int]) -> None:
    plan = InputPlan("x", (1, 1, 6), Axes.IMAGE)
    layer = QuantInput(plan, SPEC, low, high)
    least, most = layer.grid.low, layer.grid.high
    assert (least, most) == levels or most - least in (253, 254)
    assert layer.scale.item() == 4.0 / most
    assert (layer.grid.pre_shift, layer.grid.offset) == (0, 0)  # nothing comes before an input
    scale = layer.scale.item()
    x = torch.tensor([[[[0.0, 0.51, 1.49, -999, 999, -0.49]]]]).double() * scale
    got = layer(x)
    wanted = torch.tensor([0.0, 1.0, 1.0, least, most, 0.0])
    assert torch.equal(got.levels.flatten(), wanted.double())
    assert got.levels.dtype == torch.float64
    assert layer(x.float()).levels.dtype == torch.float32
    assert (layer.low, layer.high) == (least - layer.grid.zero, most - layer.grid.zero)
    assert got.scale.item() == scale


def test_inputs_of_a_range_below_zero_take_its_larger_end() -> None:
    layer = QuantInput(InputPlan("x", (1, 1, 1), Axes.IMAGE), SPEC, -3.0, 1.0)
    assert layer.scale.item() == 3.0 / layer.grid.high
    given = ActGrid(LevelGrid.uniform(-2, 5), 1, -1, 0, 0)
    layer = QuantInput(InputPlan("x", (1, 1, 5), Axes.IMAGE), SPEC, -3.0, 1.0, given)
    assert (layer.grid, layer.low, layer.high) == (given, -1, 6)
    assert layer.scale.item() == 3 / 5
    layer.scale.fill_(0.5)
    x = torch.tensor([[[[-9.0, -0.25, 0.24, 0.25, 0.75]]]])  # halves go away from zero as stored
    assert layer(x).levels.tolist() == [[[[-2, 0, 0, 1, 2]]]]


def test_inputs_without_values_are_refused() -> None:
    plan = InputPlan("x", (1, 1, 2), Axes.IMAGE)
    with pytest.raises(QuantizationError, match="input 'x' is 0 on the whole calibration batch"):
        QuantInput(plan, SPEC, 0.0, 0.0)
    given = ActGrid(LevelGrid.uniform(0, 3), 1, 0, 0, 0)
    assert QuantInput(plan, SPEC, 0.0, 0.0, given).grid == given
    layer = QuantInput(plan, SPEC, 0.0, 1.0)
    for wrong in (math.nan, math.inf):
        with pytest.raises(QuantizationError, match="input 'x' holds NaN or infinity"):
            layer(torch.tensor([[[[0.0, wrong]]]]))


def test_states() -> None:
    grid = act_grid(SPEC, 1, 1)
    layer = QuantState(InputPlan("h", (1, 1, 4), Axes.IMAGE, True), grid, learned(grid, 0.25))
    x = torch.tensor([[[[0.3, -0.7, 99, 0.124]]]], dtype=torch.float64, requires_grad=True)
    got = layer(x)
    assert got.levels.tolist() == [[[[1, -3, grid.high, 0]]]]
    assert got.scale.item() == 0.25
    assert (layer.low, layer.high) == (grid.low, grid.high)
    got.levels.sum().backward()
    assert x.grad.tolist() == [[[[4, 4, 0, 4]]]]
    positive = act_grid(SPEC, 0, 2)
    state = QuantState(InputPlan("h", (1, 1, 4), Axes.IMAGE), positive, learned(positive, 0.25))
    assert (state.low, state.high) == (-positive.zero, positive.high - positive.zero)
    assert positive.zero > 0


def test_maxima_do_not_see_the_border() -> None:
    plan = MaxPoolPlan("m", (1, 2, 2), "x", (2, 2), (2, 1), (1, 0, 0, 0), "here")
    x = -torch.arange(1.0, 10).view(1, 1, 3, 3)
    got = QuantMaxPool(plan, act_grid(SPEC, 1, 1))([Levels(x, real(0.5))])
    assert got.levels.tolist() == [[[[-1, -2], [-4, -5]]]]
    assert got.scale.item() == 0.5


def test_channels_of_several_tensors() -> None:
    plan = GatherPlan("g", (4, 1, 1), ("a", "b", "c"), ((2, 0), (0, 1), (1, 2), (1, 0)), "here")
    layer = QuantGather(plan, act_grid(SPEC, 1, 1), (2, 3, 1))
    parts = [torch.arange(n * 10.0, n * 10 + size) for n, size in enumerate((2, 3, 1), 1)]
    got = layer([Levels(p.view(1, -1, 1, 1), real(0.5)) for p in parts])
    assert got.levels.flatten().tolist() == [30, 11, 22, 20]
    assert not layer.state_dict()  # the plan says which
    plan = GatherPlan("g", (2, 1, 1), ("a",), ((0, 1), (0, 0)), "here")
    one = QuantGather(plan, layer.grid, (2,))([Levels(parts[0].view(1, -1, 1, 1), real(0.5))])
    assert one.levels.flatten().tolist() == [11, 10]
    assert one.scale.item() == 0.5


@pytest.mark.parametrize("weights", [True, False])
def test_transpositions(weights: bool) -> None:
    grid = digit_grid(SPEC, 2)
    plan = TransposePlan("t", (6, 1, 5), "x", "here", weights)
    layer = QuantTranspose(plan, SPEC, grid)
    x = torch.arange(60.0).view(2, 5, 2, 3) - 30
    got = layer([Levels(x, real(0.5))])
    assert torch.equal(got.levels, x.flatten(2).mT[:, :, None])
    assert got.scale.item() == 0.5
    assert layer.in_grid == grid
    if weights:
        assert layer.grid == grid
    else:
        assert (layer.grid.low, layer.grid.high) == (-grid.high, grid.high)
        planes = layer.grid.planes
        assert SPEC.act_contiguous(planes) >= grid.high > SPEC.act_contiguous(planes - 1)
    deployed = layer.deploy([real(0.5)])
    levels = plain(grid).view(1, 1, 1, -1).expand(1, 6, 1, -1)
    assert torch.equal(on_hardware(deployed, levels, layer.grid), levels)
    assert deployed.out_scale.item() == 0.5


def test_constants() -> None:
    plan = ConstantPlan("c", (1, 1, 4), "value", "here")
    value = torch.tensor([[[0.5, -1.0, 0.25, 0.0]]], dtype=torch.float64)
    layer = QuantConstant(plan, SPEC, value)
    assert layer.grid == act_grid(SPEC, 1, SPEC.byte_planes)
    got = layer(value.requires_grad_(), 3)
    assert got.levels.shape == (3, 1, 1, 4)
    scale = layer.scale.item()
    assert float((got.levels.detach() * scale - value.detach()).abs().max()) <= 0.5 * scale
    got.levels.sum().backward()
    assert bool((value.grad.flatten()[[0, 2, 3]] == 3 / scale).all())
    assert QuantConstant(plan, SPEC, value.detach().abs()).grid == act_grid(
        SPEC, 0, SPEC.byte_planes
    )
    assert QuantConstant(plan, SPEC, torch.zeros(1, 1, 4)).scale.item() == 1
