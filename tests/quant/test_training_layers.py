"""Layers in training: norms of the batch, observed weights, replaced rounding, divergence."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quant.test_arithmetic import SIGNED, SPEC, conv, layer, plain, weights_of
from quant.test_folding import norm, numbers
from quant.test_layers import real
from sigbit.errors import QuantizationError
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.sources import accumulate
from sigbit.quant.layers.values import Arithmetic, Levels, Relaxation
from sigbit.quant.numbers.scales import scale_rule
from sigbit.quant.plan.plans import BiasPlan, SourcePlan
from sigbit.quant.quantizers import Quantizer


def test_norms_use_the_statistics_of_the_batch() -> None:
    """Two sources with a norm each, one without, a bias: sums of what is normalized."""
    values = {"w": numbers(4, 3, 2, 2), "v": numbers(4, 4, 1, 1), "b": numbers(4, seed=3)}
    first, second = (norm(name, 4, values) for name in "mn")
    sources = [
        conv(norms=(first,)),
        SourcePlan(tensor="y", channels=4, weight="v", norms=(second,)),
        plain("z"),
    ]
    biases = [BiasPlan("b", (first,)), BiasPlan(first), BiasPlan(second), BiasPlan("b")]
    made = layer(
        sources, values, biases=biases, quantizer=weights_of(), terms=(1, 2, 2),
        in_grids=(SIGNED,) * 3,
    )  # fmt: skip
    made.batch_statistics = True
    scales = [real(0.3), real(0.2), real(0.1)]
    inputs = [
        Levels(torch.randint(-60, 61, (3, c, *size)).double(), s)
        for c, size, s in zip((3, 4, 4), ((6, 7), (5, 6), (5, 6)), scales, strict=True)
    ]
    assert not made.normalizing
    made.train()
    assert made.normalizing
    before = {k: v.clone() for k, v in values.items()}
    plain_a = made.arithmetic(scales)
    with torch.no_grad():
        a, acc = made._normalized(plain_a, inputs)
    step = a.step.view(-1, 1, 1)
    wanted = before["b"].view(-1, 1, 1)
    for i, one in enumerate((first, second, None)):
        part = accumulate(None, inputs[i].levels, plain_a.weights[i], sources[i]) * step
        if one is not None:
            var, gamma, beta = (before[n] for n in (one.var, one.weight, one.bias))
            part = part / (gamma / torch.sqrt(var + one.eps)).view(-1, 1, 1)
            part = F.batch_norm(part, None, None, gamma, beta, training=True, eps=1e-12)
        wanted = wanted + part
    assert torch.allclose(acc * step + a.bias.view(-1, 1, 1), wanted.detach(), atol=1e-5)
    assert torch.allclose(a.bias, before["b"])
    moved = (a.requantization.base - plain_a.requantization.base) * a.step
    assert torch.allclose(moved, a.bias - plain_a.bias)
    assert all(
        not torch.equal(values[n], before[n]) for n in ("m.mean", "m.var", "n.mean", "n.var")
    )


def test_outputs_are_open() -> None:
    values = {"w": numbers(4, 3, 2, 2)}
    for is_output in (True, False):
        made = layer([conv()], values, quantizer=weights_of(), is_output=is_output)
        assert made.arithmetic([real(0.3)]).requantization.open == is_output


class Watched(Quantizer):
    """Remembers what it observes."""

    def observe(self, x: Tensor, scale: Tensor | None = None) -> None:
        self.seen = x


@pytest.mark.parametrize("folded", [True, False])
def test_weights_are_observed_in_training(folded: bool) -> None:
    """As they are quantized: with the norm's factor, or before."""
    values = {"w": numbers(4, 3, 2, 2)}
    one = norm("n", 4, values)
    quantizer = Watched(SPEC.weight_grid(1), scale_rule("mse"), 4)
    quantizer.folded = folded
    made = layer([conv(norms=(one,))], values, biases=[BiasPlan(one)], quantizer=quantizer)
    made.arithmetic([real(0.3)])
    assert not hasattr(quantizer, "seen")
    made.train()
    made.arithmetic([real(0.3)])
    assert torch.equal(quantizer.seen, made.real_weights()[0] if folded else values["w"])


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_diverged_layers_are_refused(wrong: float) -> None:
    """One channel is enough."""
    values = {"w": numbers(4, 3, 2, 2), "b": torch.tensor([0.0, wrong, 0.0, 0.0])}
    made = layer([conv()], values, biases=[BiasPlan("b")], quantizer=weights_of())
    with pytest.raises(QuantizationError, match="l \\(here\\): parameters or scales have become"):
        made.arithmetic([real(0.3)])


class Halves(Relaxation[QuantLayer]):
    """Half of every integer weight, and results of its own."""

    deployable = False

    def weights(self, layer: QuantLayer, index: int, real: Tensor, integers: Tensor) -> Tensor:
        assert bool(((real - integers).abs() <= 2).all())
        assert index == 0
        return integers / 2


class Ends(Halves):
    deployable = True

    def output(self, layer: QuantLayer, arithmetic: Arithmetic, acc: Tensor) -> Tensor:
        return acc * 0 + 5


def test_relaxations_replace_rounding() -> None:
    values = {"w": numbers(4, 3, 2, 2)}
    made = layer([conv()], values, quantizer=weights_of())
    (plain_weights,) = made.arithmetic([real(0.3)]).weights
    made.relaxations.append(Halves())
    (halved,) = made.arithmetic([real(0.3)]).weights
    assert torch.equal(halved, plain_weights / 2)
    with pytest.raises(QuantizationError, match="l \\(here\\): a training strategy still replaces"):
        made.deploy([real(0.3)])
    made.relaxations[:] = [Ends()]
    x = torch.ones(1, 3, 2, 2, dtype=torch.float64)
    assert made([Levels(x, real(0.3))]).levels.unique().tolist() == [5]
    made.deploy([real(0.3)])
