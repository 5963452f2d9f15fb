"""Every operation of the float graph: prepared, deployed and evaluated integers are the same, at
any number of planes and terms, and close to the float values at eight bits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from quant.graphs import GRAPHS, Builder
from sigbit.frontend import UnsupportedModel
from sigbit.ir.floating import UNARY, BatchNorm, FloatGraph
from sigbit.ir.integer import Axes, Conv, Gather, IntegerGraph, MaxPool
from sigbit.ir.model_file import model_digest
from sigbit.quant import (
    IntegerModel,
    PreparedModel,
    QuantizationError,
    QuantSpec,
    convert,
    prepare,
)

SPECS = {
    "4 bits": QuantSpec(),
    "7 bits": QuantSpec(weight_terms=2, act_planes=2),
    "8 bits": QuantSpec(weight_terms=2, act_planes=3, acc_bits=28, act_scale="range"),
    "learned": QuantSpec(weight_scale="learned", act_scale="learned"),
}


def inputs(graph: FloatGraph, batch: int = 6) -> tuple[Tensor, ...]:
    return tuple(torch.randn(batch, *n.shape, dtype=torch.float64) for n in graph.inputs)


def check(prepared: PreparedModel, x: tuple[Tensor, ...]) -> IntegerModel:
    """The integer model, proven equal on ``x``."""
    integer = convert(prepared)
    levels, stored = prepared.stored(*x), integer.stored(*x)
    evaluated = integer.graph.evaluate({i.name: stored[i.name] for i in integer.graph.inputs})
    assert list(levels) == list(stored) == list(evaluated)
    for name in stored:
        assert torch.equal(levels[name], stored[name]), name
        assert torch.equal(stored[name], evaluated[name]), name
    outputs = (o if isinstance(o, tuple) else (o,) for o in (prepared(*x), integer(*x)))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    assert any(len(v.unique()) > 3 for v in stored.values())
    return integer


def step(prepared: PreparedModel, x: tuple[Tensor, ...]) -> None:
    """A training step, so that nothing is where calibration left it."""
    outputs = prepared(*x)
    total = sum(o.square().mean() for o in (outputs if isinstance(outputs, tuple) else (outputs,)))
    total.backward()
    with torch.no_grad():
        for p in prepared.parameters():
            if p.grad is not None:
                assert bool(torch.isfinite(p.grad).all())
                p -= 0.01 * p.grad / (p.grad.norm() + 1e-9)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_tensor_is_equal(name: str, spec: str, seed: int) -> None:
    torch.manual_seed(seed)
    graph = GRAPHS[name](seed)
    x = inputs(graph)
    prepared = prepare(graph, SPECS[spec], x)
    step(prepared, x)
    check(prepared, tuple(torch.cat([v, 2 * torch.randn_like(v)]) for v in x))


@pytest.mark.parametrize("name", GRAPHS)
def test_eight_bits_follow_the_float_graph(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    graph = GRAPHS[name](seed)
    x = inputs(graph)
    got = prepare(graph, SPECS["8 bits"], x)(*x)
    values = graph.evaluate(dict(zip((n.name for n in graph.inputs), x, strict=True)))
    for output, a in zip(graph.outputs, got if isinstance(got, tuple) else (got,), strict=True):
        error = (a.detach() - values[output]).norm() / values[output].norm()
        assert float(error) < 0.12, output


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_come_back_from_a_file(name: str, seed: int, tmp_path: Path) -> None:
    graph = GRAPHS[name](seed)
    x = inputs(graph)
    integer = convert(prepare(graph, SPECS["8 bits"], x))
    digest = integer.save(tmp_path / "net.sbm")
    loaded = IntegerModel.load(tmp_path / "net.sbm")
    assert loaded.graph == integer.graph
    assert model_digest(loaded.graph) == digest
    want, got = integer(*x), loaded(*x)
    assert all(map(torch.equal, *(y if isinstance(y, tuple) else (y,) for y in (want, got))))


PARAMETERS = {
    "clamp": (-0.5, 2.0), "leaky_relu": (0.2,), "pow": (3.0,), "threshold": (0.5, 0.25),
    "log_between": (0.5, 2.0), "inverse_root": (0.1,),
}  # fmt: skip
STEPS = ("ceil", "floor", "frac", "hardshrink", "round", "sign", "threshold", "trunc")
"""Next to their steps, a small error becomes a large one."""
POSITIVE = (
    "inverse_root", "log", "log10", "log1p", "log2", "log_between", "reciprocal", "rsqrt", "sqrt",
)  # fmt: skip
"""Of numbers above 0 only."""
STEEP = ("cosh", "exp", "exp2", "expm1", "pow", "sinh")
"""Where they are large, so are the errors of what they read."""


@pytest.mark.parametrize("function", UNARY)
def test_functions_follow_their_float_selves(function: str, seed: int) -> None:
    torch.manual_seed(seed)
    b = Builder(seed)
    parameters = PARAMETERS.get(function, ())
    inner = b.conv(b.input(3, 6, 6), 4)
    if function in POSITIVE:
        one = b.parameter(4, low=0.5, high=1)
        plain = {"mean": b.parameter(4, low=0, high=0), "var": b.parameter(4, low=1, high=1)}
        positive = b.unary(inner, "softplus")
        inner = b.add(BatchNorm, (positive,), b.shape(inner), weight=one, bias=one, eps=0, **plain)
    out = b.unary(inner, function, *parameters)
    graph = b.graph(out)
    x = (torch.randn(16, 3, 6, 6, dtype=torch.float64),)
    prepared = prepare(graph, SPECS["8 bits"], x)
    got = prepared(*x)
    check(prepared, x)
    want = graph.evaluate({graph.inputs[0].name: x[0]})[out]
    limit = 0.25 if function in STEPS else 0.12 if function in STEEP else 0.05
    assert float(((got - want).norm() / want.norm()).detach()) < limit


def test_products_of_few_levels_of_a_method_are_exact(seed: int) -> None:
    """By squares, not by a table of pairs: the method prescribes the levels of the result."""
    torch.manual_seed(seed)
    b = Builder(seed)
    x, y = b.input(3, 5, 5), b.input(3, 1, 1)
    left, right = b.relu(b.conv(x, 3)), b.unary(y, "tanh")
    graph = b.graph(b.relu(b.times(left, right)), b.times(left, left))
    data = inputs(graph)
    bits = dict.fromkeys(graph.outputs, (4, 4))
    spec = QuantSpec(act_method="uniform", act_bits=4, layer_bits=bits)
    integer = check(prepare(graph, spec, data), data)
    stored = integer.stored(*data)
    level = {n.name: stored[n.name] + n.type.zero for n in integer.graph.nodes}
    for product, other in ((graph.outputs[0], right), (graph.outputs[1], left)):
        node = integer.graph[product]
        assert isinstance(node, Conv)
        zeros = {s.tensor: integer.graph[s.tensor].type.zero for s in node.sources}
        acc = integer.graph.accumulate(node, stored)
        (halves,) = {s.tensor.rpartition(".")[0] for s in node.sources}
        assert halves
        weights = [int(s.weights.ravel()[0]) for s in node.sources]
        acc = acc + sum(w * zeros[s.tensor] for w, s in zip(weights, node.sources, strict=True))
        factors = {abs(int(s.weights.ravel()[0])) for s in integer.graph[f"{halves}.sum"].sources}
        assert torch.equal(acc, level[left] * level[other] * int(np.prod(list(factors))))


def test_concatenated_tensors_share_their_grid(seed: int) -> None:
    graph = GRAPHS["dense block"](seed)
    integer = convert(prepare(graph, QuantSpec(), inputs(graph)))
    gathers = [n for n in integer.graph.nodes if isinstance(n, Gather)]
    assert len(gathers) == 4
    for node in gathers:
        assert not any(isinstance(integer.graph[t], Gather) for t in node.tensors)
    norms = [
        n
        for n in integer.graph.nodes
        if isinstance(n, Conv)
        and n.sources[0].tensor in {g.name for g in gathers}
        and n.sources[0].groups > 1
    ]
    assert norms
    assert any((n.sources[0].weights < 0).any() for n in norms), "signs of the norms' factors"


def lstm_arrays(graph: IntegerGraph) -> tuple[set[int], set[int], set[float]]:
    """Identities of the weights that read states, their tables, and the states' scales."""
    weights, tables, scales = set(), set(), set()
    for node in graph.nodes:
        if isinstance(node, Conv) and node.kind == "linear" and len(node.sources) == 2:
            weights |= {id(s.weights) for s in node.sources}
            tables.add(hash(node.table.tobytes()))
            scales.add(graph[node.sources[1].tensor].type.scale)
    return weights, tables, scales


def test_steps_of_a_recurrence_share_weights_tables_and_scales(seed: int) -> None:
    graph = GRAPHS["lstm"](seed)
    integer = convert(prepare(graph, QuantSpec(), inputs(graph)))
    weights, tables, scales = lstm_arrays(integer.graph)
    assert len(weights) == 8, "four gates, two matrices"
    assert len(tables) == 4
    assert len(scales) == 1, "h of all steps"
    *cells, last = [
        n
        for n in integer.graph.nodes
        if isinstance(n, Conv) and [s.tensor[:8] for s in n.sources] == 2 * ["multiply"]
    ]
    assert len(cells) == 3
    assert len({n.type.scale for n in cells}) == 1
    assert len({(id(n.sources[0].weights), n.table.tobytes()) for n in cells}) == 1
    assert last.table.tobytes() != cells[0].table.tobytes(), "tanh of the last state at once"


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((2, 2), (2, 2), (0, 0, 0, 0)),
        ((3, 3), (2, 2), (1, 1, 1, 1)),
        ((3, 3), (2, 2), (0, 0, 1, 1)),
        ((5, 1), (1, 2), (2, 0, 2, 0)),
        ((1, 4), (3, 3), (0, 1, 0, 2)),
        ((1, 1), (2, 2), (0, 0, 0, 0)),
    ],
    ids=str,
)
def test_maxima_of_eight_bits(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    seed: int,
) -> None:
    torch.manual_seed(seed)
    b = Builder(seed)
    left = b.relu(b.conv(b.input(3, 9, 10), 4))
    graph = b.graph(b.conv(b.maxpool(left, kernel, stride, padding), 2, (1, 1)), left)
    x = inputs(graph)
    pooled = next(n.name for n in graph.nodes if n.name.startswith("maxpool"))
    for spec in (SPECS["7 bits"], SPECS["8 bits"]):
        integer = check(prepare(graph, spec, x), x)
        assert not any(isinstance(n, MaxPool) for n in integer.graph.nodes)
        stored = integer.stored(*x)
        level = stored[left] + integer.graph[left].type.zero
        top, begin, bottom, end = padding
        padded = torch.nn.functional.pad(level.double(), (begin, end, top, bottom), value=-1e9)
        want = torch.nn.functional.max_pool2d(padded, kernel, stride).long()
        assert torch.equal(stored[pooled] + integer.graph[pooled].type.zero, want)


def test_bits_of_single_layers(seed: int) -> None:
    b = Builder(seed)
    first = b.relu(b.conv(b.input(3, 6, 6), 4))
    second = b.relu(b.conv(first, 4))
    graph = b.graph(b.conv(second, 2))
    x = inputs(graph)
    spec = QuantSpec(bits={first: (3, 2), second: (2, 1)}, wide_head=False)
    integer = check(prepare(graph, spec, x), x)
    nodes = {n.name: n for n in integer.graph.nodes if isinstance(n, Conv)}
    assert [(n.sources[0].terms, n.type.planes) for n in nodes.values()] == [(3, 2), (2, 1), (2, 3)]
    with pytest.raises(QuantizationError, match="bits names 'conv', which are no tensors"):
        prepare(graph, QuantSpec(bits={"conv": (1, 1)}), x)
    with pytest.raises(QuantizationError, match=r"bits of 'x' must be .* not \(1, 5\)"):
        QuantSpec(bits={"x": (1, 5)})


def test_signed_maxima_of_eight_bits_need_no_padding(seed: int) -> None:
    b = Builder(seed)
    left = b.unary(b.conv(b.input(2, 6, 6), 3), "tanh")
    pooled = b.maxpool(left, (3, 3), (1, 1), (1, 1, 1, 1))
    graph = b.graph(b.conv(pooled, 2))
    with pytest.raises(QuantizationError, match="padded maximum of values of both signs"):
        prepare(graph, SPECS["8 bits"], inputs(graph))
    check(prepare(graph, replace(SPECS["4 bits"], weight_terms=2), inputs(graph)), inputs(graph))


def test_vectors_that_do_not_fit_together_are_refused(seed: int) -> None:
    b = Builder(seed)
    x = b.input(3, 2, 2)
    flat = b.flatten(b.relu(b.conv(x, 3)))
    graph = b.graph(b.linear(b.plus(flat, b.linear(flat, 12)), 2))
    with pytest.raises(UnsupportedModel, match="joins images of different sizes"):
        prepare(graph, QuantSpec(), inputs(graph))
    b = Builder(seed)
    flat = b.flatten(b.relu(b.conv(b.input(3, 2, 2), 3)))
    graph = b.graph(b.linear(b.channels(flat, 1, 5), 2))
    with pytest.raises(UnsupportedModel, match="takes single pixels of a flattened image"):
        prepare(graph, QuantSpec(), inputs(graph))


def test_sequences_are_read_step_by_step(seed: int) -> None:
    b = Builder(seed)
    x = b.unary(b.image(b.input(4, 3), Axes.SEQUENCE, 3, 4, 1), "tanh")
    graph = b.graph(b.plus(b.linear(b.select(x, 1), 2), b.linear(b.select(x, 3), 2)))
    data = inputs(graph)
    integer = check(prepare(graph, SPECS["8 bits"], data), data)
    assert [n.type.shape for n in integer.graph.nodes][:2] == [(3, 4, 1)] * 2
    want = graph.evaluate({graph.inputs[0].name: data[0]})[graph.outputs[0]]
    assert float((integer(*data) - want).norm() / want.norm()) < 0.05
    whole = b.given(x, Axes.SEQUENCE)
    alone = FloatGraph("s", (*graph.nodes[:3], b.nodes[-1]), {}, (whole,))
    got = convert(prepare(alone, SPECS["8 bits"], data))(*data)
    assert isinstance(got, Tensor)
    torch.testing.assert_close(got, data[0].tanh(), atol=0.02, rtol=0)
