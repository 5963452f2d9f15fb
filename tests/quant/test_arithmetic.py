"""The arithmetic of a layer: the step of its accumulators, integer weights, base and step of the
requantization, levels of the accelerator."""

import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quant.test_folding import norm, numbers
from quant.test_layers import learned, nearest, on_hardware, real
from sigbit.ir.floating import Relu, Unary
from sigbit.quant.layers.function import Preactivation
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.sources import accumulate
from sigbit.quant.layers.values import Arithmetic, Levels
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.numbers.scales import scale_rule
from sigbit.quant.plan.plans import BiasPlan, LayerPlan, SourcePlan
from sigbit.quant.quantizers import Quantizer, side
from sigbit.quant.spec import ActGrid, QuantSpec, act_grid
from sigbit_hw.arch.formats import EsbFormat

SPEC = QuantSpec()
SIGNED, POSITIVE = act_grid(SPEC, 1, 2), act_grid(SPEC, 0, 1)
LARGEST = SPEC.params.step_max / 2**16


def conv(**fields: object) -> SourcePlan:
    return SourcePlan(**{"tensor": "x", "channels": 3, "kernel": (2, 2), "weight": "w", **fields})


def plain(tensor: str, channels: int = 4, **fields: object) -> SourcePlan:
    return SourcePlan(tensor=tensor, channels=channels, groups=channels, **fields)


def weights_of(terms: int = 1, channels: int | None = 4) -> Quantizer:
    return Quantizer(SPEC.weight_grid(terms), scale_rule("mse"), channels)


def layer(
    sources: Sequence[SourcePlan],
    values: dict[str, Tensor],
    *,
    out: float = 0.5,
    biases: Sequence[BiasPlan] = (),
    terms: Sequence[int] = (1, 2),
    grid: object = SIGNED,
    quantizer: Quantizer | None = None,
    activation: Relu | Unary | None = None,
    kind: str = "conv",
    channels: int = 4,
    spec: QuantSpec = SPEC,
    in_grids: Sequence[ActGrid] = (SIGNED, SIGNED),
    **fields: object,
) -> QuantLayer:
    plan = LayerPlan(
        "l", (channels, 1, 1), tuple(sources), tuple(biases), activation, 1, kind, "here"
    )
    if quantizer is not None:
        quantizer.initialize(values["w"], values["w"][0].numel())
    made = {
        "weight_quantizer": quantizer,
        "out_quantizer": learned(grid, out),
        "preactivation": Preactivation() if isinstance(activation, Unary) else None,
        "follows": False,
        "is_output": False,
        "weight_factor": 1,
        **fields,
    }
    count = len(sources)
    return QuantLayer(
        plan, spec, values, tuple(in_grids[:count]), tuple(terms[:count]), grid, **made
    ).eval()


def snapped(wanted: Tensor, y_scale: float) -> tuple[Tensor, Tensor]:
    """The nearest accumulator step at which a step of y is one of the requantizer's, and that."""
    steps = SPEC.params.nearest_step(y_scale / wanted, torch)
    return y_scale / steps, steps


def compare(
    made: QuantLayer, scales: Sequence[float], step: Tensor, y_scale: float
) -> tuple[Arithmetic, list[Tensor]]:
    """Step and base as defined; the real values of all integer weights; levels of the
    accelerator."""
    a = made.arithmetic([real(s) for s in scales])
    expected, steps = snapped(step, y_scale)
    assert torch.allclose(a.step, expected, rtol=1e-12, atol=0)
    r, grid = a.requantization, made.grid if made.preactivation is None else a.requantization.grid
    assert torch.equal(r.step, steps)
    assert a.y_scale.item() == pytest.approx(y_scale, rel=1e-12)
    base = a.bias / expected + steps * (0.5 - grid.centre - grid.offset)
    assert torch.allclose(r.base, base, rtol=0, atol=0.5001 * 2.0**-SPEC.params.base_fraction_bits)
    assert torch.equal(a.bias, made.real_bias())

    inputs = [
        torch.randint(g.low, g.high + 1, (2, s.channels, 5, 6)).double()
        for s, g in zip(made.plan.sources, made.in_grids, strict=True)
    ]
    if made.plan.sources[0].kernel == (2, 2):
        inputs[1:] = [x[:, :, 1:, 1:] for x in inputs[1:]]
    given = [Levels(x, real(s)) for x, s in zip(inputs, scales, strict=True)]
    got = made(given)
    deployed = made.deploy([real(s) for s in scales])
    acc = made.sums(a, given)
    wanted = None
    for x, w, s in zip(inputs, deployed.weights, made.plan.sources, strict=True):
        wanted = accumulate(wanted, x, w, s)
    assert torch.equal(acc, wanted)
    assert torch.equal(on_hardware(deployed, acc, made.grid), got.levels)
    assert torch.equal(made.result(a, given).levels, got.levels)
    assert deployed.out_scale.item() == got.scale.item() == a.out_scale.item()
    assert not bool(deployed.tie.any())
    return a, [w.detach() for w in a.weights]


def y_of(out: float, grid: object = SIGNED) -> float:
    return out * 2.0**-grid.pre_shift


@pytest.mark.parametrize("channels", [4, None])
@pytest.mark.parametrize("grid", [SIGNED, POSITIVE], ids=["signed", "positive"])
def test_the_weights_decide(grid: object, channels: int | None) -> None:
    values = {"w": numbers(4, 3, 2, 2), "b": numbers(4, seed=1)}
    quantizer = weights_of(1, channels)
    made = layer([conv()], values, biases=[BiasPlan("b")], quantizer=quantizer, grid=grid)
    scale = quantizer.scale()
    a, (n,) = compare(made, [0.3], scale.expand(4) * 0.3, y_of(0.5, grid))
    one = (a.step / 0.3).view(-1, 1, 1, 1)
    assert torch.equal(n, nearest(values["w"] / one, SPEC.weight_grid(1)))
    assert float((n * one - values["w"]).norm() / values["w"].norm()) < 0.15


def test_levels_times_a_factor() -> None:
    """The quantizer's integers are thirds of those of the grid."""
    values = {"w": numbers(4, 3, 2, 2)}
    quantizer = Quantizer(LevelGrid((0, 1, 2, 4), True), scale_rule("mse"), 4)
    made = layer([conv()], values, quantizer=quantizer, weight_factor=3)
    a, (n,) = compare(made, [0.3], quantizer.scale() / 3 * 0.3, y_of(0.5))
    one = (a.step / 0.3).view(-1, 1, 1, 1)
    assert torch.equal(n, 3 * nearest(values["w"] / (3 * one), quantizer.grid))
    assert set(n.unique().tolist()) == {3.0 * v for v in quantizer.grid.values}


@pytest.mark.parametrize("factor", [1, 2])
def test_kernels_quantized_before_their_norm(factor: int) -> None:
    """The size of the norm's factor is part of the step, its sign of the integers; a channel with
    a factor of 0 is 0."""
    values = {"w": numbers(4, 3, 2, 2)}
    one = norm("n", 4, values)
    values["n.weight"] *= torch.tensor([1.0, -1.0, 0.0, 1.0])
    quantizer = side("lsq", "weights", 3).make(
        LevelGrid.uniform(-3, 3), scale_rule("learned"), 4, 3
    )
    assert not quantizer.folded
    made = layer(
        [conv(norms=(one,))], values, biases=[BiasPlan(one)], quantizer=quantizer,
        weight_factor=factor,
    )  # fmt: skip
    size = (values["n.weight"] / torch.sqrt(values["n.var"] + 0.01)).abs()
    with torch.no_grad():
        floor = y_of(0.5) / LARGEST
        wanted = torch.maximum(quantizer.scale() / factor * size * 0.3, real(floor))
        reach = made.real_bias().abs() + sum(
            w.abs().sum((1, 2, 3)) for w in made.real_weights()
        ) * 0.3 * max(SIGNED.high, -SIGNED.low)
        assert bool((wanted > reach * 1.25 / 2**23).all())
        a, (n,) = compare(made, [0.3], wanted, y_of(0.5))
    alive = size > 0
    scale = (a.step / 0.3 / torch.where(alive, size, 1) * factor).view(-1, 1, 1, 1)
    sign = values["n.weight"].sign().view(-1, 1, 1, 1)
    q = nearest(values["w"] / scale, quantizer.grid)
    assert torch.equal(n, (q * sign * factor + 0.0))
    assert not bool(n[2].any())


def test_weights_as_fine_as_the_requantizer_allows() -> None:
    values = {"w": numbers(4, 3, 2, 2) * 1e-7}
    made = layer([conv()], values, quantizer=weights_of())
    a, (n,) = compare(made, [0.3], torch.full((4,), 0.25 / LARGEST, dtype=torch.float64), 0.25)
    assert a.requantization.step.tolist() == [LARGEST] * 4
    assert not bool(n.any())
    narrow = QuantSpec(acc_bits=20)
    assert narrow.finest_step(real(1.0)).item() == 2.0**-10
    assert SPEC.finest_step(real(1.0)).item() == 1 / LARGEST


def test_accumulators_fit_their_bits() -> None:
    """The largest sum and the bias, and a quarter more."""
    values = {"w": numbers(4, 3, 2, 2) * 1e-3, "v": numbers(4, 4, 1, 1), "b": numbers(4) * 400}
    other = SourcePlan(tensor="y", channels=4, weight="v")
    grids = (ActGrid(LevelGrid.uniform(-100, 20), 3, 0, 0, 0), POSITIVE)
    peaks = 100, POSITIVE.high
    made = layer(
        [conv(), other], values, biases=[BiasPlan("b")], quantizer=weights_of(), out=1.0,
        terms=(1, 3), in_grids=grids,
    )  # fmt: skip
    reach = values["b"].abs()
    for name, s, peak in zip("wv", (0.3, 0.002), peaks, strict=True):
        reach = reach + values[name].abs().flatten(1).sum(1) * s * peak
    wanted = reach * 1.25 / 2**23
    fine = torch.full_like(wanted, 0.5 / LARGEST)
    parts = values["v"].abs().amax((1, 2, 3)) * 0.002 * (1 + 2**-10) / SPEC.weight_grid(3).max
    own = made.weight_quantizer.scale() * 0.3
    step = torch.stack([wanted, fine, parts, own]).amax(0)
    assert set(torch.stack([wanted, fine, parts, own]).argmax(0).tolist()) >= {1}
    compare(made, [0.3, 0.002], step, 0.5)
    # a coarser result leaves that to the sum
    made = layer(
        [conv(), other], values, biases=[BiasPlan("b")], quantizer=weights_of(), out=0.01,
        terms=(1, 3), in_grids=grids,
    )  # fmt: skip
    fine = torch.full_like(wanted, 0.005 / LARGEST)
    all_steps = torch.stack([wanted, fine, parts, own])
    assert 0 in all_steps.argmax(0).tolist()
    a, integers = compare(made, [0.3, 0.002], all_steps.amax(0), 0.005)
    total = a.bias.abs() / a.step
    for n, peak in zip(integers, peaks, strict=True):
        total = total + n.abs().flatten(1).sum(1) * peak
    assert float(total.max()) < 2**23


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_further_sources_fit_their_grids(terms: int) -> None:
    values = {"w": numbers(4, 3, 2, 2), "v": 40 * numbers(4, 4, 1, 1)}
    other = SourcePlan(tensor="y", channels=4, weight="v")
    made = layer([conv(), other], values, quantizer=weights_of(), terms=(1, terms))
    grid = SPEC.weight_grid(terms)
    parts = values["v"].abs().amax((1, 2, 3)) * 0.25 * (1 + 2**-10) / grid.max
    step = torch.maximum(parts, made.weight_quantizer.scale() * 0.3)
    a, (_, n) = compare(made, [0.3, 0.25], step, 0.25)
    one = (a.step / 0.25).view(-1, 1, 1, 1)
    assert bool((values["v"].abs() <= grid.max * one).all())
    assert torch.equal(n, nearest(values["v"] / one, grid))


def test_sums_of_tensors_of_one_step() -> None:
    """Copies and differences of tensors whose scales are inverse to their factors have weights
    of 1 and -1."""
    sources = [plain("x", scale=2.0), plain("y", scale=-0.5)]
    made = layer(sources, {}, kind="add", terms=(1, 1))
    step = torch.full((4,), 0.5, dtype=torch.float64)
    _, integers = compare(made, [0.25, 1.0], step, 0.25)
    assert [n.unique().tolist() for n in integers] == [[1.0], [-1.0]]


@pytest.mark.parametrize("terms", [(1, 1), (1, 2), (3, 2)])
def test_sums_of_tensors_of_two_steps(terms: tuple[int, int]) -> None:
    """The finest step at which both factors are among the integers without gaps."""
    sources = [plain("x"), plain("y", scale=0.5)]
    made = layer(sources, {}, kind="add", terms=terms)
    most = [SPEC.weight_contiguous(t) for t in terms]
    step = max(0.3 / most[0], 0.125 / most[1])
    a, integers = compare(made, [0.3, 0.25], torch.full((4,), step, dtype=torch.float64), 0.25)
    for n, unit, t in zip(integers, (0.3, 0.125), terms, strict=True):
        wanted = nearest(unit / a.step, SPEC.weight_grid(t))
        assert torch.equal(n.flatten(), wanted)
    one = layer(sources[:1], {"b": numbers(4)}, biases=[BiasPlan("b")], kind="add", terms=terms)
    step = torch.full((4,), 0.3 / most[0], dtype=torch.float64)
    compare(one, [0.3], step, 0.25)


@pytest.mark.parametrize("scale", [0.25, -0.25])
def test_averages_keep_their_integers(scale: float) -> None:
    """The scale of the result follows from that of the tensor."""
    source = plain("x", kernel=(2, 2), scale=scale)
    made = layer([source], {}, kind="average", follows=True, out=0.3)
    steps = SPEC.params.nearest_step(real(y_of(0.3) / (0.2 * 0.25)), torch)
    y_scale = 0.2 * 0.25 * steps.item()
    step = torch.full((4,), 0.2 * 0.25, dtype=torch.float64)
    a, (n,) = compare(made, [0.2], step, y_scale)
    assert n.unique().tolist() == [math.copysign(1.0, scale)]
    assert a.out_scale.item() == pytest.approx(y_scale * 2.0**SIGNED.pre_shift, rel=1e-12)
    wide = act_grid(SPEC, 0, 1)
    assert wide.pre_shift > 0
    made = layer([source], {}, kind="average", follows=True, out=0.3, grid=wide)
    a = made.arithmetic([real(0.2)])
    assert a.out_scale.item() == pytest.approx(a.y_scale.item() * 2.0**wide.pre_shift, rel=1e-12)
    assert a.out_scale.item() == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("limit", [None, 2.0])
def test_rectified_layers(limit: float | None) -> None:
    values = {"w": numbers(4, 3, 2, 2), "b": numbers(4, seed=1)}
    relu = Relu(name="r", shape=(4, 1, 1), inputs=("l",), limit=limit)
    made = layer(
        [conv()], values, biases=[BiasPlan("b")], quantizer=weights_of(), activation=relu,
        grid=SIGNED, out=0.21,
    )  # fmt: skip
    a, (n,) = compare(made, [0.02], made.weight_quantizer.scale() * 0.02, y_of(0.21))
    x = torch.randint(-63, 64, (4, 3, 5, 5)).double()
    exact = (F.conv2d(x, n) * a.step.view(-1, 1, 1) + a.bias.view(-1, 1, 1)).clamp(min=0)
    exact = exact if limit is None else exact.clamp(max=limit)
    got = made([Levels(x, real(0.02))]).levels
    assert float((got * 0.21 - exact).clamp(max=63 * 0.21).detach().abs().max()) <= 0.51 * 0.21
    assert float(got.detach().min()) == 0
    assert limit is None or float(got.detach().max()) == round(limit / 0.21)


def test_activation_functions() -> None:
    """Levels of the function of y, a table for the accelerator."""
    values = {"w": numbers(4, 3, 2, 2), "b": numbers(4, seed=1)}
    silu = Unary(name="u", shape=(4, 1, 1), inputs=("l",), function="silu")
    made = layer(
        [conv()], values, biases=[BiasPlan("b")], quantizer=weights_of(), activation=silu,
        out=0.05,
    )  # fmt: skip
    made.preactivation.initialize(-4.0, 4.0, silu, real(0.05), SIGNED)
    y_scale = made.preactivation.step.item()
    a, (n,) = compare(made, [0.02], made.weight_quantizer.scale() * 0.02, y_scale)
    assert a.requantization.grid == made.preactivation.grid
    assert a.out_scale.item() == pytest.approx(0.05, rel=1e-12)
    x = torch.randint(-63, 64, (4, 3, 5, 5)).double()
    exact = F.silu((F.conv2d(x, n) * a.step.view(-1, 1, 1) + a.bias.view(-1, 1, 1)).clamp(-4, 4))
    got = made([Levels(x, real(0.02))]).levels
    inside = exact.abs() < 62 * 0.05
    assert float((got * 0.05 - exact)[inside].detach().abs().max()) <= 0.026 + 0.56 * y_scale


def test_functions_of_averages() -> None:
    """The scale of y follows from that of the tensor, that of the result is its quantizer's."""
    sigmoid = Unary(name="u", shape=(4, 1, 1), inputs=("l",), function="sigmoid")
    source = plain("x", kernel=(2, 2), scale=0.25)
    made = layer(
        [source], {}, kind="average", follows=True, activation=sigmoid, out=0.03, is_output=True
    )
    made.preactivation.initialize(-4.0, 4.0, sigmoid, real(0.03), SIGNED)
    steps = SPEC.params.nearest_step(made.preactivation.step / (0.2 * 0.25), torch)
    step = torch.full((4,), 0.2 * 0.25, dtype=torch.float64)
    a, _ = compare(made, [0.2], step, 0.2 * 0.25 * steps.item())
    assert a.out_scale.item() == pytest.approx(0.03, rel=1e-12)
    assert not a.requantization.open


def test_averages_of_one_channel() -> None:
    made = layer(
        [plain("x", 1, kernel=(2, 2), scale=0.25)], {}, kind="average", follows=True, channels=1
    )
    a = made.arithmetic([real(0.2)])
    assert a.out_scale.item() == pytest.approx(0.5, rel=0.02)


def test_copies_do_not_saturate() -> None:
    """The largest integer without gaps is the largest of all: a margin keeps the factor below."""
    spec = QuantSpec(weight_format=EsbFormat(4, 2))
    assert spec.weight_contiguous(1) == spec.weight_grid(1).max == 7
    values = {"b": numbers(4)}
    made = layer([plain("x")], values, biases=[BiasPlan("b")], kind="add", spec=spec)
    step = torch.full((4,), 0.3 / 7 * (1 + 2**-10), dtype=torch.float64)
    compare(made, [0.3], step, y_of(0.5))
