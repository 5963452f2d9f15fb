"""Dot products made of UltraScale+ cells equal those in plain RTL, for all codes: a solver compares
both, with the cell models that Yosys brings."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth.back import rtlil

from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.gateware.compute.mac import DotProduct
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_tools.toolchain import synth_tool

pytestmark = pytest.mark.synth

S20, S31, S41, S42 = EsbFormat(2, 0), EsbFormat(3, 1), EsbFormat(4, 1), EsbFormat(4, 2)
U21 = EsbFormat(2, 1, signed=False)

FLAT = "proc; flatten; opt -fast"
SCRIPT = f"""
read_rtlil gate.il; read_verilog +/xilinx/cells_sim.v; hierarchy -top gate; {FLAT}
delete */t:$spec*; design -save gate; design -reset
read_rtlil gold.il; hierarchy -top gold; {FLAT}
design -copy-from gate -as gate gate
miter -equiv -flatten -make_outputs gold gate miter; hierarchy -top miter; opt -fast
tee -o proof.txt sat -verify -prove trigger 0 -set in_rst 0 -seq {{cycles}} \\
    -prove-skip {{latency}} miter
"""


def equal(
    weights: EsbFormat,
    acts: EsbFormat,
    lanes: int,
    folder: Path,
    edit: Callable[[str], str] = lambda text: text,
) -> bool:
    """Whether both forms give the same outputs.

    There is no feedback, so all that the registers ever hold is inputs of the last ``latency``
    cycles: two cycles after as many prove it for all.
    """
    dut = DotProduct(weights, acts, lanes)
    latency = dut.latency
    gold = rtlil.convert(dut, name="gold", emit_src=False)
    gate = rtlil.convert(dut, name="gate", platform=Fabric.XCUP, emit_src=False)
    (folder / "gold.il").write_text(gold)
    (folder / "gate.il").write_text(edit(gate))
    (folder / "script.ys").write_text(SCRIPT.format(cycles=latency + 2, latency=latency))
    done = subprocess.run(
        [str(synth_tool("yosys")), "-q", "-s", "script.ys"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    success = "no model found: SUCCESS" in (folder / "proof.txt").read_text()
    assert success == (done.returncode == 0), done.stderr
    return success


@pytest.mark.parametrize(
    ("weights", "acts", "lanes"), [(S41, S42, 2), (S20, U21, 4), (S31, S31, 4)], ids=str
)
def test_cells(weights: EsbFormat, acts: EsbFormat, lanes: int, tmp_path: Path) -> None:
    """Pairs, threes, products inverted in the tree and in their tables."""
    assert equal(weights, acts, lanes, tmp_path)


def test_one_wrong_bit(tmp_path: Path) -> None:
    """Control: one bit of one LUT's contents is refuted."""

    def edit(text: str) -> str:
        place = text.index("64'", text.index("cell \\LUT6_2 \\sum_")) + len("64'") + 31
        return text[:place] + str(1 - int(text[place])) + text[place + 1 :]

    assert not equal(S20, U21, 4, tmp_path, edit)
