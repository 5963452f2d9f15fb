"""The calls of a project's scripts, and what is wrong with them."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STUB = Path(__file__).with_name("stub.tcl")

ORDER = (
    ("create_project", "set_property board_part"),
    ("set_property board_part", "create_bd_design"),
    ("set_property ip_repo_paths", "update_ip_catalog"),
    ("update_ip_catalog", "create_bd_cell"),
    ("create_bd_design", "create_bd_cell"),
    ("create_bd_cell", "connect_bd_net"),
    ("apply_bd_automation", "set_property -dict"),
    ("connect_bd_intf_net", "assign_bd_address"),
    ("assign_bd_address", "validate_bd_design"),
    ("validate_bd_design", "save_bd_design"),
    ("save_bd_design", "generate_target"),
    ("make_wrapper", "set_property top"),
    ("set_property top", "launch_runs"),
    ("launch_runs", "wait_on_run"),
    ("wait_on_run", "open_run"),
    ("open_run", "write_bitstream"),
    ("open_run", "write_hw_platform"),
)
"""Commands, the first of each pair before the second."""

COMMANDS = set(Path(__file__).with_name("commands.txt").read_text().split())
"""Commands of Vivado that the scripts may use: UG835."""

PINS = {
    "zynq_ultra_ps_e": {
        *["pl_clk0", "pl_resetn0", "pl_ps_irq0", "maxihpm0_fpd_aclk", "M_AXI_HPM0_FPD"],
        *(f"saxihp{i}_fpd_aclk" for i in range(4)),
        *(f"S_AXI_HP{i}_FPD" for i in range(4)),
    },
    "proc_sys_reset": {
        *["slowest_sync_clk", "ext_reset_in", "peripheral_reset", "interconnect_aresetn"],
        *["aux_reset_in", "mb_debug_sys_rst", "dcm_locked", "mb_reset", "bus_struct_reset"],
        "peripheral_aresetn",
    },
    "smartconnect": {"aclk", "aresetn", "S00_AXI", "M00_AXI"},
}
"""Pins and interfaces of the vendor's cells: PG201, PG164, PG247."""

NEEDED = {
    "proc_sys_reset": {"slowest_sync_clk", "ext_reset_in"},
    "smartconnect": {"aclk", "aresetn", "S00_AXI", "M00_AXI"},
}


@dataclass
class Calls:
    """Calls in order, and what follows from them: cells by name, pins that are connected."""

    words: list[list[str]]
    errors: str
    cells: dict[str, str] = field(default_factory=dict)
    connected: list[tuple[str, str]] = field(default_factory=list)

    def named(self, command: str) -> list[list[str]]:
        """The calls of a command and, if given, of its first argument."""
        wanted = command.split()
        return [words for words in self.words if words[: len(wanted)] == wanted]


def run(script: Path) -> Calls:
    """Run a script with the stub."""
    done = subprocess.run(
        ["tclsh", str(STUB), str(script)], capture_output=True, text=True, check=False, timeout=60
    )
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    calls = Calls([w[1:] for w in lines if w[0] == "call"], done.stderr)
    for words in calls.named("create_bd_cell"):
        calls.cells[words[-1]] = words[words.index("-vlnv") + 1]
    for command in ("connect_bd_net", "connect_bd_intf_net"):
        calls.connected += [(words[1], words[2]) for words in calls.named(command)]
    return calls


def faults(folder: Path, pins: set[str], vlnv: str) -> list[str]:
    """What is wrong with the scripts in ``folder``, whose IP is ``vlnv`` and has the interfaces
    ``pins``, clocks, resets and interrupts among them."""
    calls = run(folder / "build.tcl")
    if calls.errors:
        return [calls.errors.splitlines()[0]]
    return [
        *_unknown(calls),
        *_order(calls),
        *_files(calls),
        *_versions(folder),
        *_connections(calls, pins, vlnv),
        *_addresses(calls),
    ]


def _unknown(calls: Calls) -> Iterator[str]:
    for words in calls.words:
        if words[0] not in COMMANDS:
            yield f"unknown command {words[0]}"


def _order(calls: Calls) -> Iterator[str]:
    def first(command: str) -> int | None:
        wanted = command.split()
        found = (i for i, w in enumerate(calls.words) if w[: len(wanted)] == wanted)
        return next(found, None)

    for earlier, later in ORDER:
        a, b = first(earlier), first(later)
        if a is None or b is None or a > b:
            yield f"{earlier} must come before {later}"


def _files(calls: Calls) -> Iterator[str]:
    for words in calls.named("add_files"):
        for name in words[1:]:
            if "/" in name and not Path(name).is_file():
                yield f"no file {name}"
    for words in calls.named("set_property ip_repo_paths"):
        if not (Path(words[2]) / "component.xml").is_file():
            yield f"no IP in {words[2]}"


def _versions(folder: Path) -> Iterator[str]:
    """No version of Vivado, of the vendor's IP or of board files may be fixed."""
    for name in ("build.tcl", "design.tcl"):
        text = (folder / name).read_text()
        yield from (f"{name} fixes {v}" for v in re.findall(r"xilinx\.com:ip:\w+:[\d.]+", text))
        yield from (f"{name} fixes {v}" for v in re.findall(r"part0:[\d.]+", text))
        yield from (f"{name} asks for a version" for _ in re.findall(r"version -short", text))


def _connections(calls: Calls, pins: set[str], vlnv: str) -> Iterator[str]:
    ends = [end for pair in calls.connected for end in pair]
    kinds = {name: v.split(":")[2] for name, v in calls.cells.items()}
    ours = [name for name, v in calls.cells.items() if v == vlnv]
    if len(ours) != 1:
        yield f"{len(ours)} cells of {vlnv}"
    for end in ends:
        cell, _, pin = end.partition("/")
        known = pins if cell in ours else PINS.get(kinds.get(cell, ""), set())
        if pin not in known:
            yield f"there is no {end}"
    for name, kind in kinds.items():
        needed = pins if name in ours else NEEDED.get(kind, set())
        yield from (
            f"{name}/{pin} is open" for pin in sorted(needed) if f"{name}/{pin}" not in ends
        )
    yield from _processor(calls, ends, [name for name, k in kinds.items() if "ps_e" in k])
    receivers = [pair[1] for pair in calls.connected]
    yield from (f"{end} has two drivers" for end in set(receivers) if receivers.count(end) > 1)


def _processor(calls: Calls, ends: Sequence[str], cells: Sequence[str]) -> Iterator[str]:
    """Ports that the processing system has because they are switched on need a clock and a use."""
    words = [word for call in calls.named("set_property -dict") for word in call]
    text = " ".join(words)
    wanted = {"M_AXI_HPM0_FPD", "maxihpm0_fpd_aclk"} if "USE__M_AXI_GP0 1" in text else set()
    wanted |= {"pl_ps_irq0"} if "USE__IRQ0 1" in text else set()
    for gp in re.findall(r"USE__S_AXI_GP(\d) 1", text):
        wanted |= {f"S_AXI_HP{int(gp) - 2}_FPD", f"saxihp{int(gp) - 2}_fpd_aclk"}
    used = {end.split("/")[1] for end in ends if end.split("/")[0] in cells}
    asked = {pin for pin in used if pin.startswith(("M_AXI", "S_AXI", "maxi", "saxi", "pl_ps"))}
    yield from (f"ps/{pin} is switched on and open" for pin in sorted(wanted - used))
    yield from (f"ps/{pin} is used and not switched on" for pin in sorted(asked - wanted))


def _addresses(calls: Calls) -> Iterator[str]:
    spaces = {
        words[words.index("-target_address_space") + 1]: words
        for words in calls.named("assign_bd_address")
    }
    masters = {a for a, _ in calls.connected if a.startswith("accelerator/m_axi")}
    yield from (f"{master} sees no memory" for master in sorted(masters - set(spaces)))
    registers = spaces.get("ps/Data", [])
    if "-offset" not in registers or int(registers[registers.index("-offset") + 1], 0) % 4096:
        yield "the registers have no address"
