"""Synthesis with open tools: resource counts of an accelerator, module by module.

Yosys maps each distinct module once; the total multiplies by the instances. Counts are cells before
place and route: every LUT of a carry chain is a cell of its own, where a vendor's packer would
often share one.
"""

import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.emit import NAME, rtlil
from sigbit_sim.toolchain import ToolchainError, synth_tool


class Target(Enum):
    """A fabric: the Yosys command that maps to it (no DSP blocks)."""

    XCUP = "synth_xilinx -family xcup -nodsp -noiopad -noclkbuf"
    ECP5 = "synth_ecp5 -nodsp -noflatten"
    ICE40 = "synth_ice40 -noflatten"


@dataclass(frozen=True)
class Resources:
    """Cells of a module or a design.

    ``lut`` counts LUT cells, distributed memory and, on ECP5, two for each CCU2C (its two LUT4);
    ``block_bits`` is the capacity of the block memories used.
    """

    lut: int
    ff: int
    carry: int
    dsp: int
    block_bits: int

    @classmethod
    def of_cells(cls, cells: Mapping[str, int]) -> "Resources":
        """Sum up Yosys's cell counts by type."""

        def total(*prefixes: str) -> int:
            return sum(n for cell, n in cells.items() if cell.startswith(prefixes))

        ccu2c = cells.get("CCU2C", 0)
        distributed = sum(n * _DISTRIBUTED_LUTS.get(cell, 0) for cell, n in cells.items()) + total(
            "SRL"
        )
        return cls(
            lut=total("LUT", "SB_LUT", "INV") + 2 * ccu2c + distributed,
            ff=total("FD", "TRELLIS_FF", "SB_DFF"),
            carry=total("CARRY", "SB_CARRY") + ccu2c,
            dsp=total("DSP", "MULT18X18D", "ALU54B", "SB_MAC16"),
            block_bits=sum(n * _BLOCK_BITS.get(cell, 0) for cell, n in cells.items()),
        )


_BLOCK_BITS = {
    "RAMB18E2": 18 * 1024,
    "RAMB36E2": 36 * 1024,
    "URAM288": 288 * 1024,
    "DP16KD": 18 * 1024,
    "PDPW16KD": 18 * 1024,
    "SB_RAM40_4K": 4 * 1024,
}
_DISTRIBUTED_LUTS = {
    "RAM32X1S": 1, "RAM32X1D": 2, "RAM64X1S": 1, "RAM64X1D": 2, "RAM128X1S": 2, "RAM128X1D": 4,
    "RAM256X1S": 4, "RAM256X1D": 8, "RAM512X1S": 8, "RAM32M": 4, "RAM32M16": 8, "RAM64M": 4,
    "RAM64M8": 8, "TRELLIS_DPR16X4": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Module:
    """One distinct module: its name, its instances, and what one costs without its submodules."""

    name: str
    instances: int
    own: Resources


@dataclass(frozen=True)
class Report:
    """Resources of an accelerator: in all, and by distinct module, the costliest first."""

    config: ArchConfig
    target: Target
    total: Resources
    modules: tuple[Module, ...]

    @property
    def lut_per_mac(self) -> float:
        """LUTs of the whole accelerator for each multiply-accumulate a cycle."""
        return self.total.lut / self.config.macs


def synthesize(config: ArchConfig, target: Target) -> Report:
    """Map the accelerator of ``config`` to ``target``; minutes for the larger presets.

    Raises :class:`ToolchainError` with the log's last lines if Yosys fails, or if its result still
    holds behavioural code, which it can leave while reporting success.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "design.il").write_text(rtlil(config))
        script = (
            f"read_rtlil design.il; {target.value} -top {NAME}; check -assert; "
            "tee -o stat.json stat -json"
        )
        command = [str(synth_tool("yosys")), "-q", "-l", "log.txt", "-p", script]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        stat = Path(folder) / "stat.json"
        if done.returncode or not stat.exists():
            log = (Path(folder) / "log.txt").read_text().splitlines()[-5:]
            raise ToolchainError("yosys failed: " + " / ".join([*log, done.stderr[-500:]]))
        result = json.loads(stat.read_text())
    if result["design"]["num_processes"]:
        raise ToolchainError("yosys left processes unmapped although it reported success")
    return _report(config, target, result)


def _report(config: ArchConfig, target: Target, stat: dict[str, Any]) -> Report:
    cells = {
        name.removeprefix("\\"): module["num_cells_by_type"]
        for name, module in stat["modules"].items()
    }
    instances = Counter({NAME: 1})
    for name in _parents_first(cells):
        for child, count in cells[name].items():
            if child in cells:
                instances[child] += count * instances[name]
    modules = tuple(
        Module(
            name,
            instances[name],
            Resources.of_cells({c: n for c, n in own.items() if c not in cells}),
        )
        for name, own in cells.items()
    )
    flat: Counter[str] = Counter()
    for name, own in cells.items():
        flat.update({c: n * instances[name] for c, n in own.items() if c not in cells})
    ordered = tuple(sorted(modules, key=lambda m: (-m.instances * m.own.lut, m.name)))
    return Report(config, target, Resources.of_cells(flat), ordered)


def _parents_first(cells: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Module names such that every module comes before those that it instantiates."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for child in cells[name]:
                if child in cells:
                    visit(child)
            order.append(name)

    visit(NAME)
    return order[::-1]
