"""Automatic mixed precision: budgets hold, bits go where they matter, costs are the caller's."""

import pytest
import torch

from quant.strategies.harness import data, graph, twin
from sigbit.quant import PreparedModel, QuantizationError, QuantSpec, convert, prepare
from sigbit.quant.post.mixed import mixed_precision, weight_bits

X = data(1)[0][0]
SPEC = QuantSpec(input_range=(0.0, 1.0), first_last_terms=1)
CHOICES = [(1, 1), (2, 1), (2, 2)]


def test_budgets_hold_and_errors_fall_with_them() -> None:
    everything = mixed_precision(graph(), SPEC, X, CHOICES, 1e9)
    for name, row in everything.sensitivity.items():
        assert everything.bits[name] == min(row, key=lambda c: c.error).bits
    finest = everything.sensitivity[next(iter(everything.bits))][0].cost
    found = mixed_precision(graph(), SPEC, X, CHOICES, 0.6 * finest)
    assert found.cost <= 0.6 * finest
    assert len(set(found.bits.values())) > 1
    assert all(found.spec.bits[n][0] == b[0] for n, b in found.bits.items())
    assert found.error > everything.error


def test_the_cost_is_the_callers_and_the_result_deploys() -> None:
    seen: list[float] = []

    def adders(model: PreparedModel) -> float:
        """Additions: weights other than 0, times the digits of what they multiply."""
        graph = convert(model).graph
        total = 0
        for node in graph.nodes:
            for source in getattr(node, "sources", ()):
                total += int((source.weights != 0).sum()) * source.terms
        seen.append(float(total))
        return float(total)

    cheapest = mixed_precision(graph(), SPEC, X, CHOICES[:1], 1e9, adders)
    finest = mixed_precision(graph(), SPEC, X, CHOICES[-1:], 1e9, adders)
    budget = (cheapest.cost + finest.cost) / 2
    found = mixed_precision(graph(), SPEC, X, CHOICES, budget, adders)
    assert cheapest.cost <= found.cost <= budget < finest.cost
    assert found.cost in seen
    assert finest.error <= found.error * 1.5
    layers = len(found.sensitivity)
    assert all(len(row) == len(CHOICES) for row in found.sensitivity.values())
    assert layers == 4


def test_methods_take_bits() -> None:
    spec = QuantSpec(
        weight_method="uniform",
        weight_bits=4,
        act_method="uniform",
        act_bits=4,
        input_range=(0.0, 1.0),
    )
    found = mixed_precision(graph(), spec, X, [(2, 4), (6, 4)], 1e9)
    assert found.spec.layer_bits.keys() == found.bits.keys()
    assert max(b[0] for b in found.bits.values()) == 6


@pytest.mark.parametrize("method", ["apot", "lq-nets", "qn", "uniform"])
def test_outputs_keep_their_grid(method: str) -> None:
    """Also where the activations' method has no 8 bits."""
    spec = QuantSpec(
        weight_method="lsq", weight_bits=4, act_method=method, act_bits=4, input_range=(0.0, 1.0)
    )
    before = prepare(graph(), spec, X)
    least, most = (mixed_precision(graph(), spec, X, [b], 1e9).cost for b in [(2, 2), (4, 3)])
    found = mixed_precision(graph(), spec, X, [(2, 2), (4, 3)], (least + most) / 2)
    assert least < found.cost < most
    model = prepare(graph(), found.spec, X).eval()
    output = next(p.name for p in model.plan.layers if model.plan.is_output(p.name))
    assert model.quant_module(output).grid == before.quant_module(output).grid
    assert found.spec.layer_bits[output] == (found.bits[output][0], None)
    assert torch.equal(convert(model)(X), model(X))


def test_impossible_budgets_are_refused() -> None:
    least = mixed_precision(graph(), SPEC, X, [(1, 1)], 1e9).cost
    with pytest.raises(QuantizationError, match=r"below .*, the cost of the cheapest choice"):
        mixed_precision(graph(), SPEC, X, CHOICES, least * 0.9)
    with pytest.raises(QuantizationError, match="at least one pair"):
        mixed_precision(graph(), SPEC, X, [], 1.0)


def test_the_default_cost_counts_stored_weights() -> None:
    found = mixed_precision(graph(), SPEC, X, [(1, 1)], 1e9)
    net = twin()
    weights = sum(p.numel() for n, p in net.named_parameters() if p.dim() > 1 and "bn" not in n)
    assert found.cost == weight_bits(prepare(net, found.spec, X)) == 4 * weights
