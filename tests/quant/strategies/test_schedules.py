"""Progressive quantization, stochastic precision, INQ's portions, clusters: what is in force
when."""

import pytest
import torch
from torch import Tensor

from quant.strategies.harness import Training, data, prepared, twin
from sigbit.frontend import import_model
from sigbit.quant import QuantizationError, convert
from sigbit.quant.layers.sources import kernel
from sigbit.quant.strategies import Step, continued, strategy
from sigbit.quant.strategies.base import weighted_layers
from sigbit.quant.strategies.cluster import ClusterRegularization, targets
from sigbit.quant.strategies.incremental import Incremental
from sigbit.quant.strategies.levels import rounded_input
from sigbit.quant.strategies.progressive import OWN, REAL, Progressive
from sigbit.quant.strategies.stochastic_precision import StochasticPrecision, units

X = data(1, seed=11)[0][0]


def progressive(**options: object) -> Progressive:
    part = strategy("progressive", options)
    assert isinstance(part, Progressive)
    return part


def test_bits_step_down() -> None:
    part = progressive(bits=[32, 8, 4], share=0.6)
    seen = [part.at(p / 10) for p in range(10)]
    assert seen == [(REAL, REAL)] * 2 + [(8, 8)] * 2 + [(4, 4)] * 2 + [(OWN, OWN)] * 4


def test_weights_come_first() -> None:
    assert [progressive(bits=[], two_stage=True).at(p) for p in (0.0, 0.49, 0.5)] == [
        (OWN, REAL),
        (OWN, REAL),
        (OWN, OWN),
    ]
    part = progressive(bits=[8, 4], share=0.5, two_stage=True)
    steps = [part.at(p / 8) for p in range(8)]
    assert steps == [(8, REAL), (8, 8), (4, 8), (4, 4), (OWN, 4), (OWN, 4), (OWN, OWN), (OWN, OWN)]


def test_real_numbers_are_the_float_network() -> None:
    net = twin()
    model, plain = prepared(net), prepared(net)
    training = Training(model, net, [progressive(bits=[32])], 10)
    with torch.no_grad():
        real, expected = model(X), net(X)
        step = float(plain.quant_module(plain.plan.outputs[0][0]).out_quantizer.scale())
        assert float((real - expected).abs().max()) < step
        training.finish()
        assert torch.equal(model(X), plain(X))


def test_more_bits_are_closer_to_the_float_network() -> None:
    net = twin()
    spec = {"weight_method": "uniform", "weight_bits": 2, "act_method": "uniform", "act_bits": 2}
    errors = []
    for bits in ([32], [8], [4], [3]):
        model = prepared(net, **spec)
        Training(model, net, [progressive(bits=bits)], 10)
        with torch.no_grad():
            errors.append(float((model(X) - net(X)).square().mean()))
    assert errors[0] < errors[2] < errors[3]
    assert errors[1] < errors[2]


def test_continued_with_another_spec() -> None:
    net = twin()
    model = prepared(net)
    training = Training(model, net, [], 3)
    training.train()
    spec = prepared(net, weight_method="uniform", weight_bits=3).spec
    after = continued(import_model(net, X), model, spec, X)
    left, right = dict(model.named_parameters()), dict(after.named_parameters())
    shared = [k for k in left if k.startswith("value_")]
    assert shared
    assert all(torch.equal(left[k], right[k]) for k in shared)
    assert after.spec == spec


def test_units_of_stochastic_precision() -> None:
    model = prepared(twin())
    blocks, layers = units(model, "block"), units(model, "layer")
    assert len(layers) == 4
    assert len(blocks[0]) == 3
    assert sum(map(len, blocks)) == sum(map(len, layers))


@pytest.mark.parametrize("unit", ["block", "layer"])
def test_certain_quantization_is_the_plain_network(unit: str) -> None:
    net = twin()
    runs = []
    options = {"start_probability": 1.0, "unit": unit}
    for parts in ([], [strategy("stochastic_precision", options)]):
        training = Training(prepared(net), net, parts, 4)
        training.train()
        runs.append(training.model.state_dict())
    assert all(torch.equal(runs[0][k], runs[1][k]) for k in runs[0])


def test_probability_zero_is_real_and_evaluation_is_not() -> None:
    net = twin()
    model, plain = prepared(net), prepared(net)
    part = strategy("stochastic_precision", {"start_probability": 0.0, "until": 0.5})
    assert isinstance(part, StochasticPrecision)
    assert [part.probability(p) for p in (0.0, 0.25, 0.5, 0.9)] == [0.0, 0.5, 1.0, 1.0]
    Training(model, net, [part], 10)
    part.before_step(Step(0, 0.0, 0, *data(1)[0]))
    with torch.no_grad():
        real, wanted = model(X), net(X)
        assert float((real - wanted).abs().max()) < 0.02
        assert torch.equal(model.eval()(X), plain.eval()(X))


@pytest.mark.parametrize("method", ["esb", "inq", "dorefa"])
def test_frozen_weights_stay_bit_identical(method: str) -> None:
    net, portions = twin(), (0.5, 0.75, 1.0)
    options = {} if method == "esb" else {"weight_method": method, "weight_bits": 4}
    part = strategy("incremental", {"portions": portions})
    assert isinstance(part, Incremental)
    training = Training(prepared(net, **options), net, [part], 9, lr=0.1, weight_decay=0.01)
    before: list[tuple[Tensor, Tensor, Tensor]] = []
    learned = 0
    for step in training:
        now = [(part.mask(n).clone(), part.levels(n).clone(), values(part, n)) for n in part.layers]
        for mask, _, _ in now:
            assert int(mask.sum()) == round(portions[step.number // 3] * mask.numel())
        for (mask, levels, weight), (mask2, levels2, weight2) in zip(before, now, strict=False):
            assert bool((mask2 | ~mask).all())
            assert torch.equal(levels2[mask], levels[mask])
            assert torch.equal(weight2[mask], weight[mask])
            learned += int((weight2 != weight).sum())
        before = now
    assert learned
    training.finish()
    expected, stored = training.model.stored(X), convert(training.model).stored(X)
    assert all(torch.equal(stored[k], expected[k]) for k in stored)


@pytest.mark.parametrize("channels", [True, False], ids=["per channel", "per tensor"])
@pytest.mark.parametrize("method", ["esb", "lsq", "apot", "qil", "wrpn", "ternary"])
def test_incremental_keeps_the_scales(method: str, channels: bool) -> None:
    net = twin()
    model = prepared(net, weight_method=method, weight_bits=2, per_channel=channels)
    layers = weighted_layers(model).values()

    def scales() -> list[Tensor]:
        return [rounded_input(m)[1].clone().flatten() for m in layers]

    before = scales()
    Training(model, net, [strategy("incremental")], 6, lr=0.1).train()
    for a, b in zip(before, scales(), strict=True):
        assert torch.allclose(a, b, rtol=1e-6)
    expected, stored = model.stored(X), convert(model).stored(X)
    assert all(torch.equal(stored[k], expected[k]) for k in stored)


@pytest.mark.parametrize("method", ["lq-nets", "qn"])
def test_levels_that_cannot_be_frozen_are_refused(method: str) -> None:
    net = twin()
    model = prepared(net, weight_method=method, weight_bits=2)
    with pytest.raises(QuantizationError, match="have no levels to be frozen at"):
        Training(model, net, [strategy("incremental")], 4)


def values(part: Incremental, name: str) -> Tensor:
    """A layer's weights without batch norms."""
    layer = part.layers[name]
    weight = layer.sources[0].weight
    assert weight is not None
    return kernel(layer.sources[0], part.run.model.parameter_of(weight)).detach().clone()


def test_the_largest_weights_freeze_first() -> None:
    net = twin()
    part = strategy("incremental")
    assert isinstance(part, Incremental)
    training = Training(prepared(net), net, [part], 8, lr=0.0)
    next(iter(training))
    for name, layer in part.layers.items():
        mask, size = part.mask(name), layer.kernel_of_method().detach().abs()
        assert float(size[mask].min()) >= float(size[~mask].max())
        assert float(mask.double().mean()) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(QuantizationError, match="not frozen yet"):
        part.finish()


@pytest.mark.network
def test_clusters_draw_ternary_weights() -> None:
    errors = []
    for strength in (0.011, 400.0):
        net = twin()
        model = prepared(net, weight_method="ternary", weight_bits=2)
        options = {"strength": strength, "start_strength": 0.01, "project": 0.7}
        part = strategy("cluster", options)
        assert isinstance(part, ClusterRegularization)
        training = Training(model, net, [part], 60, momentum=0.0)
        training.train()
        layers = weighted_layers(model, first_last=False).values()
        errors.append(
            sum(float((m.kernel_of_method().detach() - targets(m)).square().mean()) for m in layers)
        )
        assert all(len(targets(m)[0].unique()) <= 3 for m in layers)
    assert errors[1] < 0.7 * errors[0]


def test_clusters_of_soft_staircases_are_their_levels() -> None:
    model = prepared(twin(), weight_method="qn", weight_bits=3).train()
    for layer in weighted_layers(model, first_last=False).values():
        levels = (targets(layer) / rounded_input(layer)[1]).round(decimals=4)
        assert set(levels.unique().tolist()) <= {-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0}
        assert layer.weight_quantizer is not None
        assert layer.weight_quantizer.training


def test_the_gradient_of_a_cluster_and_its_strength() -> None:
    net = twin()
    model = prepared(net, weight_method="ternary", weight_bits=2)
    part = strategy("cluster", {"strength": 10.0, "start_strength": 0.1, "project": 0.5})
    assert isinstance(part, ClusterRegularization)
    training = Training(model, net, [part], 4)
    assert [part.lambda_at(p) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.1, 1.0, 10, 10])
    layer = next(iter(part.layers.values()))
    name = [k for k, v in model.named_parameters() if v.numel() == layer.kernel_of_method().numel()]
    parameter = dict(model.named_parameters())[name[0]]
    (g,) = torch.autograd.grad(part.loss(Step(0, 0.25, 0, *data(1)[0])), parameter)
    w = layer.kernel_of_method().detach()
    assert torch.allclose(g.view_as(w), 1.0 / w.numel() * (w - targets(layer)), atol=1e-8)
    assert training.steps == 4
