"""Which layer counts as the last one: the last with weights, whatever pools its result."""

import pytest
import torch

from quant.graphs import Builder
from quant.test_operations import check, inputs
from sigbit.ir.floating import FloatGraph
from sigbit.quant import PreparedModel, QuantSpec, prepare
from sigbit.quant.layers.layer import QuantLayer


def pooled(kind: str, seed: int, *, second: bool = False) -> FloatGraph:
    """Three layers; what follows the last one; ``second``: and a fourth that reads that."""
    b = Builder(seed)
    x = b.relu(b.conv(b.input(3, 8, 8), 8))
    x = b.relu(b.conv(x, 8))
    x = b.relu(b.conv(x, 6, (1, 1), padding=(0, 0, 0, 0)))
    if kind == "average":
        x = b.average(x, (8, 8), (1, 1), 64)
    elif kind == "maximum":
        x = b.maxpool(x, (2, 2), (2, 2), (0, 0, 0, 0))
    elif kind == "both":
        x = b.average(b.maxpool(x, (2, 2), (2, 2), (0, 0, 0, 0)), (4, 4), (1, 1), 16)
    elif kind == "sum":
        x = b.plus(x, x)
    x = b.flatten(x)
    return b.graph(b.linear(x, 4) if second else x)


def weighted(prepared: PreparedModel) -> list[QuantLayer]:
    modules = (prepared.quant_module(p.name) for p in prepared.plan.layers)
    return [m for m in modules if isinstance(m, QuantLayer) and m.sources[0].trained]


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("kind", ["none", "average", "maximum", "both"])
def test_a_classifier_before_a_pooling_is_the_last_layer(kind: str, planes: int, seed: int) -> None:
    torch.manual_seed(seed)
    graph = pooled(kind, seed)
    x = inputs(graph)
    prepared = prepare(graph, QuantSpec(act_planes=planes), x)
    layers = weighted(prepared)
    assert [layer.terms[0] for layer in layers] == [2, 1, 2]
    assert layers[-1].grid.planes == 3
    # images that a pooled classifier reads keep their bits: only vectors are widened
    assert layers[1].grid.planes == (3 if kind == "none" else planes)
    check(prepared, x)


@pytest.mark.parametrize("kind", ["average", "both"])
def test_a_classifier_behind_the_pooling_is_the_only_last_layer(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    graph = pooled(kind, seed, second=True)
    layers = weighted(prepare(graph, QuantSpec(), inputs(graph)))
    assert [layer.terms[0] for layer in layers] == [2, 1, 1, 2]
