"""SINAREQ: zero on the grid, the published formula and its gradients, phases, frozen bits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quant.strategies.harness import Training, prepared, twin
from sigbit.quant import QuantizationError, prepare
from sigbit.quant.numbers.grid import LevelGrid, quantize
from sigbit.quant.quantizers.registry import METHODS, esb, odd, symmetric
from sigbit.quant.strategies import strategy, with_weight_bits
from sigbit.quant.strategies.base import weighted_layers
from sigbit.quant.strategies.levels import in_levels
from sigbit.quant.strategies.sinareq import Sinareq, grid_penalty, wave_penalty

TABLES = [
    (name, bits, method.weights.levels(bits))
    for name, method in METHODS.items()
    if method.weights is not None and name != "lq-nets"
    for bits in method.weights.bits
]


@pytest.mark.parametrize(("name", "bits", "grid"), TABLES, ids=[f"{n}{b}" for n, b, _ in TABLES])
def test_the_penalty_is_zero_on_the_grid_and_nowhere_else(
    name: str, bits: int, grid: LevelGrid
) -> None:
    levels = torch.tensor(grid.values, dtype=torch.float64)
    assert not grid_penalty(levels, grid).any()
    middle = (levels[1:] + levels[:-1]) / 2
    count = len({abs(v) for v in grid.values})
    assert torch.allclose(grid_penalty(middle, grid), torch.full_like(middle, 1 / count))
    inner = levels[:-1] + 0.3 * levels.diff()
    assert bool((grid_penalty(inner, grid) > 0.1 / count).all())


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6])
def test_alignments_of_learned_bits(bits: int) -> None:
    """methods.md 1.2: minima coincide with WRPN's and DoReFa's levels for beta = bits - 1."""
    beta = torch.tensor(bits - 1.0, dtype=torch.float64)
    for grid, align in ((symmetric(bits), "wrpn"), (odd(bits), "dorefa")):
        w = torch.tensor(grid.values, dtype=torch.float64) / grid.max
        assert float(wave_penalty(w, beta, align).max()) < 1e-12
        if bits >= 3:
            wrong = wave_penalty(w, beta + 1, align)
            assert float(wrong.max()) * 2**bits > 0.7
    even = torch.arange(-(2**bits) + 2, 2**bits, 2, dtype=torch.float64) / (2**bits - 1)
    assert float(wave_penalty(even, beta, "symmetric").max()) < 1e-12


@given(st.floats(-0.999, 0.999), st.floats(1, 7))
def test_gradients_are_the_closed_forms(w: float, beta: float) -> None:
    x = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(beta, dtype=torch.float64, requires_grad=True)
    dw, dbeta = torch.autograd.grad(wave_penalty(x, b, "wrpn"), (x, b))
    top = 2**beta - 1
    expected = math.pi * top / 2**beta * math.sin(2 * math.pi * w * top)
    assert abs(float(dw) - expected) < 1e-9
    assert abs(float(dw)) <= math.pi
    sine = math.sin(math.pi * w * top) ** 2 / 2**beta
    expected = math.log(2) * (math.pi * w * math.sin(2 * math.pi * w * top) - sine)
    assert abs(float(dbeta) - expected) < 1e-9


@given(st.floats(-0.999, 0.999), st.integers(2, 6))
def test_the_penalty_of_a_uniform_grid_is_the_published_one(w: float, bits: int) -> None:
    grid = symmetric(bits)
    x = torch.tensor([w], dtype=torch.float64, requires_grad=True)
    ours = grid_penalty(x * grid.max, grid)
    published = wave_penalty(x, torch.tensor(bits - 1.0, dtype=torch.float64), "wrpn")
    assert torch.allclose(ours, published, atol=1e-12)
    (a,), (b,) = torch.autograd.grad(ours, x), torch.autograd.grad(published, x)
    assert torch.allclose(a, b, atol=1e-9)


@pytest.mark.network
@pytest.mark.parametrize("method", ["esb", "dorefa", "wrpn", "apot", "qil", "inq", "ternary"])
def test_weights_on_the_grid_are_at_rest(method: str) -> None:
    """The variable that is regularized is the one that the quantizer rounds."""
    bits = 2 if method == "ternary" else 3
    model = prepared(twin(), weight_method=method, weight_bits=bits)
    for layer in weighted_layers(model, first_last=False).values():
        quantizer = layer.weight_quantizer
        assert quantizer is not None
        v = in_levels(layer).detach()
        on_grid = quantize(v, torch.tensor(1.0), quantizer.grid)
        assert float(grid_penalty(v, quantizer.grid).max()) > 0
        assert not grid_penalty(on_grid, quantizer.grid).any()


def test_three_phases() -> None:
    part = strategy("sinareq", {"lambda_w": 2.0, "lambda_beta": 0.1, "learn_bits": True})
    assert isinstance(part, Sinareq)
    assert part.strengths(0.0)[0] < 1e-6
    assert part.strengths(0.4) == pytest.approx((2.0, 0.1), abs=1e-6)
    w, beta = part.strengths(0.9)
    assert w == pytest.approx(2.0)
    assert beta < 1e-6


@pytest.mark.network
def test_fixed_bits_draw_weights_to_their_levels() -> None:
    distances = []
    for lambda_w in (0.0, 20.0):
        options = {"lambda_w": lambda_w, "rise": 0.0, "fall": 0.5}
        net = twin()
        training = Training(
            prepared(net, weight_scale="range"),
            net,
            [strategy("sinareq", options)],
            60,
            lr=0.02,
            momentum=0.0,
        )
        training.train()
        layers = weighted_layers(training.model, first_last=False).values()
        v = torch.cat([in_levels(m).detach().flatten() for m in layers])
        distances.append(float(grid_penalty(v, esb(4)).mean()))
    assert distances[1] < 0.6 * distances[0]


def test_learned_bits_become_the_next_stage() -> None:
    net = twin()
    model = prepared(net, weight_method="wrpn", weight_bits=5)
    options = {"learn_bits": True, "lambda_beta": 5.0, "beta": 4.0, "beta_lr": 0.05, "beta_max": 4}
    part = strategy("sinareq", options)
    assert isinstance(part, Sinareq)
    training = Training(model, net, [part], 40, momentum=0.0)
    for step in training:
        inside = (part.beta >= part.beta_min) & (part.beta <= part.beta_max)
        assert bool(inside.all())
        if step.progress >= part.fall:
            assert torch.equal(part.beta, part.beta.round())
    training.finish()
    assert part.expected_drop() == pytest.approx(0.05 * 5.0 * 0.4 * 40)
    assert set(part.bits) == set(weighted_layers(model, first_last=False))
    assert all(2 <= b <= 5 for b in part.bits.values())
    assert min(part.bits.values()) < 5
    spec = with_weight_bits(model, part.bits)
    after = prepare(net, spec, (torch.rand(2, 1, 8, 8),))
    for name, bits in part.bits.items():
        quantizer = weighted_layers(after)[name].weight_quantizer
        assert quantizer is not None
        assert quantizer.grid.values == symmetric(bits).values


@pytest.mark.parametrize("method", ["qil", "qn", "apot", "lsq"])
def test_activations_keep_their_bits(method: str) -> None:
    net = twin()
    model = prepared(net, weight_method="wrpn", weight_bits=5, act_method=method, act_bits=3)
    bits = dict.fromkeys(weighted_layers(model), 3)
    after = prepare(net, with_weight_bits(model, bits), (torch.rand(2, 1, 8, 8),))
    for p in model.plan.layers:
        assert after.quant_module(p.name).grid == model.quant_module(p.name).grid
    for layer in weighted_layers(after).values():
        assert layer.weight_quantizer is not None
        assert layer.weight_quantizer.grid.values == symmetric(3).values


def test_beta_does_not_move_without_lambdas() -> None:
    net = twin()
    options = {"learn_bits": True, "lambda_w": 0.0, "lambda_beta": 0.0, "beta": 3.25}
    part = strategy("sinareq", options)
    training = Training(prepared(net), net, [part], 4)
    training.train()
    assert isinstance(part, Sinareq)
    assert set(part.bits.values()) == {5}


def test_levels_that_move_are_refused() -> None:
    net = twin()
    model = prepared(net, weight_method="lq-nets", weight_bits=2)
    with pytest.raises(QuantizationError, match="levels that move"):
        Training(model, net, [strategy("sinareq")], 4)
