"""No attribute or operand of a translated ONNX operator is ignored: moved away from its default,
the import computes what ONNX's reference computes, or is refused by the documented exception.

The schemas are ONNX's own: an operator, attribute or optional operand that nothing here tries fails
the test.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from sigbit.frontend import UnsupportedModel, import_onnx
from sigbit.frontend.accounting import NEUTRAL_ONNX
from sigbit.frontend.onnx.operators import OPERATORS, QONNX

Array = NDArray[np.generic]
OPSET = 21


def f32(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def i64(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


@dataclass
class Base:
    """A supported call: the input's shape, the constant operands behind it, attributes."""

    shape: tuple[int, ...] = (2, 4, 6, 6)
    operands: Sequence[Array | None] = ()
    attributes: dict[str, Any] = field(default_factory=dict)


V, S = (2, 6), (2, 3, 5)
RECURRENT = {"hidden_size": 4, "layout": 1}
BASES: dict[str, Base] = {
    "Conv": Base(operands=[f32(8, 4, 3, 3)]),
    "ConvTranspose": Base(operands=[f32(4, 8, 3, 3)], attributes={"strides": [2, 2]}),
    "Gemm": Base(V, [f32(6, 6), f32(6)]),
    "MatMul": Base(V, [f32(6, 5)]),
    "LayerNormalization": Base((2, 3, 6), [f32(6) + 2, f32(6)]),
    "GroupNormalization": Base(operands=[f32(4) + 2, f32(4)], attributes={"num_groups": 2}),
    "InstanceNormalization": Base(operands=[f32(4) + 2, f32(4)]),
    "BatchNormalization": Base(operands=[f32(4), f32(4), f32(4), abs(f32(4)) + 1]),
    "MaxPool": Base(attributes={"kernel_shape": [3, 3], "strides": [2, 2]}),
    "AveragePool": Base(attributes={"kernel_shape": [3, 3], "strides": [2, 2]}),
    "ReduceMean": Base(operands=[i64(2, 3)]),
    "ReduceSum": Base(operands=[i64(2, 3)]),
    "ReduceMax": Base(operands=[i64(2, 3)]),
    "Pad": Base(operands=[i64(0, 0, 1, 2, 0, 0, 0, 1)]),
    **{op: Base(operands=[f32(4, 1, 1) + 3]) for op in ("Add", "Sub", "Mul", "Div", "Sum")},
    "Pow": Base(operands=[np.float32(2)]),
    "PRelu": Base(operands=[np.full((1,), 0.3, np.float32)]),
    "Clip": Base(operands=[np.float32(-0.5), np.float32(0.5)]),
    "Softmax": Base(V),
    "LogSoftmax": Base(V),
    "ArgMax": Base(V, attributes={"axis": 1, "keepdims": 0}),
    "Transpose": Base((2, 3, 1, 1), attributes={"perm": [0, 1, 3, 2]}),
    "Reshape": Base(operands=[i64(0, -1)]),
    "Squeeze": Base((2, 3, 1, 1), [i64(2, 3)]),
    "Unsqueeze": Base(V, [i64(2, 3)]),
    "Gather": Base(operands=[i64(2, 0, 1)], attributes={"axis": 1}),
    "Slice": Base(operands=[i64(1), i64(3), i64(1)]),
    "Split": Base(operands=[i64(4)], attributes={"axis": 1}),
    "Concat": Base(operands=[], attributes={"axis": 1}),
    "Expand": Base((2, 4, 1, 1), [i64(2, 4, 3, 2)]),
    "Tile": Base(operands=[i64(1, 2, 1, 1)]),
    "Resize": Base(
        operands=[None, np.array([1, 1, 2, 2], np.float32)],
        attributes={"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    "Cast": Base(attributes={"to": TensorProto.FLOAT}),
    "Shape": Base(),
    "LSTM": Base(S, [f32(1, 16, 5), f32(1, 16, 4)], RECURRENT),
    "GRU": Base(S, [f32(1, 12, 5), f32(1, 12, 4)], {**RECURRENT, "linear_before_reset": 1}),
    "ReduceMin": Base(operands=[i64(2, 3)]),
    "Max": Base(operands=[np.float32(0.5)]),
    "Min": Base(operands=[np.float32(0.5)]),
    "Mean": Base(operands=[f32(4, 1, 1) + 3]),
    "CastLike": Base(operands=[np.float32(1)]),
    "DepthToSpace": Base((2, 4, 1, 1), attributes={"blocksize": 2}),
    "SpaceToDepth": Base((2, 4, 2, 2), attributes={"blocksize": 2}),
    **{
        op: Base()
        for op in (
            "Asinh", "Atan", "Ceil", "Celu", "Cos", "Cosh", "Erf", "Exp", "Floor", "Round",
            "Shrink", "Sin", "Sinh", "Softsign", "ThresholdedRelu",
            "Abs", "Dropout", "Elu", "Flatten", "Gelu", "GlobalAveragePool", "GlobalMaxPool",
            "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish", "Neg", "Relu", "Selu",
            "Log", "Reciprocal", "Sigmoid", "Sign", "Softplus", "Sqrt", "Tanh",
        )
    },
}  # fmt: skip
ELSEWHERE = {
    "Einsum": "has an equation for its operands, in test_onnx",
    "Upsample": "is Resize before opset 10, in test_onnx",
    "Where": "has the mask in front, in test_forms",
    "Swish": "is of opset 24, which the other operators are not tried at: in test_judges",
    "QuantizeLinear": "in test_onnx_quant, with DequantizeLinear behind it",
    "DequantizeLinear": "in test_onnx_quant, behind QuantizeLinear",
    **dict.fromkeys(QONNX, "in test_onnx_quant"),
}

OTHERS: dict[str, list[Any]] = {
    "num_groups": [4, 1],
    "auto_pad": ["SAME_UPPER", "SAME_LOWER", "VALID"],
    "kernel_shape": [[3, 3], [2, 3], [2, 2]],
    "pads": [[1, 0, 2, 1], [1, 1, 1, 1]],
    "strides": [[1, 2], [3, 1]],
    "dilations": [[2, 1]],
    "output_padding": [[1, 0]],
    "output_shape": [[12, 13], [11, 11]],
    "group": [2, 4],
    "mode": ["reflect", "edge", "linear", "cubic"],
    "coordinate_transformation_mode": [
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
        "tf_crop_and_resize",
    ],
    "nearest_mode": ["round_prefer_floor", "round_prefer_ceil", "ceil"],
    "keep_aspect_ratio_policy": ["not_larger"],
    "axes": [[2, 3], [2]],
    "blocksize": [1, 2],
    "perm": [[0, 2, 1, 3], [1, 0, 2, 3], [0, 3, 1, 2]],
    "axis": [0, 1, 2, -1],
    "approximate": ["tanh"],
    "direction": ["reverse"],
    "activations": [["Sigmoid", "Relu", "Tanh"], ["Relu", "Tanh"]],
    "activation_alpha": [[0.5, 0.5, 0.5]],
    "activation_beta": [[0.5, 0.5, 0.5]],
    "clip": [0.1],
    "to": [TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.BOOL],
    "start": [1],
    "end": [3],
    "num_outputs": [1],
    "seed": [3],
    "hidden_size": [4],
    "momentum": [0.5],
    "training_mode": [1],
}  # fmt: skip
"""Other values of attributes, by name."""

OPERANDS: dict[tuple[str, str], list[Array]] = {
    ("*", "B"): [f32(8), f32(6), f32(6, 6, seed=2), f32(1, 32), f32(1, 24), f32(6, 5), f32(1)],
    ("*", "C"): [f32(2, 6), f32(1)],
    ("*", "A"): [f32(2, 6)],
    ("*", "W"): [f32(4, 4, 3, 2), f32(4, 4, 3, 3)],
    ("*", "R"): [f32(1, 16, 4, seed=4)],
    ("*", "X"): [],
    ("*", "axes"): [i64(2), i64(3), i64(1), i64(1, 2), i64(-1)],
    ("*", "pads"): [i64(1, 1), i64(0, 1, 1, 2, 0, 2, 0, 1), i64(0, 0, -1, 0, 0, 0, 0, 0)],
    ("*", "constant_value"): [np.float32(0), np.float32(1)],
    ("*", "shape"): [i64(2, 4, 36), i64(-1, 144), i64(1, -1), i64(2, 4, 2, 1)],
    ("*", "repeats"): [i64(1, 1, 2, 1), i64(2, 1, 1, 1)],
    ("*", "min"): [np.float32(0)],
    ("*", "max"): [np.float32(2), np.float32(-1)],
    ("*", "indices"): [i64(-1), np.array(1), np.array([[0, 1]])],
    ("*", "starts"): [i64(0), i64(-2)],
    ("*", "ends"): [i64(4), i64(-1)],
    ("*", "steps"): [i64(2), i64(-1)],
    ("*", "split"): [],
    ("*", "roi"): [f32(8)],
    ("*", "scales"): [
        np.array([1, 1, 1.5, 2], np.float32), np.array([1, 1, 2.6, 1], np.float32),
        np.array([1, 1, 0.4, 0.5], np.float32),
    ],
    ("*", "sizes"): [i64(2, 4, 12, 18), i64(2, 4, 9, 6), i64(2, 4, 3, 2)],
    ("*", "ratio"): [np.float32(0.3)],
    ("*", "training_mode"): [np.array(True)],
    ("*", "sequence_lens"): [np.array([3, 2], np.int32), np.array([3, 3], np.int32)],
    ("*", "initial_h"): [f32(2, 1, 4), np.zeros((2, 1, 4), np.float32)],
    ("*", "initial_c"): [f32(2, 1, 4), np.zeros((2, 1, 4), np.float32)],
    ("*", "P"): [f32(1, 12)],
    ("*", "slope"): [f32(4, 1, 1)],
    ("*", "Y"): [np.float32(3), np.float32(0.5)],
    ("*", "Scale"): [f32(6, seed=9), f32(3, 6), f32(1)],
    **{("*", name): [f32(4, seed=9)] for name in ("scale", "bias", "input_mean", "input_var")},
}  # fmt: skip
"""Other values of constant operands, by their names in the schema."""

NO_OTHER = {
    ("Concat", "inputs"), ("Sum", "data_0"), ("MatMul", "A"), ("Gemm", "A"),
    ("Split", "split"), ("Shape", "data"),
    ("LSTM", "W"), ("GRU", "W"), ("GRU", "R"), ("BatchNormalization", "B"),
    ("LSTM", "activation_alpha"), ("LSTM", "activation_beta"), ("GRU", "activation_alpha"),
    ("GRU", "activation_beta"), ("LSTM", "clip"), ("GRU", "clip"), ("GRU", "activations"),
    ("LSTM", "activations"), ("LSTM", "direction"), ("GRU", "direction"),
    ("ConvTranspose", "group"), ("ConvTranspose", "output_shape"),
    ("Gemm", "transA"), ("Reshape", "allowzero"),
    ("Resize", "antialias"), ("Dropout", "training_mode"), ("Mean", "data_0"),
    ("Max", "data_0"), ("Min", "data_0"), ("CastLike", "target_type"),
    ("LayerNormalization", "stash_type"), ("GroupNormalization", "stash_type"),
    ("LSTM", "input_forget"),
    ("GRU", "sequence_lens"), ("LSTM", "sequence_lens"),
}  # fmt: skip
"""What the reference ignores, or has no other value of: refusals are tested by name below."""


TOGETHER: dict[tuple[str, str], tuple[Sequence[Array | None], dict[str, Any]]] = {
    ("Conv", "group"): ([f32(8, 2, 3, 3)], {"group": 2}),
    ("Pad", "axes"): ([i64(1, 2, 0, 1), None, i64(2, 3)], {}),
    ("Shrink", "bias"): ([], {"bias": 0.5, "lambd": 0.5}),
}
"""Operands and attributes that go together."""

REFERENCE_IS_WRONG = {("MaxPool", "auto_pad", "SAME_LOWER"): "pads at the end: see below"}


def build(op: str, base: Base, operands: Sequence[Array | None], attributes: dict[str, Any]):
    names = ["x", *("" if o is None else f"c{i}" for i, o in enumerate(operands))]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, base.shape)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(o), f"c{i}") for i, o in enumerate(operands)
         if o is not None],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def tried(op: str, base: Base, operands: Sequence[Array | None], attributes: dict[str, Any]):
    """Whether the import is right (True) or refused (False); None where the reference refuses."""
    proto = build(op, base, operands, attributes)
    x = f32(*base.shape, seed=7)
    try:
        with np.errstate(all="ignore"):
            (want,) = ReferenceEvaluator(proto).run(None, {"x": x})
    except Exception:  # the reference's own refusals have many types
        want = None
    try:
        graph = import_onnx(proto)
    except UnsupportedModel:
        return None if want is None else False
    if want is None:
        return None
    with torch.no_grad():
        (got,) = graph.results({"x": torch.from_numpy(x)})
    text = f"{op} {attributes} {[None if o is None else o.tolist() for o in operands]}"[:300]
    assert tuple(got.shape) == want.shape, text
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-5, err_msg=text)
    return True


def test_every_operator_is_tried() -> None:
    assert set(OPERATORS) == set(BASES) | set(ELSEWHERE)


@pytest.mark.parametrize("op", BASES)
def test_no_attribute_is_ignored(op: str) -> None:
    base = BASES[op]
    tried(op, base, base.operands, base.attributes)
    for name, attribute in onnx.defs.get_schema(op, OPSET, "").attributes.items():
        default = onnx.helper.get_attribute_value(attribute.default_value)
        outcomes = [
            tried(op, base, base.operands, {**base.attributes, name: other})
            for other in others(name, base.attributes.get(name, default))
            if (op, name, str(other)) not in REFERENCE_IS_WRONG
        ]
        if (op, name) in TOGETHER:
            outcomes.append(tried(op, base, *TOGETHER[op, name]))
        some = any(o is not None for o in outcomes)
        assert some or {(op, name), ("", name)} & (NEUTRAL_ONNX | NO_OTHER), (op, name)


def others(name: str, value: Any) -> list[Any]:
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, float):
        return [value + 0.5, value / 2]
    return [1 - value] if value in (0, 1) else [value + 1] if isinstance(value, int) else []


@pytest.mark.parametrize("op", BASES)
def test_no_operand_is_ignored(op: str) -> None:
    base = BASES[op]
    for number, operand in enumerate(onnx.defs.get_schema(op, OPSET, "").inputs):
        if not number:
            continue
        given = [*base.operands, *[None] * (number - len(base.operands))]
        outcomes = []
        for other in OPERANDS.get(("*", operand.name), []):
            given[number - 1] = other
            outcomes.append(tried(op, base, given, base.attributes))
        if (op, operand.name) in TOGETHER:
            outcomes.append(tried(op, base, *TOGETHER[op, operand.name]))
        some = any(o is not None for o in outcomes)
        known = {(op, operand.name)} & (NEUTRAL_ONNX | NO_OTHER)
        assert some or known, f"{op}: no other {operand.name} is tried"


def test_same_lower_pads_at_the_beginning() -> None:
    base, x = BASES["MaxPool"], torch.from_numpy(f32(2, 4, 6, 6, seed=7))
    results = [
        import_onnx(build("MaxPool", base, [], base.attributes | more)).results({"x": x})[0]
        for more in ({"auto_pad": "SAME_LOWER"}, {"pads": [1, 1, 0, 0]})
    ]
    assert torch.equal(*results)


def test_dropout_in_training_mode_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="dropout that stays active"):
        import_onnx(build("Dropout", BASES["Dropout"], [np.float32(0.5), np.array(True)], {}))


@pytest.mark.parametrize(
    ("op", "attributes", "reason"),
    [
        ("LSTM", {"clip": 0.5}, "clip"),
        ("LSTM", {"input_forget": 1}, "input_forget"),
        ("LSTM", {"direction": "reverse"}, "direction"),
        ("LSTM", {"activations": ["Relu", "Tanh", "Tanh"]}, "activations"),
        ("LSTM", {"activation_alpha": [0.5]}, "activation_alpha"),
        ("GRU", {"activation_beta": [0.5]}, "activation_beta"),
        ("GRU", {"direction": "bidirectional"}, "direction"),
        ("GRU", {"hidden_size": 3}, "hidden_size is 3"),
        ("Relu", {"slope": 0.5}, "attribute 'slope' is 0.5, only no value is supported"),
        ("Gemm", {"transA": 1}, "transA"),
        ("Resize", {"antialias": 1}, "attribute 'antialias' is 1, only 0 is supported"),
        ("Conv", {"kernel_shape": [2, 2]}, "kernel_shape is"),
    ],
)
def test_refusal_names_the_attribute(op: str, attributes: dict[str, Any], reason: str) -> None:
    base = BASES[op]
    with pytest.raises(UnsupportedModel, match=reason) as caught:
        import_onnx(build(op, base, base.operands, {**base.attributes, **attributes}))
    assert caught.value.rows[0].op == op
