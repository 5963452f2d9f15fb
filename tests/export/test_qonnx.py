"""The exported ONNX model, run by ONNX's own reference, gives the integer model's values."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from sigbit.compiler.random_graph import Builder, random_graph, random_products
from sigbit.export import export_qonnx, onnx_model
from sigbit.ir.integer import Axes, Conv, Gather, Input, IntegerGraph, MaxPool
from sigbit.quant import IntegerModel, QuantSpec, convert, prepare
from sigbit.zoo import DigitsResNet
from sigbit_hw.arch.config import PRESETS

CONFIG = PRESETS["nano"]


def compare(graph: IntegerGraph, batch: int = 2) -> None:
    """Every tensor of every layer, ==."""
    rng = np.random.default_rng(3)
    stored = {n.name: rng.integers(n.low, n.high + 1, (batch, *n.type.shape)) for n in graph.inputs}
    wanted = graph.evaluate({k: torch.from_numpy(v) for k, v in stored.items()})
    model = onnx_model(graph, layers=True, stored=True)
    names = [o.name.removesuffix(".stored") for o in model.graph.output]
    feeds = {f"{k}.stored": v.astype(np.float32) for k, v in stored.items()}
    got = dict(zip(names, ReferenceEvaluator(model).run(None, feeds), strict=True))
    assert set(graph.outputs) <= set(got) | set(stored)
    compare_real(graph, batch, wanted)
    layers = [n.name for n in graph.nodes if n.name not in stored]
    assert layers
    for name in layers:
        assert got[name].dtype == np.float32
        assert np.array_equal(got[name], wanted[name].numpy()), name


def compare_real(graph: IntegerGraph, batch: int, layers: dict[str, torch.Tensor]) -> None:
    """From real inputs to real outputs, with ties and what is clipped; all layers at once."""
    inputs = {}
    for n in graph.inputs:
        half = np.random.default_rng(4).integers(
            2 * n.low - 3, 2 * n.high + 4, (batch, *n.type.shape)
        )
        x = n.type.scale * (half / 2 + n.type.zero)
        inputs[n.name] = n.axes.from_stored(x).astype(np.float32)
    model = onnx_model(graph, layers=True)
    onnx.checker.check_model(model, full_check=True)
    assert [i.name for i in model.graph.input] == list(inputs)
    names = [o.name for o in model.graph.output]
    got = dict(zip(names, ReferenceEvaluator(model).run(None, inputs), strict=True))
    integer = IntegerModel(graph)
    tensors = [torch.from_numpy(x) for x in inputs.values()]
    real = integer(*tensors)
    for name, want in zip(names, real if isinstance(real, tuple) else (real,), strict=False):
        assert np.array_equal(got[name], want.numpy()), name
    stored = integer.stored(*tensors)
    ends = {*graph.outputs, *graph.output_names}
    for name in layers.keys() - inputs.keys():
        assert np.array_equal(got[f"{name}.stored" if name in ends else name], stored[name]), name


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs(seed: int) -> None:
    compare(random_graph(np.random.default_rng(seed), CONFIG, layers=5))


@pytest.mark.parametrize("seed", range(4))
def test_random_products(seed: int) -> None:
    compare(random_products(np.random.default_rng(seed), CONFIG))


def every_feature() -> IntegerGraph:
    b = Builder(np.random.default_rng(5), CONFIG)
    x = b.input((4, 7, 6), 2)
    b.input((3, 5, 5), 1)
    first = b.conv(
        [
            b.source(x, 6, (3, 2), terms=2, stride=(2, 1), padding=(1, -1, 2, 2), groups=2),
            b.source(x, 6, (2, 3), stride=(2, 1), padding=(1, 1, 1, 1), dilation=(2, 1)),
        ]
    )
    pool = b.pool(first, (3, 2), (1, 2), (3, 0, -1, 1))
    up = b.conv([b.source(pool, 4, (3, 3), padding=(2, -1, 1, 2), upsampling=(2, 3))], 3)
    wide = b.conv([b.source(up, 8, (1, 1), terms=3)])
    mixed = b.gather([wide, wide], [(1, 3), (0, 0), (0, 3), (1, 7)])
    return b.graph(mixed, x)


def test_every_feature() -> None:
    graph = every_feature()
    kinds = {type(n) for n in graph.nodes}
    assert {Conv, MaxPool, Gather} <= kinds
    compare(graph)


def test_large_sums_take_float64() -> None:
    b = Builder(np.random.default_rng(6), CONFIG)
    x = b.input((64, 6, 6), 3)
    source = b.source(x, 4, (5, 5), terms=3)
    largest = max(CONFIG.weight_grid(3).values)
    rows = np.where(np.random.default_rng(0).random(source.weights.shape) < 0.5, largest, -1)
    graph = b.graph(b.conv([replace(source, weights=rows)]))
    kinds = {t.data_type for t in onnx_model(graph).graph.initializer}
    compare(graph)
    assert onnx.TensorProto.DOUBLE in kinds


def test_network() -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 1, 8, 8)
    compare(convert(prepare(DigitsResNet(), QuantSpec(), x)).graph)


def test_file_tells_scales(tmp_path: Path) -> None:
    graph = every_feature()
    export_qonnx(graph, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    told = json.loads({p.key: p.value for p in model.metadata_props}["sigbit"])
    assert told["values"] == "real"
    assert all(o.doc_string == "real values" for o in (*model.graph.input, *model.graph.output))
    for node in graph.nodes:
        end = isinstance(node, Input) or node.name in graph.outputs
        facts = told["tensors"][f"{node.name}.stored" if end else node.name]
        assert facts["scale"] == node.type.scale
        assert facts["zero"] == node.type.zero
    assert {n.domain for n in model.graph.node} == {""}
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def own(**changes: object) -> IntegerGraph:
    """A sequence in, vectors out under names of the user's, one of them that of another tensor."""
    b = Builder(np.random.default_rng(9), CONFIG)
    x = b.input((4, 4, 1), 2)
    first = b.conv([b.source(x, 5, (1, 1))])
    last = b.conv([b.source(first, 3, (4, 1))])
    graph = b.graph(last, first)
    nodes = (replace(graph.nodes[0], axes=Axes.SEQUENCE), *graph.nodes[1:])
    names = (first, "map")
    return replace(
        graph, nodes=nodes, output_axes=(Axes.FEATURES, Axes.IMAGE), output_names=names, **changes
    )


def test_own_names_shapes_and_axes() -> None:
    graph = own()
    model = onnx_model(graph)
    shapes = {
        end.name: [d.dim_value or d.dim_param for d in end.type.tensor_type.shape.dim]
        for end in (*model.graph.input, *model.graph.output)
    }
    name = graph.output_names[0]
    assert shapes == {
        graph.inputs[0].name: ["batch", 4, 4],
        name: ["batch", 3],
        "map": ["batch", 5, 4, 1],
    }
    compare(graph)


def test_the_qonnx_executor_takes_a_fixed_batch() -> None:
    """An executor of somebody else's, which refuses an open batch: the same real values."""
    pytest.importorskip("qonnx")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    graph = own()
    x = np.random.default_rng(1).normal(0, 9, (3, 4, 4)).astype(np.float32)
    with torch.no_grad():
        wanted = IntegerModel(graph)(torch.from_numpy(x))
    got = execute_onnx(ModelWrapper(onnx_model(graph, batch=3)), {graph.inputs[0].name: x})
    assert list(got) == list(graph.output_names)
    for value, want in zip(got.values(), wanted, strict=True):
        assert np.array_equal(value, want.numpy())
