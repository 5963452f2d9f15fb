"""Random models of QONNX's quantizers deploy with the integers that qonnx's executor computes.

Scales are numbers of few bits, so that the executor's float32 is exact.
"""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from examples import examples
from imports.executors import Floats, compare
from sigbit_hw.arch.config import PRESETS

pytest.importorskip("qonnx")
NANO = PRESETS["nano"]
QONNX = "qonnx.custom_op.general"
N = helper.make_node
ROUNDINGS = ("ROUND", "HALF_EVEN", "HALF_UP", "HALF_DOWN", "FLOOR", "CEIL", "UP", "DOWN")
Quantizer = tuple[str, tuple[Any, ...], dict[str, Any]]
"""Operator, operands behind the tensor, attributes."""


@st.composite
def quantizers(draw: st.DrawFn, size: float) -> Quantizer:
    """Quantizers of tensors with values of about ``size``."""
    kind = draw(st.sampled_from(["Quant", "Quant", "IntQuant", "BipolarQuant", "FloatQuant"]))
    mantissa = draw(st.integers(33, 63))
    if kind == "BipolarQuant":
        return kind, (mantissa / 64,), {}
    rounding = {"rounding_mode": draw(st.sampled_from(ROUNDINGS))}
    if kind == "FloatQuant":
        exponent, digits = draw(st.sampled_from([(2, 0), (2, 1), (2, 2)]))
        scale = mantissa / 64 * size / 8
        plain = {"has_inf": 0, "has_nan": 0, "has_subnormal": 1, "saturation": 1}
        return kind, (scale, exponent, digits, 1, 100.0), rounding | plain
    bits, signed = draw(st.integers(2, 8)), draw(st.booleans())
    low = -(2 ** (bits - 1)) if signed else 0
    zero = draw(st.integers(low + 1, low + 2**bits - 3)) if bits > 2 else 0
    zero = draw(st.sampled_from([0, zero]))
    scale = mantissa / 64 * size * 2.0 ** (2 - bits)
    narrow = {"signed": int(signed), "narrow": int(draw(st.booleans()))}
    return kind, (scale, zero, bits), rounding | narrow


@st.composite
def models(draw: st.DrawFn) -> tuple[onnx.ModelProto, dict[str, Quantizer]]:
    """A convolution, its quantizer, a product, its quantizer; and the quantizers by output."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    constants: dict[str, Floats] = {}
    nodes: list[onnx.NodeProto] = []

    def add(tensor: str, quantizer: Quantizer) -> str:
        kind, operands, attributes = quantizer
        names = [f"{tensor}.{i}" for i in range(len(operands))]
        values = (np.asarray(o, np.float32) for o in operands)
        constants.update(zip(names, values, strict=True))
        nodes.append(N(kind, [tensor, *names], [f"{tensor}.q"], domain=QONNX, **attributes))
        return f"{tensor}.q"

    def weight(name: str, shape: tuple[int, ...], axis: int) -> str:
        bits = draw(st.integers(1, 8))
        wide = [shape[axis] if a == axis else 1 for a in range(len(shape))]
        wide = wide if draw(st.booleans()) else [1] * len(shape)
        scale = 2.0 ** -(bits + random.integers(0, 2, wide))
        constants[name] = random.normal(0, 0.4, shape).astype(np.float32)
        if bits == 1:
            return add(name, ("BipolarQuant", (scale,), {}))
        return add(name, ("Quant", (scale, 0, bits), {"signed": 1, "narrow": 1}))

    own = {"b": draw(quantizers(2.0)), "d": draw(quantizers(2.0))}
    x = add("x", ("Quant", (1 / 64, 0, 8), {"signed": 1, "narrow": 0}))
    nodes.append(N("Conv", [x, weight("w", (5, 3, 3, 3), 0)], ["a"], pads=[1, 1, 0, 0]))
    if draw(st.booleans()):
        nodes.append(N("Relu", ["a"], ["b"]))
    else:
        nodes.append(N("Identity", ["a"], ["b"]))
    nodes.append(N("Flatten", [add("b", own["b"])], ["f"]))
    nodes.append(N("MatMul", ["f", weight("v", (80, 4), 1)], ["d"]))
    output = add("d", own["d"])
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4, 3, 5, 5))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, (4, 4))],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(QONNX, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), own


@settings(max_examples=examples(20), deadline=None, derandomize=True)
@given(models())
def test_every_integer_is_the_executors(
    drawn: tuple[onnx.ModelProto, dict[str, Quantizer]],
) -> None:
    """Where a layer has all its codes; elsewhere, at most one accumulator in 10,000 misses its own.
    Rounding towards or away from 0 is only counted: of 256 levels the lowest is left out, and away
    from 0 there is a single accumulator for 0."""
    model, quantizers = drawn
    x = (np.random.default_rng(1).integers(-128, 128, (4, 3, 5, 5)) / 64).astype(np.float32)
    found = compare(model, x, NANO)
    assert found.prepared.inexact == {}
    assert len(found.prepared.exactness) == 2
    assert found.differing["x"] == 0
    for name, exactness in found.prepared.exactness.items():
        kind, operands, attributes = quantizers["d" if name.startswith("d") else "b"]
        few = kind != "FloatQuant" and (kind == "BipolarQuant" or operands[2] <= 4)
        if attributes.get("rounding_mode") not in ("UP", "DOWN"):
            assert exactness.off <= (0 if few else exactness.accumulators / 10_000)
        if exactness.off:
            return  # what follows may differ
        assert found.differing[name] == 0
