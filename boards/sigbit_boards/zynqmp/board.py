"""A board with a Zynq UltraScale+, and the files of its project."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from sigbit_boards.zynqmp.ipxact import VLNV, component
from sigbit_boards.zynqmp.wrapper import REGISTERS, TOP, masters, wrapper
from sigbit_hw.arch import bus
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.emit import NAME
from sigbit_synthesis.emitted import cached_verilog
from sigbit_synthesis.target import Target

BASE = 0xA000_0000
"""Base address of the registers: the first address of M_AXI_HPM0_FPD."""
MEMORY_BYTES = 64 << 20
"""Size of the u-dma-buf buffer that the overlay requests."""
CLOCKS_MHZ = (10.0, 400.0)
"""Range of clock frequencies that a project may request of pl_clk0."""
_HP_PORTS = 4
_HP_BITS = 128
_FIRST_GP, _FIRST_AFI = 2, 4
_AFI_REGISTERS = 14
_AFI_OF_BITS = {128: 0, 64: 1, 32: 2}
_JOBS = 2


@dataclass(frozen=True)
class HighPerformancePort:
    """A memory port: the accelerator's interface ``master``, ``bits`` wide, on
    ``S_AXI_HP{hp}_FPD``, which Vivado calls ``S_AXI_GP{gp}``."""

    master: str
    hp: int
    gp: int
    bits: int

    @property
    def name(self) -> str:
        """Name of the cell between the two."""
        return f"memory{self.hp}"


@dataclass(frozen=True)
class ZynqBoard:
    """A board; implements :class:`sigbit_boards.registry.Project`.

    Parameters
    ----------
    name : str
        Name of its folder.
    title : str
        Display name.
    part : str
        Device on the board, by its ordering code.
    board_files : str
        Pattern of its board files in Vivado.
    kria : bool
        True if firmware is loaded by ``xmutil``.
    preset : str
        Default accelerator.
    """

    name: str
    title: str
    part: str
    board_files: str
    kria: bool
    preset: str

    target = Target.XCUP

    def memory_ports(self, config: ArchConfig) -> tuple[HighPerformancePort, ...]:
        """Memory ports of the accelerator; raises ``ValueError`` if it has too many."""
        names = masters(config)
        if len(names) > _HP_PORTS:
            raise ValueError(f"{self.title} has {_HP_PORTS} memory ports, not {len(names)}")
        bits = min(_HP_BITS, 8 * config.port_bytes)
        return tuple(
            HighPerformancePort(name, hp, _FIRST_GP + hp, bits) for hp, name in enumerate(names)
        )

    def files(self, config: ArchConfig, clock_mhz: float, netlist: str) -> Mapping[str, str]:
        """Texts of the project's files by their paths; ``netlist`` is the SHA-256 that its README
        names.

        Raises ``ValueError`` for a clock outside :data:`CLOCKS_MHZ` or too many ports.
        """
        low, high = CLOCKS_MHZ
        if not low <= clock_mhz <= high:
            raise ValueError(f"pl_clk0 makes {low:g} to {high:g} MHz, not {clock_mhz:g}")
        ports = self.memory_ports(config)
        facts = {
            **asdict(self),
            "board": self.name,
            "name": TOP,
            "arch": config.name,
            "clock_mhz": f"{clock_mhz:g}",
            "hertz": round(clock_mhz * 1e6),
            "jobs": _JOBS,
            "constraints": "constraints.xdc",
            "vlnv": ":".join(VLNV),
            "registers": REGISTERS,
            "base": f"{BASE:#x}",
            "address": f"{BASE:x}",
            "range": f"{bus.PAGE_BYTES:#x}",
            "memory": f"{MEMORY_BYTES:#x}",
            "ports": ports,
            "widths": _widths(ports),
            "netlist": netlist,
        }
        sources = {f"{NAME}.v": cached_verilog(config), f"{TOP}.v": wrapper(config)}
        return {
            **{f"ip/{name}": text for name, text in sources.items()},
            "ip/component.xml": component(config, list(sources)),
            **{path: _rendered(template, facts) for path, template in _TEMPLATES.items()},
            **({f"firmware/{TOP}/shell.json": _SHELL} if self.kria else {}),
        }


_TEMPLATES = {
    "build.tcl": "build.tcl.j2",
    "design.tcl": "design.tcl.j2",
    "constraints.xdc": "constraints.xdc.j2",
    "overlay.dts": "overlay.dts.j2",
    f"{TOP}.bif": "firmware.bif.j2",
    "Makefile": "Makefile.j2",
    "README.md": "README.md.j2",
}
_SHELL = json.dumps({"shell_type": "XRT_FLAT", "num_slots": "1"}) + "\n"


def _widths(ports: tuple[HighPerformancePort, ...]) -> list[str]:
    """Pairs of register and value of ``xlnx,afi-fpga``: reads and writes of every port in use, and
    32 bits for the processor's masters."""
    pairs = [
        (_FIRST_AFI + 2 * port.hp + i, _AFI_OF_BITS[port.bits]) for port in ports for i in (0, 1)
    ]
    return [f"<{register} {value}>" for register, value in [*pairs, (_AFI_REGISTERS, 0)]]


def _rendered(template: str, facts: Mapping[str, object]) -> str:
    environment = Environment(
        loader=PackageLoader(__package__),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(template).render(facts)
