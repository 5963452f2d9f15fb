"""The netlists of synthesis in the loop: Programs give the interpreter's codes in every layer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sigbit.ir.integer import Conv, MaxPool
from sigbit.runtime import DeviceError, compare
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.native.build import library
from sigbit_sim.rtl.netlist import netlist_library, netlists, verilog
from sigbit_sim.verification.networks import random_network
from sigbit_synthesis.netlist import Cell, Netlist
from sigbit_synthesis.target import Target
from sigbit_tools.toolchain import ToolchainError

pytestmark = [pytest.mark.sim, pytest.mark.synth, pytest.mark.slow]

NANO = PRESETS["nano"]
TARGETS = (Target.XCUP, pytest.param(Target.ECP5, marks=pytest.mark.long))


def compared(device: RtlDevice, rng: np.random.Generator, programs: int) -> int:
    """Codes of random programs that are the interpreter's."""
    codes = 0
    for _ in range(programs):
        program = random_program(NANO, rng)
        inputs = random_inputs(program, rng)
        wanted = Interp(NANO).run(program, inputs, layers=True)
        got = device.run(program, inputs, layers=True)
        assert len(got.layers) == len(program.execs) > 0
        assert not compare({**wanted.layers, **wanted.outputs}, {**got.layers, **got.outputs})
        codes += sum(x.size for x in (*got.layers.values(), *got.outputs.values()))
    assert codes
    return codes


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.value)
def test_programs(target: Target, rng: np.random.Generator, seed: int) -> None:
    netlist_library(NANO, target)
    device = RtlDevice(NANO, netlist=target, stalls=0.2, seed=seed, max_cycles=200_000)
    assert compared(device, rng, 4) > 100


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.value)
def test_networks(target: Target, rng: np.random.Generator) -> None:
    """Every layer is the integer model's, and the cycles are the RTL's."""
    device, rtl = RtlDevice(NANO, netlist=target), RtlDevice(NANO)
    for layers in (1, 3):
        graph, program = random_network(rng, NANO, layers)
        inputs = {n.name: rng.integers(n.low, n.high + 1, (2, *n.type.shape)) for n in graph.inputs}
        golden = graph.evaluate({name: torch.from_numpy(x) for name, x in inputs.items()})
        got = device.run(program, inputs, layers=True)
        assert set(got.layers) == {n.name for n in graph.nodes if isinstance(n, Conv | MaxPool)}
        assert set(got.outputs) == set(graph.outputs)
        assert not compare(golden, {**got.layers, **got.outputs})
        wanted = rtl.run(program, inputs).cycles
        assert got.cycles is not None
        assert wanted is not None
        assert got.cycles.tolist() == wanted.tolist()


def flipped(cell: Cell) -> Cell:
    """A LUT with the bit of INIT flipped that is looked up when all inputs are 0."""
    init = cell.parameters["INIT"]
    changed = init[:-1] + "10"[int(init[-1])]
    return replace(cell, parameters=cell.parameters | {"INIT": changed})


def test_a_flipped_bit_of_a_lut_is_noticed(rng: np.random.Generator) -> None:
    """One bit of one LUT of the array's dot products or accumulators."""
    modules = netlists(NANO, Target.XCUP)
    name = next(name for name in modules if "dot" in name)
    module = modules[name]
    index = next(
        k
        for k, cell in enumerate(module.cells)
        if cell.kind.startswith("LUT") and set(cell.parameters["INIT"]) <= {"0", "1"}
    )
    cells = list(module.cells)
    cells[index] = flipped(cells[index])
    faulty: dict[str, Netlist] = modules | {name: replace(module, cells=cells)}
    text = verilog(faulty, Target.XCUP)
    assert text != verilog(modules, Target.XCUP)
    library(NANO, text, optimize="-O0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sigbit_sim.rtl.device.library",
            lambda config, text, **_: library(config, text, optimize="-O0"),
        )
        device = RtlDevice(NANO, verilog=text, max_cycles=200_000)
        with pytest.raises((AssertionError, DeviceError)):
            compared(device, rng, 10)


def test_targets_without_models_are_refused() -> None:
    with pytest.raises(ToolchainError, match="no models of the cells of ice40"):
        verilog({}, Target.ICE40)


def test_block_memories_have_one_clock() -> None:
    ram = Cell("ram", "DP16KD", {"CLKA": [2], "CLKB": [3]}, {})
    module = Netlist({"a": [2], "b": [3]}, {}, [ram], {}, Path(), ())
    with pytest.raises(ToolchainError, match="two clocks"):
        verilog({"top": module}, Target.ECP5)
