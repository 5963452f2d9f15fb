"""The accelerator under cocotb; the ``tb_*`` modules hold the tests that run in the simulator."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sigbit.ir.integer import Conv, MaxPool
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_sim.verification.cocotb_run import run_cocotb
from sigbit_sim.verification.networks import random_network
from sigbit_tools.toolchain import ToolchainError

HERE = Path(__file__).parent
NANO = PRESETS["nano"]
TWO = replace(NANO, name="two_ports", oc_lanes=8, bus_bits=128, ports=2)

pytestmark = pytest.mark.sim


@pytest.mark.parametrize(
    ("config", "module"),
    [
        (NANO, "registers"),
        (NANO, "programs"),
        (NANO, "errors"),
        pytest.param(TWO, "programs", marks=pytest.mark.long),
        pytest.param(TWO, "errors", marks=pytest.mark.long),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_top(config: ArchConfig, module: str, tmp_path: Path, seed: int) -> None:
    assert run_cocotb(config, HERE / f"tb_{module}.py", tmp_path, seed) > 0


def test_networks(tmp_path: Path, seed: int, rng: np.random.Generator) -> None:
    for number in range(3):
        graph, program = random_network(rng, NANO, 3)
        inputs = {n.name: rng.integers(n.low, n.high + 1, (1, *n.type.shape)) for n in graph.inputs}
        tensors = graph.evaluate({name: torch.from_numpy(x) for name, x in inputs.items()})
        layers = [n.name for n in graph.nodes if isinstance(n, Conv | MaxPool)]
        vectors = {f"input.{name}": x for name, x in inputs.items()}
        vectors |= {f"layer.{name}": tensors[name].numpy() for name in layers}
        replace(program, vectors=vectors).save(tmp_path / f"{number}.sigbit")
    assert run_cocotb(NANO, HERE / "tb_networks.py", tmp_path, seed) > 0


def test_a_missing_simulator_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="not found on PATH"):
        run_cocotb(NANO, HERE / "tb_registers.py", tmp_path, 0)
