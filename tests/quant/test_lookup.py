"""Activation functions as tables: the range of the pre-activation, levels, gradients in closed
form."""

import pytest
import torch
from torch import Tensor

from sigbit.ir.floating import UNARY, Unary
from sigbit.quant.layers.function import Preactivation, evaluate, lookup
from sigbit.quant.numbers.grid import LevelGrid, round_to_grid
from sigbit.quant.numbers.scales import scale_rule
from sigbit.quant.quantizers import Quantizer, side
from sigbit.quant.quantizers.lsq_plus import room
from sigbit.quant.spec import ActGrid, QuantSpec, act_grid

WIDE = act_grid(QuantSpec(), 1, 3)
"""-128 … 127."""
SAMPLE = 1 / 4096
"""Of the range: the distance of the places at which a function is looked at."""


def unary(function: str, *parameters: float) -> Unary:
    return Unary(name="f", shape=(1, 1, 1), inputs=("x",), function=function, parameters=parameters)


def real(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def initialized(
    function: Unary, low: float, high: float, scale: float, grid: ActGrid = WIDE
) -> Preactivation:
    pre = Preactivation()
    pre.initialize(low, high, function, real(scale), grid)
    return pre


@pytest.mark.parametrize(
    ("low", "high", "first", "last"),
    [(-10.0, 31.0, -10.0, 31.0), (3.0, 31.0, 0.0, 31.0), (-31.0, -3.0, -31.0, 0.0)],
)
def test_range_of_the_preactivation(low: float, high: float, first: float, last: float) -> None:
    """All of the range, and 0, in 255 steps; 0 is one of them."""
    pre = initialized(unary("sin"), low, high, 1 / 127)
    step = (last - first) / 255
    assert pre.step.item() == step
    assert int(pre.start) == round(first / step)
    assert pre.grid.levels == LevelGrid.uniform(int(pre.start), int(pre.start) + 255)
    # y = level - offset: the lowest level is y = -128
    assert (pre.grid.pre_shift, pre.grid.offset) == (0, int(pre.start) + 128)
    assert (pre.grid.planes, pre.grid.zero) == (1, 0)
    x = pre.points(pre.step)
    assert torch.equal(x, (torch.arange(256).double() + int(pre.start)) * step)
    assert 0.0 in x.tolist()


def test_a_preactivation_before_calibration() -> None:
    pre = Preactivation()
    assert (pre.step.item(), pre.grid.low, pre.grid.high) == (1.0, -128, 127)
    assert pre.step.dtype == torch.float64


def test_flat_ends_are_left_out() -> None:
    """Those of a hard sigmoid, up to a quarter of a level."""
    scale = 0.05
    pre = initialized(unary("hardsigmoid"), -8.0, 8.0, scale)
    most = -3 + 6 * scale / 4
    low = int(pre.start) * pre.step.item()
    assert most - 16 * SAMPLE - pre.step.item() <= low <= most + pre.step.item()
    assert pre.step.item() * 255 == pytest.approx(-2 * most, abs=2 * 16 * SAMPLE)
    # a function that falls is the same with signs exchanged
    turned = initialized(unary("erfc"), -9.0, 7.0, scale)
    rising = initialized(unary("erf"), -9.0, 7.0, scale)
    assert turned.step.item() == pytest.approx(rising.step.item(), abs=2 * 16 * SAMPLE / 255)
    assert int(turned.start) == int(rising.start)
    y = evaluate(unary("erf"), turned.points(turned.step))
    assert float(y[0]) + 1 == pytest.approx(scale / 4, rel=0.1)
    assert 1 - float(y[-1]) == pytest.approx(scale / 4, rel=0.1)


def test_ends_are_flat_only_if_all_values_there_are_near() -> None:
    """SiLU falls by 0.28 and comes back; levels of half a unit do not see it, of 0.1 do."""
    coarse = initialized(unary("silu"), -20.0, 4.0, 2.0)
    fine = initialized(unary("silu"), -20.0, 4.0, 0.1)
    low = [int(p.start) * p.step.item() for p in (coarse, fine)]
    assert -1.0 < low[0] <= 0.0
    x = torch.linspace(-20, 0, 100001, dtype=torch.float64)
    y = evaluate(unary("silu"), x)
    first = float(x[(y[0] - y <= 0.025).long().cumprod(0).bool()][-1])
    assert low[1] == pytest.approx(first, abs=24 * SAMPLE + fine.step.item())


def test_values_beyond_the_grid_are_flat() -> None:
    scale = 0.125
    grid = act_grid(QuantSpec(), 0, 1)
    pre = initialized(unary("identity"), -8.0, 8.0, scale, grid)
    assert int(pre.start) * pre.step.item() == pytest.approx(0, abs=16 * SAMPLE)
    end = scale * grid.high - scale / 4
    assert pre.step.item() * 255 == pytest.approx(end, abs=2 * 16 * SAMPLE)


def test_functions_without_a_slope_keep_the_whole_range() -> None:
    pre = initialized(unary("clamp", 0.5, 0.5), -3.0, 1.0, 0.1)
    assert pre.step.item() == 4 / 255
    assert int(pre.start) == -191
    assert initialized(unary("identity"), 0.0, 0.0, 0.1).step.item() == 1e-9 / 255


def test_what_a_function_is_not_defined_for() -> None:
    x = torch.tensor([-1.0, 0.0, 1.0])
    assert evaluate(unary("log"), x).tolist() == [0.0, -float(torch.tensor(1e30)), 0.0]
    assert evaluate(unary("reciprocal"), x).tolist() == [-1.0, float(torch.tensor(1e30)), 1.0]
    assert evaluate(unary("threshold", 0.5, 7.0), x).tolist() == [7.0, 7.0, 1.0]


def quantizer_of(kind: str) -> Quantizer:
    if kind == "LSQ+":
        made = side("lsq+", "activations", 4).make(room(4), scale_rule("learned"), None, 4)
        made.offset.data.fill_(-3.0)
    elif kind == "PACT":
        chosen = side("pact", "activations", 4)
        made = chosen.make(chosen.levels(4), scale_rule("learned"), None, 4)
    else:
        made = Quantizer(LevelGrid.uniform(-7, 7), scale_rule("learned"))
    made.give(real(0.11))
    return made


@pytest.mark.parametrize("function", [unary("silu"), unary("leaky_relu", 0.3), unary("sigmoid")])
@pytest.mark.parametrize("kind", ["LSQ", "LSQ+", "PACT"])
def test_levels_and_gradients_of_a_table(kind: str, function: Unary) -> None:
    quantizer = quantizer_of(kind)
    window = quantizer.window
    if kind == "LSQ+":
        assert (window.min, window.max) == (-3, 12)
    pre = initialized(function, -2.0, 4.0, 0.11, ActGrid(window, 1, 0, 0, 0))
    y_scale = real(pre.step.item() * 1.25).requires_grad_()
    out_scale = real(0.11).requires_grad_()
    start = int(pre.start)
    generator = torch.Generator().manual_seed(5)
    y = torch.randint(start, start + 256, (3, 4, 50), generator=generator).double()
    y.requires_grad_()
    got = lookup(y, y_scale, out_scale, function, pre, quantizer)

    x = (y.detach() * y_scale.detach()).requires_grad_()
    value = UNARY[function.function](x, *function.parameters)
    v = value.detach() / 0.11
    assert torch.equal(got, round_to_grid(v, window))
    table = pre.table(function, y_scale.detach(), out_scale.detach(), window)
    assert torch.equal(table[(y.detach() - start).long()], got)

    upstream = torch.randn(y.shape, dtype=torch.float64, generator=generator)
    (got * upstream).sum().backward()
    (slope,) = torch.autograd.grad(value.sum(), x)
    inside = (v >= window.min) & (v <= window.max)
    assert bool(inside.any())
    assert function.function == "sigmoid" or not bool(inside.all())
    gain = slope * inside * (y_scale.detach() / 0.11)
    assert torch.allclose(y.grad, upstream * gain)
    levels = got.detach()
    beyond = levels * ~inside if kind == "PACT" else levels - v * inside
    assert out_scale.grad.item() == pytest.approx(float((upstream * beyond).sum()) / 0.11)
    assert y_scale.grad is None  # its layer's accumulators decide about the step
    if kind == "LSQ+":
        wanted = float((upstream * ~inside).sum()) * float(quantizer.gradient_factor)
        assert quantizer.offset.grad.item() == pytest.approx(wanted)


def test_gradients_only_where_they_are_wanted() -> None:
    """A fixed scale: levels alone pass gradients; poles pass none."""
    function, quantizer = unary("reciprocal"), quantizer_of("LSQ")
    pre = Preactivation()
    pre.step.fill_(1 / 128)
    y = torch.tensor([0.0, 100.0, -90.0], requires_grad=True)
    got = lookup(y, pre.step, real(100.0), function, pre, quantizer)
    got.sum().backward()
    x = y.detach().double() * pre.step
    wanted = -(pre.step / 100 / x.square())
    assert y.grad.dtype == torch.float32
    assert y.grad[0] == 0
    assert torch.allclose(y.grad[1:].double(), wanted[1:])


def test_scales_alone_may_be_trained() -> None:
    quantizer = quantizer_of("LSQ+")
    pre, scale = Preactivation(), real(0.11).requires_grad_()
    pre.step.fill_(1 / 16)
    y = torch.arange(-128, 128).double()
    silu = unary("silu")
    got = lookup(y, pre.step, scale, silu, pre, quantizer)
    got.sum().backward()
    v = evaluate(silu, y / 16) / 0.11
    inside = (v >= -3) & (v <= 12)
    assert scale.grad.item() == pytest.approx(float((got.detach() - v * inside).sum()) / 0.11)
    assert quantizer.offset.grad.item() == float((~inside).sum())
    scale = real(0.11)
    quantizer.offset.grad = None
    lookup(y, pre.step, scale, silu, pre, quantizer).sum().backward()
    assert scale.grad is None
    assert quantizer.offset.grad.item() == float((~inside).sum())
