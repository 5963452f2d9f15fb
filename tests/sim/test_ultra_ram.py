"""UltraRAM: the model of its cell against a plain reference, and activation banks made of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil

from sigbit.runtime import compare
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_hw.gateware.fabric.leaf import Storage
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.netlist import cell_models, netlists
from sigbit_sim.verification.cell_models import VerilogModel
from sigbit_synthesis.target import Target

CYCLES, PLACES = 2000, 3
PINS = {"addr": 12, "bwe": 9, "din": 72, "en": 1, "write": 1, "rst": 1}
INDEPENDENT, INTERLEAVED = "PARITY_INDEPENDENT", "PARITY_INTERLEAVED"


def top(modes: tuple[str, str]) -> str:
    ports = [f"input [{n - 1}:0] {name}_{p}" for p in "ab" for name, n in PINS.items()]
    ports += [f"output [71:0] dout_{p}" for p in "ab"]
    pins = ["CLK(clk)", "SLEEP(1'b0)"]
    for p in "ab":
        pins += [f"RDB_WR_{p.upper()}(write_{p})", f"ADDR_{p.upper()}({{11'b0, addr_{p}}})"]
        pins += [f"{n.upper()}_{p.upper()}({n}_{p})" for n in ("bwe", "din", "en", "rst", "dout")]
    modes_text = ", ".join(f'.BWE_MODE_{p}("{m}")' for p, m in zip("AB", modes, strict=True))
    return (
        f"module top(input clk, input rst, {', '.join(ports)});\n"
        f"  URAM288 #({modes_text}) ram ({', '.join('.' + pin for pin in pins)});\nendmodule\n"
    )


def written(mode: str, bwe: int) -> int:
    """Bits of a word that these byte enables write."""
    data = sum(0xFF << 8 * i for i in range(8) if bwe >> i & 1)
    parity = (0xFF if bwe >> 8 else 0) if mode == INDEPENDENT else bwe & 0xFF
    return data | parity << 64


@pytest.mark.sim
@pytest.mark.parametrize(
    "modes",
    [
        (INTERLEAVED, INDEPENDENT),
        pytest.param((INDEPENDENT, INTERLEAVED), marks=pytest.mark.long),
    ],
)
def test_a_cell_is_a_memory_whose_port_a_acts_first(modes, rng, tmp_path: Path) -> None:
    inputs = {f"{name}_{p}": n for p in "ab" for name, n in PINS.items()}
    text = "\n".join([top(modes), *cell_models({"URAM288"}, Target.XCUP)])
    model = VerilogModel(text, inputs, {"dout_a": 72, "dout_b": 72}, tmp_path)
    places = rng.integers(0, 4096, PLACES)
    given = {name: rng.integers(0, 1 << min(n, 62), CYCLES).tolist() for name, n in inputs.items()}
    for p in "ab":
        given[f"addr_{p}"] = rng.choice(places, CYCLES).tolist()
        given[f"rst_{p}"] = (rng.random(CYCLES) < 0.05).astype(int).tolist()
        given[f"din_{p}"] = [int.from_bytes(rng.bytes(9), "little") for _ in range(CYCLES)]
    got = model.run(given)
    memory, out = dict.fromkeys(places.tolist(), 0), {"a": 0, "b": 0}
    for i in range(CYCLES):
        assert {p: got[f"dout_{p}"][i] for p in "ab"} == out
        seen = dict(memory)
        for p, mode in zip("ab", modes, strict=True):
            at, enabled, writes = (given[f"{n}_{p}"][i] for n in ("addr", "en", "write"))
            if enabled and writes:
                hits = written(mode, given[f"bwe_{p}"][i])
                memory[at] = memory[at] & ~hits | given[f"din_{p}"][i] & hits
            elif enabled:
                out[p] = memory[at] if p == "b" else seen[at]
            if given[f"rst_{p}"][i]:
                out[p] = 0


ULTRA = replace(PRESETS["nano"], name="ultra", act_slots=16384, ultra_ram=True)


@pytest.mark.sim
@pytest.mark.synth
@pytest.mark.slow
@pytest.mark.long
def test_a_bank_is_one_block_and_programs_give_their_codes(rng: np.random.Generator) -> None:
    """8,192 words of 16 bits; a port that could read while it writes would take two blocks."""
    modules = netlists(ULTRA, Target.XCUP)
    cells = [cell.kind for module in modules.values() for cell in module.cells]
    assert cells.count("URAM288") == 1  # in the module of which the two banks are instances
    device = RtlDevice(ULTRA, netlist=Target.XCUP, stalls=0.2, max_cycles=400_000)
    compared = 0
    for _ in range(3):
        program = random_program(ULTRA, rng)
        inputs = random_inputs(program, rng)
        wanted = Interp(ULTRA).run(program, inputs, layers=True)
        got = device.run(program, inputs, layers=True)
        assert not compare({**wanted.layers, **wanted.outputs}, {**got.layers, **got.outputs})
        compared += sum(x.size for x in got.layers.values())
    assert compared > 100


@pytest.mark.parametrize("fabric", [Fabric.ECP5, Fabric.ICE40])
def test_other_fabrics_do_not_differ(fabric: Fabric) -> None:
    def text(ultra: bool, on: Fabric) -> str:
        bank = Storage(16, 8192, ("sync", "sync"), (1,), ultra)
        return rtlil.convert(bank, name="bank", platform=on, emit_src=False)

    assert text(ultra=True, on=fabric) == text(ultra=False, on=fabric)
    assert text(ultra=True, on=Fabric.XCUP) != text(ultra=False, on=Fabric.XCUP)
