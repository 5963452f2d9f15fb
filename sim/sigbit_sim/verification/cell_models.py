"""Simulation of gateware made of UltraScale+ cells with Yosys' models of the vendor's cells."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from amaranth.back import rtlil
from amaranth.hdl import Shape, Signal
from amaranth.lib import wiring

from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_sim.rtl.native import verilated
from sigbit_tools.toolchain import synth_tool

_MAIN = """
#include "Vsigbit.h"
#include <cstdio>
#include <cstring>
template <typename T> char* bytes(T& port) {{ return reinterpret_cast<char*>(&port); }}
template <std::size_t N> char* bytes(VlWide<N>& port) {{
    return reinterpret_cast<char*>(port.data());
}}
int main() {{
    Vsigbit top;
    char in[{in_bytes}];
    top.rst = 0;
    while (std::fread(in, sizeof in, 1, stdin) == 1) {{
{drive}
        top.clk = 0;
        top.eval();
{sample}
        top.clk = 1;
        top.eval();
    }}
}}
"""


class VerilogModel:
    """Compiled Verilog module ``top``.

    Parameters
    ----------
    text : str
        Verilog; ``top`` has inputs ``clk`` and ``rst``, which stays 0.
    inputs, outputs : dict
        Bits of its other ports by name.
    folder : Path
        Folder for its files; empty.
    """

    def __init__(
        self, text: str, inputs: dict[str, int], outputs: dict[str, int], folder: Path
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        (folder / "top.v").write_text(text)
        (folder / "main.cpp").write_text(
            _MAIN.format(
                in_bytes=sum(map(self._bytes, self.inputs.values())),
                drive=self._copies("std::memcpy(bytes(top.{}), in + {}, {});", self.inputs),
                sample=self._copies("std::fwrite(bytes(top.{0}), {2}, 1, stdout);", self.outputs),
            )
        )
        verilated.translate(folder / "top.v", "top", ("--output-split", "0"))
        self.program = folder / "simulation"
        verilated.build(folder, ["main.cpp"], self.program, optimize="-O0")

    @staticmethod
    def _bytes(bits: int) -> int:
        """Bytes that Verilator uses for a port."""
        return next((size for size in (1, 2, 4, 8) if bits <= 8 * size), -(-bits // 32) * 4)

    def _copies(self, form: str, ports: dict[str, int]) -> str:
        lines, offset = [], 0
        for name, bits in ports.items():
            lines.append("        " + form.format(name, offset, self._bytes(bits)))
            offset += self._bytes(bits)
        return "\n".join(lines)

    def run(self, inputs: dict[str, list[int]]) -> dict[str, list[int]]:
        """Outputs just before the clock edge of every cycle; unsigned."""
        assert inputs.keys() == self.inputs.keys()
        cycles = len(next(iter(inputs.values())))
        data = b"".join(
            int(inputs[name][k]).to_bytes(self._bytes(bits), "little")
            for k in range(cycles)
            for name, bits in self.inputs.items()
        )
        done = subprocess.run([str(self.program)], input=data, capture_output=True, check=True)
        sizes = [self._bytes(bits) for bits in self.outputs.values()]
        rows = np.frombuffer(done.stdout, np.uint8).reshape(cycles, sum(sizes))
        parts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
        return {
            name: [int.from_bytes(row.tobytes(), "little") for row in part]
            for name, part in zip(self.outputs, parts, strict=True)
        }


class CellModel(VerilogModel):
    """A component in its form for UltraScale+, compiled.

    Parameters
    ----------
    component : wiring.Component
        Clocked by ``sync``.
    folder : Path
        Folder for its files; empty.
    edit : function, optional
        Modification of the RTLIL, such as a planted fault.
    """

    def __init__(
        self, component: wiring.Component, folder: Path, edit: Callable[[str], str] | None = None
    ) -> None:
        ports = {
            "__".join(map(str, path)): (member.flow, Signal(Shape.cast(member.shape)))
            for path, member, _ in component.signature.flatten(component)
        }
        inputs = {name: len(s) for name, (flow, s) in ports.items() if flow is wiring.In}
        outputs = {name: len(s) for name, (flow, s) in ports.items() if flow is wiring.Out}
        text = rtlil.convert(component, name="top", platform=Fabric.XCUP, emit_src=False)
        (folder / "top.il").write_text(edit(text) if edit else text)
        script = "read_rtlil top.il; read_verilog +/xilinx/cells_sim.v; hierarchy -check -top top; "
        script += "proc; flatten; opt_clean; write_verilog -noattr top.v"
        subprocess.run([synth_tool("yosys"), "-q", "-p", script], cwd=folder, check=True)
        super().__init__((folder / "top.v").read_text(), inputs, outputs, folder)
