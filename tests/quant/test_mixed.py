"""Automatic mixed precision: goals hold, bits go where they matter, costs are the caller's."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quant.strategies.harness import data, graph, twin
from sigbit.quant import PreparedModel, QuantizationError, QuantSpec, convert, prepare
from sigbit.quant.post.mixed import Choice, Goal, Mixed, Sensitivity, Unit, mixed_precision
from sigbit.quant.post.mixed.path import moves, states
from sigbit.quant.post.mixed.search import weight_bits
from sigbit.quant.post.mixed.units import ACTIVATIONS, WEIGHTS

X = data(1)[0][0]
pytestmark = pytest.mark.network

SPEC = QuantSpec(input_range=(0.0, 1.0), first_last_terms=1)
BITS = ((1, 2), (1, 2, 3))
EVERYTHING = Goal(cost=1e9)


def products(model: PreparedModel) -> float:
    """Products of digits that the array computes."""
    found = convert(model).graph
    planes = {node.name: node.type.planes for node in found.nodes}
    total = 0
    for node in found.nodes:
        for s in getattr(node, "sources", ()):
            places = node.type.shape[1] * node.type.shape[2]
            total += s.weights.size * places * s.terms * planes[s.tensor]
    return float(total)


@pytest.fixture(scope="module")
def everything() -> Mixed:
    return mixed_precision(graph(), SPEC, X, *BITS, EVERYTHING, products)


def test_goals_hold_and_accuracy_falls_with_them(everything: Mixed) -> None:
    costs = [p.cost for p in everything.curve]
    assert everything.chosen in everything.curve
    assert costs == sorted(costs)
    assert everything.chosen.cost == costs[-1]
    budget = costs[0] + 0.4 * (costs[-1] - costs[0])
    found = mixed_precision(graph(), SPEC, X, *BITS, Goal(cost=budget), products)
    assert costs[0] < found.chosen.cost <= budget
    assert len(set(found.chosen.bits.values())) > 1
    assert everything.chosen.score.error < found.chosen.score.error
    assert found.chosen.score.error < everything.curve[0].score.error
    points = found.chosen.score.points
    cheap = mixed_precision(graph(), SPEC, X, *BITS, Goal(points=points), products)
    assert cheap.chosen.score.points <= points
    assert cheap.chosen.cost <= found.chosen.cost


def test_sensitivities_tell_weights_from_activations(everything: Mixed) -> None:
    kinds = {s.unit.kind for s in everything.sensitivities}
    assert kinds == {WEIGHTS, ACTIVATIONS}
    for s in everything.sensitivities:
        assert [c.bits for c in s.choices] == list(s.unit.choices)
        assert s.choices[-1].error == s.choices[0].cost == 0
        assert all(c.cost > 0 for c in s.choices[1:])
        assert s.choices[0].error >= 0
    plan = prepare(graph(), SPEC, X).plan
    (output,) = (p.name for p in plan.layers if plan.is_output(p.name))
    for kind in kinds:
        assert any(s.choices[0].error > 0 for s in everything.sensitivities if s.unit.kind == kind)
    assert not any(
        output in s.unit.layers for s in everything.sensitivities if s.unit.kind == ACTIVATIONS
    )


def test_the_least_bits_are_those_of_the_spec() -> None:
    spec = QuantSpec(input_range=(0.0, 1.0), bits={"relu": (1, 2)})
    before = prepare(graph(), spec, X)
    found = mixed_precision(graph(), spec, X, *BITS, Goal(cost=weight_bits(before)))
    after = prepare(graph(), found.spec, X)
    for name, (terms, planes) in found.chosen.bits.items():
        module = before.quant_module(name)
        assert (terms, planes) >= (module.terms[0], module.grid.planes)
    assert weight_bits(after) == weight_bits(before)
    assert found.chosen.bits["relu"][1] >= 2


def test_the_result_deploys_with_its_cost(everything: Mixed) -> None:
    model = prepare(graph(), everything.spec, X).eval()
    assert products(model) == everything.chosen.cost
    assert torch.equal(convert(model)(X), model(X))


def test_methods_take_bits() -> None:
    spec = QuantSpec(
        weight_method="uniform",
        weight_bits=4,
        act_method="uniform",
        act_bits=4,
        input_range=(0.0, 1.0),
    )
    found = mixed_precision(graph(), spec, X, (2, 6), (4,), EVERYTHING)
    assert found.spec.layer_bits.keys() == found.chosen.bits.keys()
    assert max(b[0] for b in found.chosen.bits.values()) == 6


@pytest.mark.parametrize("method", ["apot", "lq-nets", "qn", "uniform"])
def test_outputs_keep_their_grid(method: str) -> None:
    """Also where the activations' method has no 8 bits."""
    spec = QuantSpec(
        weight_method="lsq", weight_bits=4, act_method=method, act_bits=4, input_range=(0.0, 1.0)
    )
    before = prepare(graph(), spec, X)
    found = mixed_precision(graph(), spec, X, (2, 4), (2, 3), EVERYTHING)
    assert found.curve[0].cost < found.chosen.cost
    model = prepare(graph(), found.spec, X).eval()
    output = next(p.name for p in model.plan.layers if model.plan.is_output(p.name))
    assert model.quant_module(output).grid == before.quant_module(output).grid
    assert found.spec.layer_bits[output] == (found.chosen.bits[output][0], None)
    assert torch.equal(convert(model)(X), model(X))


def test_impossible_goals_are_refused() -> None:
    with pytest.raises(QuantizationError, match=r"below .*, the cost of the cheapest choice"):
        mixed_precision(graph(), SPEC, X, *BITS, Goal(cost=1.0))
    with pytest.raises(QuantizationError, match="at least one number of bits"):
        mixed_precision(graph(), SPEC, X, [], (1,), EVERYTHING)
    with pytest.raises(QuantizationError, match="points of accuracy with the most bits"):
        mixed_precision(graph(), SPEC, X, (1,), (1,), Goal(points=-1.0))
    with pytest.raises(QuantizationError, match="one of them"):
        Goal()


def test_the_default_cost_counts_stored_weights() -> None:
    found = mixed_precision(graph(), SPEC, X, (1,), (1,), EVERYTHING)
    net = twin()
    weights = sum(p.numel() for n, p in net.named_parameters() if p.dim() > 1 and "bn" not in n)
    assert found.chosen.cost == weight_bits(prepare(net, found.spec, X)) == 4 * weights


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=3), min_size=1, max_size=4), st.data()
)
def test_every_network_of_the_path_is_a_best_one(
    errors: list[list[float]], data: st.DataObject
) -> None:
    """No other choice of bits has less error for the same cost, if both add up."""
    found = []
    for number, row in enumerate(errors):
        bits = tuple(range(1, len(row) + 1))
        costs = [0.0, *(data.draw(st.integers(1, 9)) for _ in row[1:])]
        choices = zip(bits, [*row[:-1], 0.0], sorted(costs), strict=True)
        unit = Unit(WEIGHTS, (f"layer{number}",), bits)
        found.append(Sensitivity(unit, tuple(Choice(*c) for c in choices)))
    taken = moves(found)
    assert all(a.slope >= b.slope for a, b in pairwise(taken))
    combinations = [(0.0, 0.0)]
    for s in found:
        combinations = [(c + k.cost, e + k.error) for c, e in combinations for k in s.choices]
    for state in states({s.unit: 1 for s in found}, taken):
        mine = [s.choices[state[s.unit] - 1] for s in found]
        cost, error = sum(c.cost for c in mine), sum(c.error for c in mine)
        assert all(e >= error - 1e-9 for c, e in combinations if c <= cost + 1e-9)
