"""Models quantized to small floating-point numbers deploy with the numbers that qonnx computes."""

import re

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from imports.executors import Floats, by_qonnx, compare
from sigbit.frontend import UnsupportedModel, import_onnx
from sigbit.quant import QuantSpec
from sigbit.quant.post import post_training
from sigbit_hw.arch.config import PRESETS

pytest.importorskip("qonnx")
pytestmark = [pytest.mark.data]

NANO = PRESETS["nano"]
QONNX = "qonnx.custom_op.general"
N = helper.make_node
Format = tuple[int, int, int, float]
"""Bits of exponent and mantissa, exponent bias, largest value."""
E2M1, E2M2, E2M3, E3M0 = (2, 1, 1, 6.0), (2, 2, 1, 7.0), (2, 3, 1, 7.5), (3, 0, 3, 16.0)
E4M3, E5M2 = (4, 3, 7, 448.0), (5, 2, 15, 57344.0)


class Model:
    """Two layers whose weights have ``weights``, and whose results ``numbers``."""

    def __init__(
        self,
        weights: Format,
        numbers: Format,
        rounding: str = "ROUND",
        scales: tuple[float, float, float] = (0.0731, 0.517, 0.413),  # of weights, results
        relu: bool = True,
    ) -> None:
        self.random = np.random.default_rng(5)
        self.constants: dict[str, Floats] = {}
        self.nodes = [
            N("Quant", ["x", *self.numbers(1 / 64, 0, 8)], ["a"], domain=QONNX, signed=1, narrow=1)
        ]
        self.quantize("w", weights, scales[0], (6, 4, 3, 3))
        self.nodes.append(N("Conv", ["a", "w.q"], ["b"], pads=[1, 1, 1, 1]))
        if relu:
            self.nodes.append(N("Relu", ["b"], ["r"]))
        self.quantize("r" if relu else "b", numbers, scales[1], rounding=rounding)
        self.quantize("v", weights, scales[0] / 4, (5, 6, 3, 3))
        self.nodes.append(N("Conv", [self.nodes[-2].output[0], "v.q"], ["c"]))
        self.quantize("c", numbers, scales[2], rounding=rounding)
        self.nodes[-1].output[0] = "y"

    def numbers(self, *values: float) -> list[str]:
        names = [f"n{len(self.constants) + i}" for i in range(len(values))]
        self.constants |= {k: np.array(v, np.float32) for k, v in zip(names, values, strict=True)}
        return names

    def quantize(
        self,
        tensor: str,
        numbers: Format,
        scale: float,
        shape: tuple[int, ...] = (),
        rounding: str = "ROUND",
    ) -> None:
        if shape:
            spread = scale * min(numbers[3] / 3, 4)
            self.constants[tensor] = self.random.normal(0, spread, shape).astype(np.float32)
        operands = [tensor, *self.numbers(scale, *numbers)]
        node = N("FloatQuant", operands, [f"{tensor}.q"], domain=QONNX, rounding_mode=rounding,
                 has_inf=0, has_nan=0, has_subnormal=1, saturation=1)  # fmt: skip
        self.nodes.append(node)

    def proto(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 4, 7, 7))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (3, 5, 5, 5))],
            [numpy_helper.from_array(v, k) for k, v in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(QONNX, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def inputs() -> Floats:
    return (np.random.default_rng(6).integers(-127, 128, (3, 4, 7, 7)) / 64).astype(np.float32)


@pytest.mark.parametrize("relu", [False, True], ids=["signed", "relu"])
@pytest.mark.parametrize("rounding", ["ROUND", "FLOOR", "CEIL"])
@pytest.mark.parametrize("numbers", [E2M1, E2M2, E2M3, E3M0], ids=["e2m1", "e2m2", "e2m3", "e3m0"])
def test_every_number_is_the_executors(numbers: Format, rounding: str, relu: bool) -> None:
    # Where values fall on borders, scales of powers of two keep the executor's float32 exact.
    scales = (0.0731, 0.517, 0.413) if rounding == "ROUND" else (1 / 16, 1 / 2, 1 / 4)
    model = Model(E2M1, numbers, rounding, scales, relu).proto()
    found = compare(model, inputs(), NANO)
    assert found.prepared.inexact == {}
    assert [e.off for e in found.prepared.exactness.values()] == [0, 0]
    assert set(found.differing.values()) == {0}
    assert len(found.wanted) == 3
    assert all(np.unique(w).size > 4 for w in found.wanted.values())


def test_weights_of_four_bits_are_native() -> None:
    """E2M1 is the accelerator's own format of weights: one term."""
    graph = import_onnx(Model(E2M1, E2M1).proto())
    spec = QuantSpec.from_arch(NANO)
    prepared = post_training(graph, torch.from_numpy(inputs()), spec)
    layers = [p.name for p in prepared.plan.layers if p.name in prepared.exactness]
    assert [prepared.quant_module(n).terms for n in layers] == [(1,), (1,)]


@pytest.mark.parametrize("numbers", [E2M1, E2M2], ids=["e2m1", "e2m2"])
def test_ties_between_numbers_are_counted(numbers: Format) -> None:
    """Ties go to even numbers, here up, there down: the accumulators at which they go elsewhere
    are as many as the layer says, over all accumulators; others are right."""
    model, x = Model(E2M1, numbers, "ROUND", (1 / 16, 1 / 2, 1 / 4)).proto(), inputs()
    found = compare(model, x, NANO)
    first = found.prepared.exactness["r"]
    assert 0 < first.off < first.accumulators / 2_000
    unit = float(import_onnx(model).quantizers["r"].scale)
    doubled = 2 * np.asarray(by_qonnx(model, x)["r"], np.float64) / unit
    tied = doubled == np.rint(doubled)
    assert (found.got["r"] == found.wanted["r"])[~tied].all()


def test_an_input_of_small_numbers_is_a_copy() -> None:
    """The accelerator's input has integers of equal distance, the copy has the numbers."""
    model = Model(E2M1, E2M1)
    model.nodes.pop(0)
    first = model.nodes.index(next(n for n in model.nodes if n.op_type == "Conv"))
    model.quantize("x", E2M2, 0.3)
    model.nodes.insert(0, model.nodes.pop())
    model.nodes[first + 1].input[0] = "x.q"
    found = compare(model.proto(), inputs(), NANO)
    assert {n: e.off for n, e in found.prepared.exactness.items()} == {
        "x.quantized": 0, "r": 0, "c": 0
    }  # fmt: skip
    numbers = {*range(9), *range(10, 17, 2), 20, 24, 28}
    assert set(np.abs(found.got["x.quantized"]).ravel()) <= numbers


@pytest.mark.parametrize("numbers", [E4M3, E5M2], ids=["e4m3", "e5m2"])
def test_wide_numbers_are_named(numbers: Format) -> None:
    graph = import_onnx(Model(E2M1, numbers).proto())
    prepared = post_training(graph, torch.from_numpy(inputs()), QuantSpec.from_arch(NANO))
    times = r"its largest floating-point number is [\d,]+ times the smallest; 255 are possible"
    assert re.fullmatch(times, prepared.inexact["r"])
    weights = import_onnx(Model(numbers, E2M1).proto())
    prepared = post_training(weights, torch.from_numpy(inputs()), QuantSpec.from_arch(NANO))
    assert re.match("its (integers, up to|weights are no integers)", prepared.inexact["r"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ((2.5, 1, 1, 6.0), "exponent of 2.5; use an integer from 0 to 8"),
        ((11, 1, 1, 6.0), "exponent of 11; use an integer from 0 to 8"),
        ((2, 1.5, 1, 6.0), "mantissa of 1.5; use an integer from 0 to 23"),
        ((2, 1, 0.5, 6.0), "exponent bias of 0.5; use an integer from -127 to 127"),
        ((2, 1, 1, 0.0), "largest value of 0; use a positive one"),
    ],
)
def test_formats_without_meaning_are_refused(changed: Format, message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        import_onnx(Model(E2M1, changed).proto())
