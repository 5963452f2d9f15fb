"""The netlists of synthesis in the loop: Programs give the interpreter's codes in every layer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from amaranth.hdl import Fragment

from hw.test_dot_product import corners, word
from sigbit.ir.integer import Conv, MaxPool
from sigbit.runtime import DeviceError, compare
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.gateware.compute.mac import DotProduct
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.native.build import library
from sigbit_sim.rtl.netlist import netlist_library, netlists, verilog
from sigbit_sim.verification.cell_models import VerilogModel
from sigbit_sim.verification.networks import random_network
from sigbit_synthesis.emitted import cached_rtlil
from sigbit_synthesis.modules import split
from sigbit_synthesis.netlist import Cell, Netlist, map_modules
from sigbit_synthesis.target import Target
from sigbit_tools.toolchain import ToolchainError

pytestmark = [pytest.mark.sim, pytest.mark.synth, pytest.mark.slow]

NANO = PRESETS["nano"]
TARGETS = (Target.XCUP, Target.ECP5)


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


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.value)
def test_programs(target: Target, rng: np.random.Generator, seed: int) -> None:
    netlist_library(NANO, target)
    device = RtlDevice(NANO, netlist=target, stalls=0.2, seed=seed, max_cycles=200_000)
    assert compared(device, rng, 4) > 100


@pytest.mark.long
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


def with_a_flipped_bit(module: Netlist) -> Netlist:
    """The module with one bit of one LUT flipped."""
    index = next(
        k
        for k, cell in enumerate(module.cells)
        if cell.kind.startswith("LUT") and set(cell.parameters["INIT"]) <= {"0", "1"}
    )
    cells = list(module.cells)
    cells[index] = flipped(cells[index])
    return replace(module, cells=cells)


@pytest.mark.long
def test_a_flipped_bit_of_a_lut_is_noticed(rng: np.random.Generator) -> None:
    """One bit of one LUT of the array's dot products or accumulators."""
    modules = netlists(NANO, Target.XCUP)
    name = next(name for name in modules if "dot" in name)
    faulty: dict[str, Netlist] = modules | {name: with_a_flipped_bit(modules[name])}
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


def test_a_leaf_of_the_array(rng: np.random.Generator, tmp_path: Path) -> None:
    """The netlist of the dot product alone, and the same with a flipped bit of a LUT."""
    target = Target.XCUP
    source = split(cached_rtlil(NANO, target.fabric, traced=True))["dot_product"]
    module = map_modules([source], target, lambda *_: None)[source.name]
    assert not module.children
    dut = DotProduct(NANO.weight_format, NANO.act_format, NANO.ic_lanes)
    Fragment.get(dut, None)  # Amaranth warns of components that nobody elaborates
    weights = corners(rng, dut.weight_format, dut.ic_lanes, 2000)
    acts = corners(rng, dut.act_format, dut.ic_lanes, 2000)
    codes = {
        "weights": [word(row, dut.weight_format.bits) for row in weights],
        "acts": [word(row, dut.act_format.bits) for row in acts],
    }

    ins, outs = (
        {name: len(bits) for name, bits in group.items() if name not in ("clk", "rst")}
        for group in (module.inputs, module.outputs)
    )
    modules = {"right": module, "wrong": with_a_flipped_bit(module)}
    given = {"clk": 1, "rst": 1, **ins}
    taken = {f"{name}_{port}": bits for name in modules for port, bits in outs.items()}
    ports = [f"input [{bits - 1}:0] {name}" for name, bits in given.items()]
    ports += [f"output [{bits - 1}:0] {name}" for name, bits in taken.items()]
    top = [f"module top({', '.join(ports)});"]
    for name in modules:
        pins = [f".{pin}({pin})" for pin in given]
        pins += [f".{port}({name}_{port})" for port in outs]
        top.append(f"{name} {name}_0({', '.join(pins)});")
    text = "\n".join([verilog(modules, target), *top, "endmodule"])
    model = VerilogModel(text, ins, taken, tmp_path)
    found = model.run({name: words + [0] * dut.latency for name, words in codes.items()})

    def sums(name: str) -> list[int]:
        sign = 1 << (outs["dot"] - 1)
        pairs = zip(found[f"{name}_dot"], found[f"{name}_carry"], strict=True)
        return [(dot ^ sign) - sign + carry for dot, carry in pairs][dut.latency :]

    wanted = dut.compute(weights, acts).tolist()
    assert sums("right") == wanted
    assert sums("wrong") != wanted


def test_targets_without_models_are_refused() -> None:
    with pytest.raises(ToolchainError, match="no models of the cells of ice40"):
        verilog({}, Target.ICE40)


def test_block_memories_have_one_clock() -> None:
    ram = Cell("ram", "DP16KD", {"CLKA": [2], "CLKB": [3]}, {})
    module = Netlist({"a": [2], "b": [3]}, {}, [ram], {}, Path(), ())
    with pytest.raises(ToolchainError, match="two clocks"):
        verilog({"top": module}, Target.ECP5)
