"""Models of operators on integers deploy with the codes that ONNX Runtime computes."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import sigbit
from imports.executors import by_onnxruntime
from sigbit.compiler import compile_graph
from sigbit.frontend import UnsupportedModel, import_onnx
from sigbit.ir.floating import FloatGraph
from sigbit.quant import IntegerModel, QuantSpec, convert
from sigbit.quant.layers.given import Exactness
from sigbit.quant.post import post_training
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.names import legal_name
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp

Floats = NDArray[np.float32]
N = helper.make_node
MICRO = PRESETS["micro"]
MICROSOFT = "com.microsoft"


@dataclass
class Deployed:
    graph: FloatGraph
    integer: IntegerModel
    program: Program
    exactness: dict[str, Exactness]
    inexact: dict[str, str]


def deployed(model: onnx.ModelProto, x: Floats) -> Deployed:
    graph = import_onnx(model)
    prepared = post_training(graph, torch.from_numpy(x), QuantSpec.from_arch(MICRO))
    integer = convert(prepared)
    program = compile_graph(integer.graph, MICRO)
    return Deployed(graph, integer, program, dict(prepared.exactness), dict(prepared.inexact))


def differing(model: onnx.ModelProto, x: Floats) -> tuple[Deployed, dict[str, int], int]:
    """Codes of the interpreter that are not ONNX Runtime's, by tensor of integers; how many were
    compared."""
    found = deployed(model, x)
    want = by_onnxruntime(model, x)
    stored = {n: v.numpy() for n, v in found.integer.stored(torch.from_numpy(x)).items()}
    feed = {
        p.name: stored[n.name]
        for p, n in zip(found.program.inputs, found.graph.inputs, strict=True)
    }
    codes = {**stored, **Interp(MICRO).run(found.program, feed, layers=True).layers}
    tensors = {found.graph.inputs[0].name: model.graph.node[0].output[0]}
    for node in model.graph.node:
        for name in (node.name, node.output[0]):
            tensors[legal_name(name.strip("/"))] = node.output[0]
    wrong: dict[str, int] = {}
    total = 0
    for name, quantizer in found.graph.quantizers.items():
        if name not in codes:
            continue
        wanted = want[tensors[name]].astype(np.int64) - int(quantizer.zero_point)
        got = (codes[name] + found.integer.graph[name].type.zero).reshape(wanted.shape)
        assert np.abs(got - wanted).max(initial=0) <= 1, name
        wrong[tensors[name]] = int((got != wanted).sum())
        total += wanted.size
    return found, wrong, total


def constant(name: str, array: NDArray[np.generic]) -> TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def model_of(nodes, constants, shape, result=("y", TensorProto.FLOAT)) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(*result, None)],
        constants,
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def network(rng: np.random.Generator) -> onnx.ModelProto:
    """A float network with a residual sum, two poolings, a grouped convolution and a product."""
    shapes = {"c1": (8, 3, 3, 3), "c2": (8, 8, 3, 3), "c3": (12, 2, 3, 3), "f": (5, 12)}
    constants = []
    for name, shape in shapes.items():
        reach = np.prod(shape[1:]) ** -0.5
        constants.append(constant(f"{name}.w", rng.normal(0, reach, shape).astype(np.float32)))
        constants.append(constant(f"{name}.b", rng.normal(0, 0.1, shape[0]).astype(np.float32)))
    pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        N("Conv", ["x", "c1.w", "c1.b"], ["t1"], name="c1", **pads),
        N("Relu", ["t1"], ["t2"], name="r1"),
        N("Conv", ["t2", "c2.w", "c2.b"], ["t3"], name="c2", **pads),
        N("Add", ["t3", "t2"], ["t4"], name="add"),
        N("MaxPool", ["t4"], ["t5"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        N("Conv", ["t5", "c3.w", "c3.b"], ["t6"], name="c3", group=4, strides=[2, 2], **pads),
        N("GlobalAveragePool", ["t6"], ["t7"], name="gap"),
        N("Flatten", ["t7"], ["t8"], name="flat"),
        N("Gemm", ["t8", "f.w", "f.b"], ["y"], name="f", transB=1),
    ]
    return model_of(nodes, constants, (3, 10, 10))


def by_operators(model: onnx.ModelProto, x: Floats, folder: Path, kind: str, *, per_channel: bool):
    """The network as ONNX Runtime quantizes it, with weights of 7 bits: its sums of
    products of 8 bits saturate on processors without instructions for them."""
    from onnxruntime import quantization as q

    class Samples(q.CalibrationDataReader):
        left = iter(x)

        def get_next(self):
            sample = next(self.left, None)
            return None if sample is None else {"x": sample[None]}

    onnx.save(model, folder / "float.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        q.quantize_static(
            folder / "float.onnx",
            folder / "integer.onnx",
            Samples(),
            quant_format=q.QuantFormat.QOperator,
            per_channel=per_channel,
            activation_type=getattr(q.QuantType, kind),
            weight_type=q.QuantType.QInt8,
            reduce_range=True,
        )
    return onnx.load(folder / "integer.onnx")


@pytest.mark.parametrize(
    ("kind", "per_channel"), [("QUInt8", True), ("QInt8", False)], ids=["uint8", "int8"]
)
def test_a_network_has_the_codes_of_onnx_runtime(tmp_path: Path, kind, per_channel) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(12, 3, 10, 10)).astype(np.float32)
    model = by_operators(network(rng), x, tmp_path, kind, per_channel=per_channel)
    operators = {n.op_type for n in model.graph.node}
    assert {"QLinearConv", "QGemm", "QLinearAdd", "QLinearGlobalAveragePool"} <= operators
    found, wrong, total = differing(model, x)
    assert found.inexact == {}
    assert {n: e.off for n, e in found.exactness.items() if e.off} == {}
    assert (len(wrong), sum(wrong.values())) == (7, 0)
    assert total > 10_000


def chain(rng: np.random.Generator) -> onnx.ModelProto:
    """Two convolutions, a maximum and a product, without a sum."""
    constants = [
        constant("c1.w", rng.normal(0, 0.3, (4, 2, 3, 3)).astype(np.float32)),
        constant("c1.b", rng.normal(0, 0.1, 4).astype(np.float32)),
        constant("c2.w", rng.normal(0, 0.3, (6, 4, 1, 1)).astype(np.float32)),
        constant("c2.b", rng.normal(0, 0.1, 6).astype(np.float32)),
        constant("f.w", rng.normal(0, 0.2, (3, 54)).astype(np.float32)),
        constant("f.b", rng.normal(0, 0.1, 3).astype(np.float32)),
    ]
    nodes = [
        N("Conv", ["x", "c1.w", "c1.b"], ["t1"], name="c1", pads=[1, 1, 1, 1]),
        N("Relu", ["t1"], ["t2"], name="r1"),
        N("MaxPool", ["t2"], ["t3"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        N("Conv", ["t3", "c2.w", "c2.b"], ["t4"], name="c2"),
        N("Flatten", ["t4"], ["t5"], name="flat"),
        N("Gemm", ["t5", "f.w", "f.b"], ["y"], name="f", transB=1),
    ]
    return model_of(nodes, constants, (2, 6, 6))


def test_every_code_of_a_chain_is_onnx_runtimes(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(64, 2, 6, 6)).astype(np.float32)
    model = by_operators(chain(rng), x, tmp_path, "QUInt8", per_channel=True)
    found, wrong, total = differing(model, x)
    assert (found.inexact, sum(wrong.values())) == ({}, 0)
    assert all(e.off == 0 for e in found.exactness.values())
    assert len(wrong) == 4
    assert total > 15_000


@pytest.mark.sim
@pytest.mark.slow
def test_the_gateware_has_them_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(2, 2, 6, 6)).astype(np.float32)
    model = by_operators(chain(rng), x, tmp_path, "QInt8", per_channel=False)
    found, wrong, _ = differing(model, x)
    assert sum(wrong.values()) == 0
    run = sigbit.compare(found.program, x, "rtl")
    assert run.mismatches == 0


@st.composite
def integers(draw) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """One operator on integers between QuantizeLinear and DequantizeLinear."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    op = draw(st.sampled_from(["QLinearConv", "QLinearMatMul", "QGemm"]))
    kind = draw(st.sampled_from([np.uint8, np.int8]))
    reach = np.iinfo(kind)
    per_channel, biased = draw(st.booleans()), draw(st.booleans())
    oc, ic = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    shape = (ic, 4, 5) if op == "QLinearConv" else (ic,)
    w_shape = {"QLinearConv": (oc, ic, 3, 2), "QLinearMatMul": (ic, oc), "QGemm": (oc, ic)}[op]
    count = oc if per_channel else 1
    scales = rng.uniform(0.002, 0.02, count).astype(np.float32)
    middle = (int(reach.min) + int(reach.max)) // 2
    constants = [
        constant("xs", np.float32(rng.uniform(0.01, 0.05))),
        constant("xz", np.asarray(middle + int(rng.integers(-20, 20)), kind)),
        constant("ws", scales if per_channel else scales[0]),
        constant("wz", np.zeros(count if per_channel else (), np.int8)),
        constant("w", rng.integers(-63, 64, w_shape).astype(np.int8)),
        constant("b", rng.integers(-3000, 3000, oc).astype(np.int32)),
        constant("ys", np.float32(rng.uniform(0.01, 0.1))),
        constant("yz", np.asarray(middle + int(rng.integers(-60, 60)), kind)),
    ]
    before, after, options = ["q", "xs", "xz", "w", "ws", "wz"], ["ys", "yz"], {}
    bias = ["b"] if biased and op != "QLinearMatMul" else []
    if op == "QLinearConv":
        operands = [*before, *after, *bias]
        options = {"pads": [1, 0, 1, 1], "strides": [1, 2]}
    elif op == "QLinearMatMul":
        operands = [*before, *after]
    else:
        operands, options = [*before, *(bias or [""]), *after], {"transB": 1}
    domain = MICROSOFT if op == "QGemm" else ""
    nodes = [
        N("QuantizeLinear", ["x", "xs", "xz"], ["q"], name="first"),
        N(op, operands, ["r"], name="op", domain=domain, **options),
        N("DequantizeLinear", ["r", "ys", "yz"], ["y"], name="last"),
    ]
    used = {i for n in nodes for i in n.input}
    return model_of(nodes, [c for c in constants if c.name in used], shape), shape


@settings(max_examples=8, deadline=None)
@given(integers())
def test_generated_operators_have_the_codes_of_onnx_runtime(case) -> None:
    model, shape = case
    x = np.random.default_rng(0).normal(0, 2, (16, *shape)).astype(np.float32)
    found, wrong, _ = differing(model, x)
    assert found.inexact == {}
    assert all(e.off * 10_000 <= e.accumulators for e in found.exactness.values())
    if not any(e.off for e in found.exactness.values()):
        assert sum(wrong.values()) == 0
    assert "r" in wrong


def quantized(nodes, extra=()) -> onnx.ModelProto:
    constants = [
        constant("s", np.float32(0.05)),
        constant("s2", np.array([0.05, 0.1], np.float32)),
        constant("z", np.uint8(128)),
        constant("w", np.ones((2, 2), np.uint8)),
        *extra,
    ]
    first = N("QuantizeLinear", ["x", "s", "z"], ["q"], name="first")
    return model_of([first, *nodes], constants, (2,))


LAST = N("DequantizeLinear", ["r", "s", "z"], ["y"], name="last")
OPERANDS = ["q", "s", "z", "w", "s", "z"]


@pytest.mark.parametrize(
    ("nodes", "op", "reason"),
    [
        (
            [N("QGemm", [*OPERANDS, "", "s", "z"], ["r"], domain=MICROSOFT, alpha=2.0), LAST],
            "QGemm",
            "alpha",
        ),
        (
            [N("QLinearMatMul", [*OPERANDS, "s2", "z"], ["r"]), LAST],
            "QLinearMatMul",
            "2 scales of its result",
        ),
        (
            [N("QLinearMatMul", ["q", "s2", "z", "w", "s", "z", "s", "z"], ["r"]), LAST],
            "QLinearMatMul",
            "2 scales or zero points of 'q'",
        ),
        ([N("QLinearMatMul", OPERANDS[:4], ["r"]), LAST], "QLinearMatMul", "missing"),
        (
            [N("QLinearMatMul", ["q", "x", "z", "w", "s", "z", "s", "z"], ["r"]), LAST],
            "QLinearMatMul",
            "computed by the network",
        ),
        (
            [N("DynamicQuantizeLinear", ["x"], ["d", "ds", "dz"]),
             N("MatMulInteger", ["d", "w", "dz"], ["r"]), N("Cast", ["r"], ["y"], to=1)],
            "DynamicQuantizeLinear",
            "not supported",
        ),
    ],
    ids=["alpha", "result", "operand", "missing", "computed", "dynamic"],
)  # fmt: skip
def test_what_has_no_such_form_is_refused_by_name(nodes, op: str, reason: str) -> None:
    with pytest.raises(UnsupportedModel) as error:
        import_onnx(quantized(nodes))
    rows = {row.op: row.reason for row in error.value.rows}
    assert reason in rows[op]
