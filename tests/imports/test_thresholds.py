"""FINN's MultiThreshold deploys with the codes that qonnx's executor computes."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import sigbit
from imports.executors import by_qonnx
from sigbit.compiler import compile_graph
from sigbit.errors import QuantizationError
from sigbit.frontend import UnsupportedModel, import_onnx
from sigbit.quant import PreparedModel, QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp

Floats = NDArray[np.float32]
N = helper.make_node
MICRO = PRESETS["micro"]
QONNX = "qonnx.custom_op.general"


def threshold(source: str, name: str, rows: str, **options) -> onnx.NodeProto:
    return N("MultiThreshold", [source, rows], [name], name=name, domain=QONNX, **options)


def model_of(nodes, arrays, shape, kind="INT4") -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in arrays.items()],
    )
    if kind:
        annotation = graph.quantization_annotation.add()
        annotation.tensor_name = "x"
        pair = annotation.quant_parameter_tensor_names.add()
        pair.key, pair.value = "finn_datatype", kind
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(QONNX, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def uniform(rng, channels: int, count: int, reach: float) -> Floats:
    """Integer thresholds of a quantizer behind a batch norm, a row a channel."""
    step = rng.uniform(0.1, 0.4, (channels, 1)) * reach / count
    offset = rng.uniform(-0.5, 0.5, (channels, 1)) * reach * 0.3
    middle = (np.arange(count) - count / 2 + 0.5) * step
    return np.sort(np.ceil(middle + offset), 1).astype(np.float32)


def prepared_of(model: onnx.ModelProto, x: Floats) -> PreparedModel:
    return post_training(import_onnx(model), torch.from_numpy(x), QuantSpec.from_arch(MICRO))


def differing(model: onnx.ModelProto, x: Floats) -> tuple[PreparedModel, Program, dict[str, int]]:
    """Values of the interpreter that are not the executor's, by MultiThreshold."""
    prepared = prepared_of(model, x)
    integer = convert(prepared)
    program = compile_graph(integer.graph, MICRO)
    stored = {n: v.numpy() for n, v in integer.stored(torch.from_numpy(x)).items()}
    codes = {**stored}
    feed = {p.name: stored[p.name] for p in program.inputs}
    codes |= Interp(MICRO).run(program, feed, layers=True).layers
    graph = import_onnx(model)
    want = [by_qonnx(model, x[i : i + 1]) for i in range(len(x))]
    found: dict[str, int] = {}
    names = {n.name for n in model.graph.node if n.op_type == "MultiThreshold"}
    tensors = {}
    for node in model.graph.node:
        for i in node.input:
            below = next((n for n in model.graph.node if i in n.output), None)
            if node.name in names and below is not None:
                tensors[below.name] = node.output[0]
        tensors[node.name] = tensors.get(node.name, node.output[0])
    for name in graph.quantizers:
        base = name.removesuffix(".quantized")
        if name not in codes or base not in tensors:
            continue
        kind = integer.graph[name].type
        wanted = np.concatenate([w[tensors[base]] for w in want]).astype(np.float64)
        got = kind.scale * (codes[name] + kind.zero).reshape(wanted.shape)
        found[name] = int((np.abs(got - wanted) > 1e-6).sum())
    return prepared, program, found


def network(rng, out_scale: float = 0.5) -> onnx.ModelProto:
    """Integer layers with thresholds a channel between them, one of them of one bit."""
    arrays = {
        "w1": rng.integers(-3, 4, (6, 2, 3, 3)),
        "t1": uniform(rng, 6, 7, 40),
        "w2": rng.choice([-1, 1], (5, 6, 1, 1)),
        "t2": uniform(rng, 5, 15, 12),
        "w3": rng.integers(-7, 8, (80, 4)),
        "t3": uniform(rng, 4, 1, 50),
        "w4": rng.integers(-7, 8, (4, 3)),
    }
    nodes = [
        N("Conv", ["x", "w1"], ["c1"], name="c1", pads=[1, 1, 1, 1]),
        threshold("c1", "m1", "t1", out_dtype="UINT3"),
        N("Conv", ["m1", "w2"], ["c2"], name="c2"),
        threshold("c2", "m2", "t2", out_dtype="INT4", out_scale=out_scale, out_bias=-8 * out_scale),
        N("Flatten", ["m2"], ["f"], name="f"),
        N("MatMul", ["f", "w3"], ["d3"], name="d3"),
        threshold("d3", "m3", "t3", out_dtype="BIPOLAR", out_scale=2.0, out_bias=-1.0),
        N("MatMul", ["m3", "w4"], ["d4"], name="d4"),
    ]
    return model_of(nodes, arrays, (2, 4, 4))


def test_a_network_of_thresholds_has_the_executors_values() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-8, 8, (12, 2, 4, 4)).astype(np.float32)
    prepared, _, found = differing(network(rng), x)
    assert prepared.inexact == {}
    assert {n: e.off for n, e in prepared.exactness.items() if e.off} == {}
    assert len(found) >= 3
    assert sum(found.values()) == 0


@pytest.mark.sim
@pytest.mark.slow
def test_the_gateware_has_them_too() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(-8, 8, (2, 2, 4, 4)).astype(np.float32)
    _, program, found = differing(network(rng), x)
    assert sum(found.values()) == 0
    assert sigbit.compare(program, x, "rtl").mismatches == 0


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 30),
    each=st.booleans(),
    regular=st.booleans(),
    bias=st.integers(-4, 0),
)
def test_any_thresholds(seed, count, each, regular, bias) -> None:
    """What is reported as exact is; elsewhere no more accumulators differ than reported."""
    rng = np.random.default_rng(seed)
    channels = 3
    rows = uniform(rng, channels if each else 1, count, 60)
    if not regular:
        rows = np.sort(rng.integers(-40, 41, rows.shape), 1)
    bias = max(bias, -count)
    arrays = {"w": rng.integers(-3, 4, (channels, 4, 1, 1)), "t": rows, "w2": np.ones((2, 3, 1, 1))}
    nodes = [
        N("Conv", ["x", "w"], ["c"], name="c"),
        threshold("c", "m", "t", out_dtype="INT8", out_bias=float(bias)),
        N("Conv", ["m", "w2"], ["y"], name="y"),
    ]
    model = model_of(nodes, arrays, (4, 3, 3))
    x = rng.integers(-8, 8, (16, 4, 3, 3)).astype(np.float32)
    if bias == -count:  # its levels leave out what is above 0
        with pytest.raises(QuantizationError, match="leave 0 out"):
            prepared_of(model, x)
        return
    prepared, _, found = differing(model, x)
    assert prepared.inexact == {}
    (off,) = (e.off for n, e in prepared.exactness.items() if n in found)
    if regular:
        assert off == 0
    if not off:
        assert sum(found.values()) == 0


@pytest.mark.parametrize(
    ("options", "rows", "reason"),
    [
        ({"data_layout": "NHWC"}, [[0.0]], "data_layout 'NHWC'"),
        ({"out_bias": 0.3}, [[0.0, 1.0]], "no multiple of out_scale"),
        ({"out_scale": -1.0}, [[0.0, 1.0]], "out_scale=-1"),
        ({}, [[1.0, 0.0]], "do not ascend"),
        ({}, [[0.0]] * 2, "thresholds of shape (2, 1) for 3 channels"),
        ({}, [[np.inf]], "not finite"),
    ],
)
def test_other_thresholds_are_refused_by_name(options, rows, reason) -> None:
    arrays = {"w": np.ones((3, 1, 1, 1)), "t": rows}
    nodes = [
        N("Conv", ["x", "w"], ["c"], name="c"),
        threshold("c", "m", "t", out_dtype="INT4", **options),
    ]
    with pytest.raises(UnsupportedModel) as error:
        import_onnx(model_of(nodes, arrays, (1, 2, 2)))
    (row,) = error.value.rows
    assert row.op == "MultiThreshold"
    assert reason in row.reason


def test_thresholds_of_weights_that_are_no_integers_are_refused() -> None:
    arrays = {"w": np.full((2, 1, 1, 1), 0.37), "t": [[0.5, 1.5]]}
    nodes = [N("Conv", ["x", "w"], ["c"], name="c"), threshold("c", "m", "t", out_dtype="UINT2")]
    x = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2) - 4
    with pytest.raises(QuantizationError, match="its weights are not quantized"):
        prepared_of(model_of(nodes, arrays, (1, 2, 2)), x)
