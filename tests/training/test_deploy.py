"""Every quantizer and every strategy, as a user has them: a run on digits, ``model.sbm`` compiled,
test images on the accelerator: equal codes in every layer, and the accuracy that was promised."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sigbit.compiler import compile_graph
from sigbit.inputs.integer_models import load_model
from sigbit.ir.integer import IntegerGraph
from sigbit.quant.quantizers import METHODS
from sigbit.quant.strategies import STRATEGIES
from sigbit.runtime import Device, compare, stored_inputs
from sigbit.training import Options, RunConfig, load_splits
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp
from sigbit_sim.rtl.device import RtlDevice
from training.configs import digits, started

ARCH = PRESETS["nano"]
TESTED, ON_RTL = 24, 2
"""Images on the interpreter and on the RTL."""
SHORT = {
    "data__train_samples": 128,
    "data__test_samples": TESTED,
    "float__epochs": 1,
    "train__epochs": 1,
    "quantizer__arch": "nano",
}
NEEDS = {"temperature": "qn", "incremental": "inq", "sinareq": "dorefa"}
"""Quantizers that strategies are for; the others are tried with the accelerator's own."""


def run_of(method: str, *strategies: dict[str, Any]) -> RunConfig:
    """A run of four steps, at the bits of the method that are nearest to 3."""
    acts, weights = method if METHODS[method].acts else "uniform", METHODS[method].weights
    assert weights is not None
    bits = min(weights.bits, key=lambda b: abs(b - 3))
    return digits(
        **SHORT, quantizer__weights=method, quantizer__weight_bits=bits,
        quantizer__activations=acts, quantizer__act_bits=max(bits, 2), strategies=list(strategies),
    )  # fmt: skip


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """All runs share their float twin."""
    return Options(twins=tmp_path_factory.mktemp("twins"))


def deployed(
    config: RunConfig, folder: Path, options: Options
) -> tuple[Program, IntegerGraph, float]:
    """The run's Program, its golden model, and the accuracy of both by the run's summary."""
    summary = started(config, folder, options=options).finish()
    assert summary["accuracy_quantized"] == summary["accuracy_deployed"]
    graph = load_model(str(folder / "model.sbm"))
    return compile_graph(graph, ARCH), graph, summary["accuracy_deployed"]


def check(program: Program, graph: IntegerGraph, accuracy: float | None, device: Device) -> None:
    """All codes of all layers, and with ``accuracy`` the decisions on the run's test images."""
    test = load_splits(digits(**SHORT).data, digits(**SHORT).model, None).test
    x, y = test.batch(torch.arange(TESTED if accuracy is not None else ON_RTL))
    stored = stored_inputs(program, x.numpy())
    golden = graph.evaluate({k: torch.from_numpy(v) for k, v in stored.items()})
    codes = {k: v.numpy() for k, v in golden.items()}
    result = device.run(program, stored, layers=True)
    assert set(result.layers) == {layer.name for layer in program.layers}
    assert not compare(codes, result.layers)
    assert sum(value.size for value in result.layers.values()) > 1000 * len(x)
    if accuracy is not None:
        (output,) = result.outputs.values()
        right = output.reshape(len(x), -1).argmax(1) == y.numpy()
        assert np.count_nonzero(right) / len(x) == accuracy


@pytest.mark.parametrize("method", METHODS)
def test_quantizers(method: str, twins: Options, tmp_path: Path) -> None:
    check(*deployed(run_of(method), tmp_path / "run", twins), Interp(ARCH, strict=True))


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies(name: str, twins: Options, tmp_path: Path) -> None:
    config = run_of(NEEDS.get(name, "esb"), {"name": name})
    check(*deployed(config, tmp_path / "run", twins), Interp(ARCH, strict=True))


@pytest.mark.sim
@pytest.mark.parametrize("method", ["apot", "lsq+"])
def test_on_the_rtl(method: str, twins: Options, tmp_path: Path) -> None:
    program, graph, _ = deployed(run_of(method), tmp_path / "run", twins)
    check(program, graph, None, RtlDevice(ARCH))
