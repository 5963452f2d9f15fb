"""ONNX Runtime evaluates an integer model's export; a code that differs is refused."""

import math

import numpy as np
import pytest
import torch
from onnx import ModelProto, numpy_helper

from sigbit.compiler.random_graph import random_graph
from sigbit.errors import UserError
from sigbit.export import onnx_model
from sigbit.flows import bulk
from sigbit.ir.integer import Conv, IntegerGraph
from sigbit.quant import IntegerModel, QuantSpec, convert, prepare
from sigbit.zoo import DigitsResNet
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.numerics import UNIT

pytest.importorskip("onnxruntime")


def digits() -> IntegerModel:
    torch.manual_seed(0)
    return convert(prepare(DigitsResNet(), QuantSpec(), torch.rand(4, 1, 8, 8)))


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs(seed: int, rng: np.random.Generator) -> None:
    """Every sample, not only the one that is compared in use."""
    graph = random_graph(np.random.default_rng(seed), PRESETS["nano"], layers=5)
    integer = IntegerModel(graph)
    inputs = []
    for node in graph.inputs:
        stored = rng.integers(node.low, node.high + 1, (3, *node.type.shape))
        real = torch.from_numpy((stored + node.type.zero) * node.type.scale)
        inputs.append(real.reshape(3, *node.axes.shape(node.type.shape)))
    fast = bulk.BulkModel(integer)
    given, wanted = fast(*inputs), integer(*inputs)
    for got, right in zip(_all(given), _all(wanted), strict=True):
        assert torch.equal(got, right)
    assert fast.compared == sum(math.prod(graph[n].type.shape) for n in set(graph.outputs))


def _all(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def test_one_wrong_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    integer = digits()

    def wrong(graph: IntegerGraph, **options: bool) -> ModelProto:
        model = onnx_model(graph, **options)
        last = next(n for n in reversed(graph.nodes) if isinstance(n, Conv))
        (base,) = (a for a in model.graph.initializer if a.name == f"{last.name}.base")
        values = numpy_helper.to_array(base) + last.step.max() / UNIT
        base.CopyFrom(numpy_helper.from_array(values, base.name))
        return model

    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(bulk.BulkModel(integer)(x), integer(x))
    monkeypatch.setattr(bulk, "onnx_model", wrong)
    with pytest.raises(UserError, match=r"codes of \S+ differ from the integer model's"):
        bulk.BulkModel(integer)(x)


def test_without_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'sigbit\[bulk\]'"):
        bulk.BulkModel(digits())
