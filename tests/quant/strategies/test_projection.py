"""Deep Projection: the same function at first and at the end, updates as derived."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from quant.strategies.harness import Training, data, prepared, twin
from sigbit.quant.prepared import attribute_name
from sigbit.quant.strategies import optimizer_groups, strategy
from sigbit.quant.strategies.base import Randomness, weighted_layers
from sigbit.quant.strategies.deep_projection import Composition

VARIANTS = ("linear", "conv1x1", "fixed-random")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_collapsed_network_is_the_live_one(variant: str) -> None:
    net = twin()
    plain = prepared(net)
    x = data(1, seed=7)[0][0]
    names = {attribute_name(m.sources[0].weight) for m in weighted_layers(plain).values()}
    training = Training(prepared(net), net, [strategy("deep_projection", {"variant": variant})], 5)
    for name in names:
        assert torch.allclose(getattr(training.model, name), getattr(plain, name), atol=1e-6)
    for _ in training:
        pass
    training.model.eval()
    live = training.model(x)
    weights = {name: getattr(training.model, name).detach().clone() for name in names}
    training.finish()
    assert torch.equal(training.model(x), live)
    for name, weight in weights.items():
        assert torch.equal(getattr(training.model, name), weight)
        assert not torch.equal(getattr(plain, name), weight)
    assert training.model.state_dict().keys() == plain.state_dict().keys()


def test_a_step_moves_the_weight_as_derived(seed: int) -> None:
    """To first order ``-lr [(sum a^2) G + sum <G, V> V]``."""
    torch.manual_seed(seed)
    layer, lr = nn.Linear(3, 5, dtype=torch.float64), 1e-5
    composition = Composition("linear", 4, 0.5, Randomness(seed, torch.device("cpu")))
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", composition)
    assert torch.allclose(layer.weight, before)
    latent, a = (
        layer.get_submodule("parametrizations.weight").get_parameter(f"original{i}") for i in (0, 1)
    )
    v, c = latent.detach().clone(), a.detach().clone()
    g = torch.randn(5, 3, dtype=torch.float64)
    (layer.weight * g).sum().backward()
    torch.optim.SGD([latent, a], lr=lr).step()
    inner = torch.tensordot(v, g, 2)
    moved = -lr * (c.square().sum() * g + torch.tensordot(inner, v, 1))
    assert torch.allclose(layer.weight - before, moved, rtol=1e-3, atol=1e-9)


def test_weight_decay_is_that_of_the_composed_weight() -> None:
    """Without gradients of the task, the weight shrinks by ``1 - lr * decay`` a step, whatever D
    is."""
    for variant in VARIANTS:
        net = twin()
        model = prepared(net)
        training = Training(model, net, [strategy("deep_projection", {"variant": variant})], 1)
        name = attribute_name(next(iter(weighted_layers(model).values())).sources[0].weight)
        before = getattr(model, name).detach().clone()
        optimizer = torch.optim.SGD(optimizer_groups(model, training.strategies, 0.5), lr=0.1)
        (getattr(model, name).sum() * 0).backward()
        optimizer.step()
        assert torch.allclose(getattr(model, name), before * 0.95, atol=1e-6)
