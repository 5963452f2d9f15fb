"""What holds for every strategy: registry, resumed runs, conversion; and combinations."""

import pytest
import torch

from quant.strategies.harness import Training, data, prepared, same_state, twin
from sigbit.quant import QuantizationError, convert
from sigbit.quant.strategies import STRATEGIES, parameters, strategies, strategy

OPTIONS: dict[str, dict[str, object]] = {
    "jarn": {"active": 0.2, "every": 2, "base": 4, "helper_lr": 0.01},
    "sinareq": {"learn_bits": True},
    "stochastic_precision": {"unit": "layer"},
    "progressive": {"bits": [32, 8, 5], "two_stage": True},
    "distillation": {"features": {}, "temperature": 2.0},
}
QUANTIZERS: dict[str, dict[str, object]] = {
    "temperature": {"weight_method": "qn", "weight_bits": 3}
}
STEPS = 8


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_resumed_run_is_the_same_run(name: str) -> None:
    def training() -> Training:
        net = twin()
        model = prepared(net, **QUANTIZERS.get(name, {}))
        return Training(model, net, [strategy(name, OPTIONS.get(name))], STEPS)

    whole = training()
    saved = None
    for step in whole:
        if step.number == STEPS // 2 - 1:
            saved = whole.state()
    assert saved is not None
    whole.finish()
    again = training()
    again.load(saved)
    assert again.done == STEPS // 2
    again.train()
    assert same_state(whole.model, again.model)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_what_was_trained_converts_exactly(name: str) -> None:
    net = twin()
    model = prepared(net, **QUANTIZERS.get(name, {}))
    names = model.state_dict().keys()
    training = Training(model, net, [strategy(name, OPTIONS.get(name))], STEPS)
    training.train()
    assert model.state_dict().keys() == names
    x = data(1, seed=9)[0][0]
    expected, stored = training.model.stored(x), convert(training.model).stored(x)
    assert expected.keys() == stored.keys()
    assert all(torch.equal(expected[k], stored[k]) for k in expected)


@pytest.mark.parametrize(
    "names",
    [
        ("deep_projection", "sinareq", "distillation", "progressive"),
        ("stochastic_precision", "cluster", "gradient_quantization"),
        ("incremental", "distillation", "jarn"),
        ("progressive", "stochastic_precision", "cluster", "incremental"),
    ],
    ids="+".join,
)
@pytest.mark.parametrize(
    "quantizer",
    [
        {},
        {"weight_method": "dorefa", "weight_bits": 3, "act_method": "dorefa", "act_bits": 3},
        {"weight_method": "wrpn", "weight_bits": 3, "act_method": "lsq", "act_bits": 3},
    ],
    ids=["esb", "dorefa", "wrpn+lsq"],
)
def test_strategies_compose(names: tuple[str, ...], quantizer: dict[str, object]) -> None:
    net = twin()
    parts = strategies({"name": n, **OPTIONS.get(n, {})} for n in names)
    training = Training(prepared(net, **quantizer), net, parts, STEPS, lr=0.02)
    training.train()
    x = data(1, seed=9)[0][0]
    expected, stored = training.model.stored(x), convert(training.model).stored(x)
    assert all(torch.equal(expected[k], stored[k]) for k in expected)
    assert not any(module._forward_hooks for module in training.model.modules())


def test_the_registry_says_what_is_allowed() -> None:
    with pytest.raises(QuantizationError, match=r"one of .*cluster, deep_projection"):
        strategy("sinarek")
    with pytest.raises(QuantizationError, match=r"no parameter 'lamda'; it has lambda_w, learn"):
        strategy("sinareq", {"lamda": 1})
    with pytest.raises(QuantizationError, match="a strategy needs a name, one of"):
        strategies([{"lambda_w": 1.0}])
    with pytest.raises(QuantizationError, match="dimension must be at least 2, not 1"):
        strategy("deep_projection", {"dimension": 1})
    assert {"lambda_w", "align", "beta_lr"} <= set(parameters("sinareq"))


def test_layers_must_be_finished_before_conversion() -> None:
    net = twin()
    training = Training(prepared(net), net, [strategy("stochastic_precision")], STEPS)
    with pytest.raises(QuantizationError, match="finish the strategy before convert"):
        convert(training.model)
