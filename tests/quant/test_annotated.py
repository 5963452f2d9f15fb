"""Quantizers of a quantized model become the scales of its tensors, where the grid has them."""

from dataclasses import replace

import pytest
import torch

from sigbit.ir.annotation import QuantAnnotation
from sigbit.ir.floating import Conv2d, FloatGraph, Placeholder, Relu
from sigbit.quant import QuantSpec, convert, prepare
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.plan.annotated import annotated_scale
from sigbit.quant.post import post_training
from sigbit_hw.arch.formats import EsbFormat


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
