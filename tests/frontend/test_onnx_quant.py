"""QONNX operators and QuantizeLinear pairs: weights as the model has them, quantizers applied."""

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from sigbit.frontend import UnsupportedModel, import_onnx
from sigbit.ir.floating import Conv2d, Linear, QuantAnnotation, Relu, Unary

Array = NDArray[np.generic]
QONNX = "qonnx.custom_op.general"
N = helper.make_node
ROUND = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "HALF_UP": lambda v: np.sign(v) * np.floor(np.abs(v) + 0.5),
    "HALF_DOWN": lambda v: np.sign(v) * np.ceil(np.abs(v) - 0.5),
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "ROUND_TO_ZERO": np.trunc,
    "DOWN": np.fix,
    "UP": lambda v: np.sign(v) * np.ceil(np.abs(v)),
}


def limits(signed: int, narrow: int, bits: float) -> tuple[float, float]:
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1 - narrow


class Quant(OpRun):
    op_domain = QONNX

    def _run(self, x, scale, zero, bits, signed=1, narrow=0, rounding_mode="ROUND"):
        q = ROUND[rounding_mode](x / scale + zero).clip(*limits(signed, narrow, float(bits)))
        return (((q - zero) * scale).astype(np.float32),)


class BipolarQuant(OpRun):
    op_domain = QONNX

    def _run(self, x, scale):
        return (np.where(x >= 0, scale, -scale).astype(np.float32),)


class FloatQuant(OpRun):
    op_domain = QONNX

    def _run(self, x, scale, exponent, mantissa, bias, largest, **unused):
        numbers = {0.0}
        for e in range(int(2**exponent)):
            for m in range(int(2**mantissa)):
                lead, power = (1, e - bias) if e else (0, 1 - bias)
                numbers.add(float((lead + m / 2**mantissa) * 2.0**power))
        grid = np.array(sorted(v for v in numbers if v <= largest))
        v = np.abs(x / scale)
        nearest = grid[np.abs(v[..., None] - grid).argmin(-1)]
        return ((np.sign(x) * nearest * scale).astype(np.float32),)


class Trunc(OpRun):
    """Version 1 and 2, told apart by their operands, in integers."""

    op_domain = QONNX

    def _run(self, x, scale, zero, bits, *out, rounding_mode="FLOOR", signed=1, narrow=0):
        y = np.round(x.astype(np.float64) / scale + zero)
        if len(out) == 1:
            y = ROUND[rounding_mode](y / 2.0 ** (bits - out[0]))
            return (((y - zero) * scale).astype(np.float32),)
        factor = 2 ** np.round(np.log2(out[0] / scale))
        y = ROUND[rounding_mode]((y / factor).clip(*limits(signed, narrow, float(out[1]))))
        return (((y - zero / factor) * out[0]).astype(np.float32),)


OPERATORS = [Quant, BipolarQuant, FloatQuant, Trunc]


def f32(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def number(value: float) -> Array:
    return np.array(value, np.float32)


def model(nodes: list[onnx.NodeProto], constants: dict[str, Array]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 4, 6, 6))],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(QONNX, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def check(proto: onnx.ModelProto) -> None:
    graph = import_onnx(proto)
    x = f32(3, 4, 6, 6, seed=7) * 2
    want = ReferenceEvaluator(proto, new_ops=OPERATORS).run(None, {"x": x})[0]
    got = graph.results({"x": torch.from_numpy(x)})[0].numpy()
    assert want.size > 0
    assert np.unique(want).size > 1
    np.testing.assert_allclose(got.reshape(want.shape), want, rtol=1e-5, atol=1e-6)


def quantizer(op: str, *operands: Array, **attributes: object) -> onnx.ModelProto:
    names = [f"c{i}" for i in range(len(operands))]
    node = N(op, ["x", *names], ["y"], domain=QONNX, **attributes)
    return model([node], dict(zip(names, operands, strict=True)))


CASES = {
    "signed": quantizer("Quant", number(0.25), number(0), number(4), signed=1, narrow=0),
    "narrow": quantizer("Quant", number(0.25), number(0), number(3), signed=1, narrow=1),
    "unsigned": quantizer("Quant", number(0.125), number(0), number(4), signed=0, narrow=0),
    "zero_point": quantizer("Quant", number(0.25), number(5), number(4), signed=0, narrow=1),
    "floor": quantizer("Quant", number(0.25), number(0), number(4), rounding_mode="FLOOR"),
    "ceil": quantizer("IntQuant", number(0.25), number(0), number(4), rounding_mode="CEIL"),
    "channels": quantizer(
        "Quant", abs(f32(1, 4, 1, 1)) + number(0.1), number(0), number(4), signed=1
    ),
    "bipolar": quantizer("BipolarQuant", number(0.5)),
    "float": quantizer("FloatQuant", number(0.3), number(3), number(2), number(3), number(28.0)),
    "trunc": quantizer("Trunc", number(0.125), number(0), number(8), number(6)),
    "trunc_2": quantizer(
        "Trunc",
        number(0.125),
        number(8),
        number(8),
        number(0.5),
        number(3),
        signed=0,
    ),
}
CASES.pop("ceil")  # the reference has no IntQuant; its name is tested below


@pytest.mark.parametrize("name", CASES)
def test_quantizer_of_a_tensor(name: str) -> None:
    check(CASES[name])
    assert import_onnx(CASES[name]).quantizers


def truncated(x: Array, *operands: float, **attributes: object) -> Array:
    """What the import of one Trunc makes of ``x``."""
    names = [f"c{i}" for i in range(len(operands))]
    proto = helper.make_model(
        helper.make_graph(
            [N("Trunc", ["x", *names], ["y"], domain=QONNX, **attributes)],
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [onnx.ValueInfoProto(name="y")],
            [numpy_helper.from_array(number(v), n) for v, n in zip(operands, names, strict=True)],
        ),
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(QONNX, 2)],
        ir_version=10,
    )
    return import_onnx(proto).results({"x": torch.from_numpy(x)})[0].numpy()


SCALE = np.float32(0.097)
STEPS = (np.arange(-64, 64) * SCALE).astype(np.float32).reshape(1, 128)


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("FLOOR", [-2.5, -2.0, -1.5, -1.0, 0.0, 0.5, 1.0, 1.5]),
        ("ROUND", [-2.5, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]),
        ("HALF_EVEN", [-2.5, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]),
        ("CEIL", [-2.5, -1.5, -1.0, -0.5, 0.0, 1.0, 1.5, 2.0]),
        ("DOWN", [-2.5, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]),
        ("UP", [-2.5, -2.0, -1.5, -1.0, 0.0, 1.0, 1.5, 2.0]),
        ("HALF_UP", [-2.5, -2.0, -1.5, -0.5, 0.0, 0.5, 1.5, 2.0]),
        ("HALF_DOWN", [-2.5, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]),
    ],
)
def test_trunc_2_as_qonnx_has_it(mode: str, values: list[float]) -> None:
    """The values are those of qonnx 1.0.0's own executor."""
    x = (np.arange(-20, 20, dtype=np.float32) / 8).reshape(1, 40)
    got = truncated(x, 0.125, 0, 8, 0.5, 6, rounding_mode=mode, narrow=0, signed=1)
    assert got[0, ::5].tolist() == values


def test_trunc_2_with_a_zero_point_as_qonnx_has_it() -> None:
    got = truncated(
        STEPS, SCALE, 3, 8, SCALE * 4, 4, rounding_mode="CEIL", narrow=1, signed=0
    )  # fmt: skip
    quarters = np.round(got / (SCALE * 4) * 4).astype(int)[0].tolist()
    rising = [q for q in range(1, 53, 4) for _ in range(4)]
    assert quarters == [-3] * 62 + rising + [53] * 14


def test_trunc_1_cuts_integers_of_any_scale() -> None:
    """As qonnx 1.0.0's own executor: scales that are no powers of two once lost a step."""
    for scale in (SCALE, np.float32(0.25), *np.random.default_rng(0).uniform(0.02, 0.5, 60)):
        x = (np.arange(-64, 64) * np.float32(scale)).astype(np.float32).reshape(1, 128)
        got = truncated(x, scale, 0, 8, 6, rounding_mode="FLOOR")
        assert np.round(got / np.float32(scale))[0].tolist() == [i // 4 for i in range(-64, 64)]


def test_other_roundings_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match="rounding mode 'NEAREST'; use ROUND, HALF_EVEN"):
        truncated(STEPS, SCALE, 0, 8, 6, rounding_mode="NEAREST")


def test_intquant_is_quant() -> None:
    graph = import_onnx(quantizer("IntQuant", number(0.25), number(0), number(4)))
    assert [(q.bits, float(q.scale)) for q in graph.quantizers.values()] == [(4, 0.25)]


def layer(op: str, *operands: Array, **attributes: object) -> onnx.ModelProto:
    """A convolution whose weights, and a product whose transposed matrix, are quantized."""
    names = [f"c{i}" for i in range(len(operands))]
    nodes = [
        N(op, ["w", *names], ["wq"], domain=QONNX, **attributes),
        N("Conv", ["x", "wq"], ["c"], name="conv"),
        N("GlobalAveragePool", ["c"], ["p"]),
        N("Flatten", ["p"], ["f"]),
        N("BipolarQuant", ["m", "s"], ["mq"], domain=QONNX),
        N("Transpose", ["mq"], ["mt"], perm=[1, 0]),
        N("Transpose", ["mt"], ["mtt"]),
        N("MatMul", ["f", "mtt"], ["y"], name="product"),
    ]
    constants = dict(zip(names, operands, strict=True))
    return model(nodes, constants | {"w": f32(5, 4, 3, 3), "m": f32(5, 3), "s": f32(1, 3) + 3})


@pytest.mark.parametrize("op", ["Quant", "FloatQuant"])
def test_weights(op: str) -> None:
    if op == "Quant":
        proto = layer(op, abs(f32(5, 1, 1, 1)) + number(0.1), number(0), number(4), signed=1)
    else:
        proto = layer(op, number(0.3), number(3), number(2), number(3), number(28.0))
    check(proto)
    graph = import_onnx(proto)
    conv, product = graph["conv"], graph["product"]
    assert isinstance(conv, Conv2d)
    assert isinstance(product, Linear)
    for weight in (conv.weight, product.weight):
        values, found = graph.parameters[weight], graph.parameter_quantizers[weight]
        levels = values / found.scale.float()
        torch.testing.assert_close(levels, levels.round())
    assert tuple(graph.parameter_quantizers[product.weight].scale.shape) == (3, 1)


def qdq(clip: tuple[int, int] | None, zero: Array, scale: Array | None = None) -> onnx.ModelProto:
    constants = {"s": number(0.25) if scale is None else scale, "z": zero}
    constants |= {"w": np.arange(-50, 50, dtype=np.int8)[: 4 * 4].reshape(4, 4, 1, 1)}
    constants |= {"ws": abs(f32(4)), "wz": np.zeros(4, np.int8), "b": np.arange(4, dtype=np.int32)}
    constants |= {"bs": number(0.1)}
    nodes = [N("QuantizeLinear", ["x", "s", "z"], ["q"])]
    if clip is not None:
        constants |= {"low": zero.dtype.type(clip[0]), "high": zero.dtype.type(clip[1])}
        nodes.append(N("Clip", ["q", "low", "high"], ["k"]))
    nodes += [
        N("DequantizeLinear", [nodes[-1].output[0], "s", "z"], ["d"], name="dq"),
        N("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        N("DequantizeLinear", ["b", "bs"], ["bd"]),
        N("Conv", ["d", "wd", "bd"], ["y"], name="conv"),
    ]
    return model(nodes, constants)


@pytest.mark.parametrize(
    ("clip", "zero"),
    [
        (None, np.int8(0)),
        (None, np.uint8(128)),
        (None, np.int8(-7)),
        ((-8, 7), np.int8(0)),
        ((-7, 7), np.int8(0)),
        ((0, 15), np.uint8(3)),
    ],
)
def test_quantize_linear(clip: tuple[int, int] | None, zero: Array) -> None:
    proto = qdq(clip, zero)
    check(proto)
    graph = import_onnx(proto)
    found = graph.quantizers["x"]
    assert isinstance(found, QuantAnnotation)
    assert found.range == (clip or ((-128, 127) if zero.dtype == np.int8 else (0, 255)))
    conv = graph["conv"]
    assert isinstance(conv, Conv2d)
    assert graph.parameter_quantizers[conv.weight].scale.shape == (4, 1, 1, 1)


def test_a_range_that_no_bits_have() -> None:
    with pytest.raises(UnsupportedModel, match=r"\[-3, 9\]") as caught:
        import_onnx(qdq((-3, 9), np.int8(0)))
    assert [r.location for r in caught.value.rows] == ["dq"]


def test_other_readers_see_the_tensor_as_it_was() -> None:
    proto = model(
        [
            N("Relu", ["x"], ["r"]),
            N("Quant", ["r", "s", "z", "b"], ["q"], domain=QONNX, signed=0),
            N("Add", ["r", "q"], ["y"]),
        ],
        {"s": number(0.5), "z": number(0), "b": number(2)},
    )
    check(proto)
    copies = [n for n in import_onnx(proto).nodes if isinstance(n, Unary)]
    assert [n.function for n in copies] == ["identity"]


def test_two_quantizers_of_one_kind_are_one() -> None:
    nodes = [N("Relu", ["x"], ["r"])]
    for i in range(2):
        nodes.append(N("Quant", ["r", "s", "z", "b"], [f"q{i}"], domain=QONNX, signed=0))
    nodes.append(N("Add", ["q0", "q1"], ["y"]))
    proto = model(nodes, {"s": number(0.5), "z": number(0), "b": number(2)})
    check(proto)
    assert not [n for n in import_onnx(proto).nodes if isinstance(n, Unary)]


def test_a_quantizer_without_negative_values_is_a_relu() -> None:
    nodes = [
        N("Conv", ["x", "w"], ["c"], name="conv"),
        N("QuantizeLinear", ["c", "s", "z"], ["q"]),
        N("DequantizeLinear", ["q", "s", "z"], ["y"], name="dq"),
    ]
    proto = model(nodes, {"w": f32(3, 4, 3, 3), "s": number(0.1), "z": np.uint8(0)})
    check(proto)
    graph = import_onnx(proto)
    assert isinstance(graph["dq"], Relu)
    assert set(graph.quantizers) == {"dq"}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((n, f) for n in ("w4a4", "w2a2_per_channel") for f in ("qonnx", "qcdq")),
        ("binary", "qonnx"),
        ("residual_trunc", "qonnx"),
    ],
)
def test_networks_of_brevitas(data_path, name: str, form: str) -> None:
    """What Brevitas itself computes; QCDQ in operator set 18."""
    graph = import_onnx(data_path(f"models/brevitas_{name}.{form}.onnx"))
    x = torch.from_numpy(np.load(data_path("models/brevitas_x.npy")))
    want = np.load(data_path(f"models/brevitas_{name}.y.npy"))
    got = graph.results({graph.inputs[0].name: x})[0]
    np.testing.assert_allclose(got.numpy(), want, rtol=0, atol=1e-5)  # sums of 2,304 in float32


@pytest.mark.data
@pytest.mark.parametrize("name", ["brevitas_residual_trunc.qcdq", "mnist_qdq_opset13"])
def test_networks_of_quantize_linear(data_path, name: str) -> None:
    """What ONNX's reference computes, which has these operators from operator set 19 on only."""
    path = data_path(f"models/{name}.onnx")
    graph, proto = import_onnx(path), onnx.load(path)
    for opset in proto.opset_import:
        opset.version = max(opset.version, 19)
    x = f32(8, *graph.inputs[0].shape, seed=3)
    run = ReferenceEvaluator(proto).run
    want = np.concatenate(
        [run(None, {proto.graph.input[0].name: x[i : i + 1]})[0] for i in range(8)]
    )
    got = graph.results({graph.inputs[0].name: torch.from_numpy(x)})[0].numpy()
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.data
def test_a_batch_of_minus_one(data_path) -> None:
    graph = import_onnx(data_path("models/ppocr_cls.onnx"), {"x": (3, 48, 192)})
    assert graph.inputs[0].shape == (3, 48, 192)
