"""Quantized models deploy with the codes that their own executors compute, every one."""

import functools
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import sigbit
from imports.executors import Floats, quantized_tensor, tensors
from sigbit.compiler import compile_graph
from sigbit.frontend import import_onnx
from sigbit.ir.floating import FloatGraph
from sigbit.quant import IntegerModel, QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp

pytestmark = [pytest.mark.data]

MICRO = PRESETS["micro"]
MODELS = (
    "brevitas_binary.qonnx",
    "brevitas_residual_trunc.qcdq",
    "brevitas_residual_trunc.qonnx",
    "brevitas_w2a2_per_channel.qcdq",
    "brevitas_w2a2_per_channel.qonnx",
    "brevitas_w4a4.qcdq",
    "brevitas_w4a4.qonnx",
    "mnist_qdq_opset13",
    "tfc_1w1a",
)


@functools.cache
def deployed(path: Path, given: Path) -> tuple[FloatGraph, IntegerModel, Program, Floats]:
    """The import of a model, its integers and its Program, and inputs."""
    graph = import_onnx(path)
    x = np.load(given) if path.stem.startswith("brevitas") else images(given, 8)
    spec = QuantSpec.from_arch(MICRO, weight_scale="mse", act_scale="mse")
    prepared = post_training(graph, torch.from_numpy(x), spec)
    integer = convert(prepared)
    assert prepared.inexact == {}
    exact = prepared.exactness
    layers = set(graph.quantizers) & {p.name for p in prepared.plan.layers if hasattr(p, "biases")}
    assert set(exact) >= layers
    assert len(layers) > 1
    assert [n for n, e in exact.items() if e.off] == []
    return graph, integer, compile_graph(integer.graph, MICRO), x


def images(path: Path, count: int) -> Floats:
    import gzip

    content = gzip.decompress(path.read_bytes())
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return (pixels[:count] / 255).astype(np.float32)


@pytest.fixture(params=MODELS)
def path(request: pytest.FixtureRequest, data_path) -> Path:
    return data_path(f"models/{request.param}.onnx")


@pytest.fixture
def given(path: Path, data_path) -> Path:
    brevitas = path.stem.startswith("brevitas")
    return data_path("models/brevitas_x.npy" if brevitas else "mnist/t10k-images-idx3-ubyte.gz")


def test_every_code_is_the_executors(path: Path, given: Path) -> None:
    graph, integer, program, x = deployed(path, given)
    want, model = tensors(path, x), onnx.load(path)
    stored = {n: v.numpy() for n, v in integer.stored(torch.from_numpy(x)).items()}
    codes = Interp(MICRO).run(program, {program.inputs[0].name: stored[graph.inputs[0].name]},
                              layers=True).layers  # fmt: skip
    compared = 0
    for name, quantizer in graph.quantizers.items():
        if name not in stored:
            continue
        assert name in codes or name == graph.inputs[0].name
        kind = integer.graph[name].type
        scale = float(quantizer.scale)
        assert kind.scale == pytest.approx(scale, rel=1e-12)
        real = np.asarray(want[quantized_tensor(model, name)], np.float64)
        wanted = np.rint(real / scale)
        assert np.abs(wanted - real / scale).max() < 1e-3
        got = (codes.get(name, stored[name]) + kind.zero).reshape(wanted.shape)
        assert int((got != wanted).sum()) == 0, name
        assert np.unique(wanted).size > 1, name
        compared += wanted.size
    assert compared > 10_000 or path.stem == "tfc_1w1a"


@pytest.mark.sim
@pytest.mark.slow
def test_the_gateware_has_them_too(path: Path, given: Path) -> None:
    _, _, program, x = deployed(path, given)
    run = sigbit.compare(program, x[:2], "rtl")
    assert run.mismatches == 0
    assert set(run.layers) == {layer.name for layer in program.layers}


def test_every_class_of_the_test_images(data_path) -> None:
    """TFC 1W1A: the class that qonnx gives to each of MNIST's 10,000 test images."""
    given = data_path("mnist/t10k-images-idx3-ubyte.gz")
    path = data_path("models/tfc_1w1a.onnx")
    _, integer, program, _ = deployed(path, given)
    x, labels = images(given, 10_000), data_path("mnist/t10k-labels-idx1-ubyte.gz")
    output = onnx.load(path).graph.output[0].name
    want = tensors(path, x, 500)[output]
    with torch.no_grad():
        got = torch.cat([integer(torch.from_numpy(b)) for b in np.split(x, 20)]).numpy()
    assert int((got.argmax(1) != want.argmax(1)).sum()) == 0
    import gzip

    truth = np.frombuffer(gzip.decompress(labels.read_bytes()), np.uint8, offset=8)
    assert int((want.argmax(1) == truth).sum()) == 9296
    interpreted = sigbit.run(program, x[:100])
    (found,) = interpreted.outputs.values()
    assert (found.reshape(100, -1).argmax(1) == want[:100].argmax(1)).all()
