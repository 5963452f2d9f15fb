"""JARN, attacks and quantized gradients."""

import pytest
import torch
import torch.nn.functional as F

from quant.strategies.harness import BATCH, Training, data, prepared, total, twin
from sigbit.quant import QuantizationError, QuantSpec, prepare
from sigbit.quant.numbers.grid import LevelGrid, quantize, quantize_ste
from sigbit.quant.strategies import strategy
from sigbit.quant.strategies.attacks import fgsm, input_gradients, pgd, robust_accuracy
from sigbit.quant.strategies.gradient_quantization import quantize_gradient
from sigbit.quant.strategies.jarn import Discriminator, Jarn, normalized
from sigbit_hw.arch.formats import EsbFormat

pytestmark = pytest.mark.slow

METHODS = [
    {},
    {"weight_method": "dorefa", "weight_bits": 3, "act_method": "dorefa", "act_bits": 3},
    {"weight_method": "lsq", "weight_bits": 3, "act_method": "lsq", "act_bits": 3},
    {"weight_method": "qil", "weight_bits": 3, "act_method": "pact", "act_bits": 3},
    {"weight_method": "apot", "weight_bits": 4, "act_method": "apot", "act_bits": 3},
    {"weight_method": "qn", "weight_bits": 3, "act_method": "qn", "act_bits": 2},
]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.get("weight_method", "esb"))
def test_second_derivatives_are_finite_and_not_zero(method: dict[str, object]) -> None:
    model = prepared(twin(), act_scale="learned", **method).train()
    x, y = data(1)[0]
    x.requires_grad_()
    with input_gradients(model):
        probability = model(x).softmax(1).gather(1, y[:, None]).sum()
        (jacobian,) = torch.autograd.grad(probability, x, create_graph=True)
        parameters = [p for p in model.parameters() if p.requires_grad]
        second = torch.autograd.grad(jacobian.square().sum(), parameters, allow_unused=True)
    found = [g for g in second if g is not None]
    assert all(bool(torch.isfinite(g).all()) for g in found)
    matrices = [g for p, g in zip(parameters, second, strict=True) if p.dim() > 1]
    assert all(g is not None and bool(g.any()) for g in matrices)
    assert bool(jacobian.any())


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_inputs_of_any_zero_get_gradients(low: float, signed: bool) -> None:
    torch.manual_seed(0)  # weights whose sums are not 0 for any input, by chance
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    x = torch.linspace(low, 1.0, 80).view(5, 1, 4, 4).requires_grad_()
    spec = QuantSpec(act_format=EsbFormat(4, 2, signed), input_range=(low, 1.0))
    model = prepare(net, spec, x.detach())
    with input_gradients(model):
        (gradient,) = torch.autograd.grad(model(x).sum(), x)
    assert bool((gradient[0, 0] != 0).all())
    assert torch.equal(gradient, gradient[:1].expand_as(gradient))


def test_the_second_derivative_is_that_of_the_straight_through_form(seed: int) -> None:
    """``x + (q(x) - x).detach()`` inside the grid's range."""
    torch.manual_seed(seed)
    grid, scale = LevelGrid.uniform(-7, 7), torch.tensor(0.25, dtype=torch.float64)
    w = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    results = []
    for straight in (False, True):
        if straight:
            clamped = w.clamp(-7 * scale, 7 * scale)
            used = clamped + (quantize(w, scale, grid) * scale - clamped).detach()
        else:
            used = quantize_ste(w, scale, grid) * scale
        output = (x @ used.T).square().sum()
        (jacobian,) = torch.autograd.grad(output, x, create_graph=True)
        results.append(torch.autograd.grad(jacobian.square().sum(), (w, x)))
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b)


def test_every_player_has_its_gradient() -> None:
    net = twin()
    part = strategy("jarn", {"active": 0.0, "every": 2, "base": 4})
    assert isinstance(part, Jarn)
    training = Training(prepared(net), net, [part], 4)
    for step in training:
        assert step.x.requires_grad
        clean = data(4)[step.number][0]
        assert float((step.x.detach() - clean).abs().max()) <= 8 / 255 + 1e-6
        adaptor = [p.grad for p in part.adaptor.parameters()]
        assert all(g is not None and bool(torch.isfinite(g).all()) for g in adaptor)
        judge = [p.grad for p in part.discriminator.parameters()]
        assert all((g is not None) == (step.number % 2 == 0) for g in judge)
        for p in training.model.parameters():
            assert p.grad is None or bool(torch.isfinite(p.grad).all())
    training.finish()
    assert not any("discriminator" in k for k in training.model.state_dict())


def test_the_term_acts_late_and_changes_the_network() -> None:
    net, states = twin(), []
    for parts in (
        [],
        [strategy("jarn", {"active": 1.0, "base": 4})],
        [strategy("jarn", {"active": 0.5, "base": 4})],
    ):
        training = Training(prepared(net), net, parts, 4)
        training.train()
        states.append(total(p.detach() for p in training.model.parameters()))
    assert states[0] == states[1] != states[2]


def test_helpers_have_the_published_form() -> None:
    judge = Discriminator(3, 32, 32, 32)
    convolutions = [m for m in judge.body if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [32, 64, 128, 256, 512]
    assert judge(torch.randn(2, 3, 32, 32)).shape == (2, 2)
    assert Discriminator(1, 8, 8, 4)(torch.randn(2, 1, 8, 8)).shape == (2, 2)
    x = normalized(torch.randn(4, 3, 5, 5) * 7 + 2)
    assert torch.allclose(x.mean((1, 2, 3)), torch.zeros(4), atol=1e-6)
    assert torch.allclose(x.square().sum((1, 2, 3)), torch.ones(4), atol=1e-5)


def test_attacks_stay_within_bounds_and_hurt() -> None:
    net = twin()
    training = Training(prepared(net), net, [], 60)
    training.train()
    model = training.model
    x = torch.cat([b[0] for b in data(4, seed=21)])
    y = torch.cat([b[1] for b in data(4, seed=21)])
    epsilon = 0.25
    clean = F.cross_entropy(model(x), y).detach()
    for attacked in (fgsm(model, x, y, epsilon), pgd(model, x, y, epsilon, steps=10)):
        assert float((attacked - x).abs().max()) <= epsilon + 1e-6
        assert float(attacked.min()) >= 0
        assert float(attacked.max()) <= 1
        assert bool(F.cross_entropy(model(attacked), y) > clean)
    same = [pgd(model, x, y, epsilon, steps=2, seed=1) for _ in range(2)]
    assert torch.equal(*same)
    left = robust_accuracy(model, x, y, lambda m, a, b: pgd(m, a, b, epsilon, steps=10), BATCH)
    assert left <= robust_accuracy(model, x, y, lambda m, a, b: a)
    assert not any(m._forward_hooks for m in model.modules())
    assert all(p.grad is None or not p.grad.isnan().any() for p in model.parameters())


def test_quantized_gradients(seed: int) -> None:
    torch.manual_seed(seed)
    g = torch.randn(4, 3, 5, dtype=torch.float64)
    g[3] = 0
    steps = 2**3 - 1
    noise = torch.rand(2000, *g.shape, dtype=torch.float64) - 0.5
    found = torch.stack([quantize_gradient(g, 3, n) for n in noise])
    largest = g.abs().amax((1, 2), keepdim=True)
    levels = (found / (2 * largest).clamp(min=1e-9) + 0.5) * steps
    assert torch.allclose(levels[:, :3], levels[:, :3].round(), atol=1e-9)
    assert not found[:, 3].any()
    inner = g.abs() < 0.8 * largest
    error = (found.mean(0) - g)[inner].abs().max()
    assert float(error) < 0.1 * float(largest.max())


def test_gradient_hooks_act_on_inner_layers_in_training() -> None:
    net, updates = twin(), []
    for parts in (
        [],
        [strategy("gradient_quantization", {"bits": 2})],
        [strategy("gradient_quantization", {"bits": 16})],
    ):
        training = Training(prepared(net), net, parts, 1, momentum=0.0, weight_decay=0.0)
        training.step(*data(1)[0])
        updates.append(
            {k: p.grad.clone() for k, p in training.model.named_parameters() if p.grad is not None}
        )
    plain, coarse, fine = updates
    assert torch.equal(plain["value_head_weight"], coarse["value_head_weight"])
    inner = "value_conv1_weight"
    assert not torch.equal(plain[inner], coarse[inner])
    scale = plain[inner].abs().max()
    assert float((plain[inner] - fine[inner]).abs().max()) < 0.02 * float(scale)


def test_second_derivatives_go_straight_through_quantized_gradients() -> None:
    net, found = twin(), []
    for parts in ([], [strategy("gradient_quantization", {"bits": 16, "first_last": True})]):
        model = Training(prepared(net), net, parts, 4).model
        x, y = data(1)[0]
        x.requires_grad_()
        with input_gradients(model):
            probability = model(x).softmax(1).gather(1, y[:, None]).sum()
            (jacobian,) = torch.autograd.grad(probability, x, create_graph=True)
            found.append(torch.autograd.grad(jacobian.square().sum(), model.value_conv1_weight)[0])
    plain, quantized = found
    assert float((plain - quantized).norm()) < 0.02 * float(plain.norm())


def test_networks_without_one_image_are_refused() -> None:
    from quant.graphs import lstm

    model = prepare(lstm(0), QuantSpec(), (torch.rand(4, 5, 6, dtype=torch.float64),))
    with pytest.raises(QuantizationError, match="jarn is for classifiers of one image"):
        Training(model, twin(), [strategy("jarn")], 4)
