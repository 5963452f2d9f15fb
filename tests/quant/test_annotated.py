"""Quantizers of a quantized model become the scales of its tensors, where the grid has them."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from sigbit.ir.annotation import QuantAnnotation
from sigbit.ir.floating import Conv2d, FloatGraph, Placeholder, Relu
from sigbit.quant import QuantSpec, convert, prepare
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.plan.annotated import annotated_scale
from sigbit.quant.post import post_training
from sigbit_hw.arch.formats import EsbFormat

pytestmark = pytest.mark.network


def annotation(scale: float, bits: int, signed: bool, zero: float = 0) -> QuantAnnotation:
    return QuantAnnotation(torch.tensor([scale]), torch.tensor([zero]), bits, signed)


def network(**quantizers: QuantAnnotation) -> FloatGraph:
    torch.manual_seed(0)
    sides = {"stride": (1, 1), "padding": (1, 1, 1, 1), "bias": None}
    nodes = (
        Placeholder(name="x", shape=(3, 6, 6)),
        Conv2d(name="c", inputs=("x",), shape=(8, 6, 6), weight="w", **sides),
        Relu(name="r", inputs=("c",), shape=(8, 6, 6)),
        Conv2d(name="y", inputs=("r",), shape=(4, 6, 6), weight="v", **sides),
    )
    weights = {"w": torch.randn(8, 3, 3, 3), "v": torch.randn(4, 8, 3, 3)}
    return FloatGraph("net", nodes, weights, ("y",), quantizers)


def test_annotated_scales_are_the_scales() -> None:
    graph = network(x=annotation(0.0625, 8, True), r=annotation(0.375, 3, False))
    spec = replace(QuantSpec(), bits={"r": (1, 2)})
    x = torch.randn(8, 3, 6, 6)
    for prepared in (prepare(graph, spec, x), post_training(graph, x, spec, correct_bias=False)):
        types = {n.name: n.type for n in convert(prepared).graph.nodes}
        assert types["x"].scale == 0.0625
        assert types["r"].scale == 0.375


def test_calibration_sees_quantized_values() -> None:
    x = torch.randn(8, 3, 6, 6)
    plain = convert(prepare(network(), QuantSpec(), x)).graph
    coarse = convert(prepare(network(r=annotation(0.001, 8, False)), QuantSpec(), x)).graph
    scales = [{n.name: n.type.scale for n in g.nodes}["r"] for g in (plain, coarse)]
    assert scales[1] < 0.1 * scales[0]


@pytest.mark.parametrize(
    ("quantizer", "grid", "fits"),
    [
        (annotation(0.5, 4, False), LevelGrid.uniform(0, 255), True),
        (annotation(0.5, 8, True), LevelGrid.uniform(-128, 127), True),
        (annotation(0.5, 8, False, 128), LevelGrid.uniform(-128, 127), True),
        (annotation(0.5, 8, False, 100), LevelGrid.uniform(-128, 127), False),
        (annotation(0.5, 8, False, 0.5), LevelGrid.uniform(-128, 255), False),
        (annotation(0.5, 1, True), LevelGrid((0, 1, 2), True), True),
        (annotation(0.5, 2, False), LevelGrid.of(EsbFormat(4, 1)), True),
        (annotation(0.5, 4, False), LevelGrid.of(EsbFormat(4, 1)), False),
        (None, LevelGrid.uniform(0, 255), False),
    ],
)
def test_what_a_grid_has(quantizer: QuantAnnotation | None, grid: LevelGrid, fits: bool) -> None:
    assert (annotated_scale(quantizer, grid) is not None) == fits


def test_weights_keep_their_integers() -> None:
    torch.manual_seed(1)
    scale = torch.tensor([0.5, 0.25, 0.125, 1.0]).double().view(4, 1, 1, 1)
    levels = torch.randint(-4, 5, (4, 8, 3, 3)).double()
    plain = network(x=annotation(1 / 64, 8, True))
    quantizer = QuantAnnotation(scale, torch.zeros(1), 4, True)
    weights = {**plain.parameters, "v": (levels * scale).float()}
    graph = replace(plain, parameters=weights, parameter_quantizers={"v": quantizer})
    x = torch.randn(8, 3, 6, 6)
    prepared = post_training(graph, x, replace(QuantSpec(), bits={"y": (1, 3)}), correct_bias=False)
    layer = prepared.quant_module("y")
    assert torch.equal(layer.weight_quantizer.scale(layer.real_weights()[0]), scale.reshape(-1))
    source = next(n for n in convert(prepared).graph.nodes if n.name == "y").sources[0]
    assert (torch.from_numpy(source.weights).sign() == levels.sign()).all()


def quantized(
    rounding: str, bits: int, signed: bool, zero: int, weight_bits: int, relu: bool
) -> tuple[FloatGraph, QuantSpec, torch.Tensor]:
    """A convolution between quantizers with scales that are no powers of two, and its input."""
    generator = torch.Generator().manual_seed(bits)
    planes = 1 if bits <= 3 else 3
    most = 2 ** (weight_bits - 1) - 1
    levels = torch.randint(-most, most + 1, (6, 3, 3, 3), generator=generator).double()
    scale = torch.rand(6, 1, 1, 1, generator=generator) * 0.01 + 0.003
    weights = {"w": (levels * scale.double()).float(), "b": torch.randn(6, generator=generator)}
    reach = 2.0 ** (bits - 1) if signed else 2.0**bits
    result = QuantAnnotation(
        torch.tensor([4.321 / reach]), torch.tensor([zero]), bits, signed, rounding=rounding
    )
    sides = {"stride": (1, 1), "padding": (1, 1, 1, 1)}
    nodes = (
        Placeholder(name="x", shape=(3, 9, 9)),
        Conv2d(name="c", inputs=("x",), shape=(6, 9, 9), weight="w", bias="b", **sides),
        *((Relu(name="r", inputs=("c",), shape=(6, 9, 9)),) if relu else ()),
    )
    name = "r" if relu else "c"
    quantizers = {"x": annotation(0.0371, 8, True), name: result}
    graph = FloatGraph("net", nodes, weights, (name,), quantizers)
    graph = replace(
        graph,
        parameter_quantizers={"w": QuantAnnotation(scale, torch.zeros(1), weight_bits, True)},
    )
    spec = replace(QuantSpec(), bits={name: (1 if weight_bits <= 3 else 2, planes)})
    return graph, spec, torch.randn(16, 3, 9, 9, generator=generator) * 2


ROUNDED = {
    "ROUND": round,
    "FLOOR": math.floor,
    "CEIL": math.ceil,
    "ROUND_TO_ZERO": int,
    "HALF_UP": lambda v: math.copysign(1, v) * math.floor(abs(v) + Fraction(1, 2)),
    "HALF_DOWN": lambda v: math.copysign(1, v) * math.ceil(abs(v) - Fraction(1, 2)),
    "UP": lambda v: math.copysign(1, v) * math.ceil(abs(v)),
}


@pytest.mark.parametrize("rounding", ROUNDED)
@pytest.mark.parametrize(
    ("bits", "signed", "zero", "weight_bits", "relu"),
    [
        (2, False, 0, 3, True),
        (3, True, 0, 3, False),
        (8, False, 0, 4, True),
        (8, True, 0, 4, False),
        (8, True, -128, 4, True),
        (7, True, 3, 4, False),
    ],
)
def test_codes_are_those_of_the_quantized_model(
    rounding: str, bits: int, signed: bool, zero: int, weight_bits: int, relu: bool
) -> None:
    """Every code, in exact arithmetic: scale, rounding, zero point and range are kept. What rounds
    to 0 from both sides takes one y more than there are codes, which 256 have not; what rounds away
    from 0 gives 0 for one accumulator only: there some codes are off by one, and it is said."""
    graph, spec, x = quantized(rounding, bits, signed, zero, weight_bits, relu)
    prepared = post_training(graph, x, spec)
    model = convert(prepared)
    name = graph.outputs[0]
    result, weights = graph.quantizers[name], graph.parameter_quantizers["w"]
    low, high = (int(v) for v in result.range)
    low = max(low, zero) if relu else low
    found = prepared.exactness[name]
    assert found.accumulators > 0
    wide = rounding == "ROUND_TO_ZERO" and high - low == 255
    assert (found.off == found.most == 0) or (low < 0 and (wide or rounding == "UP"))
    assert rounding != "UP" or found.off <= found.accumulators / 10_000
    assert found.most <= 1
    stored = model.stored(x)
    assert all(torch.equal(stored[n], v) for n, v in prepared.stored(x).items())
    levels = (graph.parameters["w"].double() / weights.scale.double()).round()
    sums = torch.nn.functional.conv2d(stored["x"].double(), levels, padding=1).long()
    unit = Fraction(float(result.scale))
    codes = stored[name] + model.graph[name].type.zero
    for c in range(6):
        step = Fraction(float(weights.scale[c])) * Fraction(float(graph.quantizers["x"].scale))
        bias = Fraction(float(graph.parameters["b"][c]))
        pairs = torch.stack([sums[:, c].reshape(-1), codes[:, c].reshape(-1)], 1)
        for acc, code in pairs.tolist():
            value = ROUNDED[rounding]((acc * step + bias) / unit + zero)
            assert abs(code - min(max(value, low), high) + zero) <= found.most


def test_training_ends_the_codes_of_the_quantized_model() -> None:
    graph, spec, x = quantized("ROUND", 3, True, 0, 3, False)
    prepared = prepare(graph, spec, x)
    convert(prepared)
    assert list(prepared.exactness) == ["c"]
    prepared(x)
    assert prepared.exactness == {}
    assert torch.equal(convert(prepared).stored(x)["c"], prepared.stored(x)["c"])
