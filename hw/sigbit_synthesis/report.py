"""Cost of an accelerator on a target, block by block."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.emit import NAME
from sigbit_synthesis.emitted import cached_rtlil
from sigbit_synthesis.modules import split
from sigbit_synthesis.netlist import Netlist, map_modules
from sigbit_synthesis.paths import Path, Timing, analyze, pareto
from sigbit_synthesis.resources import Resources
from sigbit_synthesis.target import Target

ENGINE, ARRAY, DRAIN = "compute", "array", "drain"
"""Instance names: of the compute engine in the accelerator; of array and post-processing in the
engine."""
GOAL = "array and post-processing"
"""Paths that limit the clock of the multiply-accumulates."""
POOL = "pool_"
"""Prefix of the instances of the running maxima in the array."""


@dataclass(frozen=True)
class Block:
    """Identical instances of a module within a module: their number, and the cost of each with
    everything below it."""

    name: str
    module: str
    instances: int
    own: Resources
    total: Resources
    children: tuple["Block", ...]

    def child(self, name: str) -> "Block":
        """Return the child of this name; raises ``LookupError`` if there is none."""
        return next(block for block in self.children if block.name == name)


@dataclass(frozen=True)
class Module:
    """One distinct module: its name, its number of instances, the cost of one without its
    submodules, and its longest paths that do not lie within one of them."""

    name: str
    instances: int
    own: Resources
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Report:
    """Resources and longest logic paths of an accelerator.

    Parameters
    ----------
    config, target
        Accelerator and target of the synthesis.
    netlist_sha256 : str
        SHA-256 of the RTLIL that Yosys mapped.
    modules : tuple of Module
        Distinct modules, the most expensive first.
    tree : Block
        The accelerator by blocks.
    paths : dict
        Longest paths of the ``accelerator`` between its registers, and within ``compute engine``,
        ``array``, ``post-processing``, and ``array and post-processing``, which includes the paths
        between the two.
    """

    config: ArchConfig
    target: Target
    netlist_sha256: str
    modules: tuple[Module, ...]
    tree: Block
    paths: dict[str, tuple[Path, ...]]

    @property
    def levels(self) -> int:
        """Maximum number of LUT levels on any path in array and post-processing."""
        return max((path.levels for path in self.paths[GOAL]), default=0)

    @property
    def carries(self) -> int:
        """Maximum number of carry chains on any path in array and post-processing."""
        return max((path.carries for path in self.paths[GOAL]), default=0)

    @property
    def total(self) -> Resources:
        """Cost of the whole accelerator."""
        return self.tree.total

    @cached_property
    def pooling(self) -> Resources:
        """Cost of the running maxima, which lie in the array but multiply nothing."""
        array = self.tree.child(ENGINE).child(ARRAY)
        pools = [block for block in array.children if block.name.startswith(POOL)]
        return sum((block.total * block.instances for block in pools), Resources())

    @cached_property
    def array(self) -> Resources:
        """Cost of the multiply-accumulates: the array and everything below it, without the running
        maxima."""
        return self.tree.child(ENGINE).child(ARRAY).total - self.pooling

    @property
    def lut_per_mac(self) -> float:
        """LUTs of the whole accelerator per multiply-accumulate per cycle."""
        return self.total.lut / self.config.macs

    @property
    def lut_per_mac_array(self) -> float:
        """LUTs of the array alone per multiply-accumulate per cycle."""
        return self.array.lut / self.config.macs


def synthesize(
    config: ArchConfig,
    target: Target,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Map the accelerator of ``config`` to ``target``: each distinct module once, and none that has
    been mapped before.

    Parameters
    ----------
    progress : callable, optional
        Called with the name of a finished module, the number of finished modules, and their total.

    Raises :class:`~sigbit_tools.toolchain.ToolchainError` with the log's last lines if Yosys fails,
    or if the result has multiplier blocks or cells that are not the target's.
    """
    text = cached_rtlil(config, target.fabric)
    netlists = map_modules(split(text).values(), target, progress or (lambda *_: None))
    timings: dict[str, Timing] = {}
    for name in reversed(parents_first(netlists)):
        timings[name] = analyze(netlists[name], timings)
    return Report(
        config,
        target,
        _sha256(text),
        _modules(netlists, timings),
        _block(short(NAME), NAME, 1, netlists, {}),
        _paths(netlists, timings),
    )


def netlist_sha256(config: ArchConfig, target: Target) -> str:
    """Return :attr:`Report.netlist_sha256` without mapping anything."""
    return _sha256(cached_rtlil(config, target.fabric))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def short(module: str) -> str:
    """Display name of a module, without the prefix shared by all of them."""
    return plain(module).removeprefix(f"{NAME}_").removeprefix("sigbit_")


def plain(name: str) -> str:
    """A name without the numbers that make it unique."""
    return re.sub(r"\$\d+", "", name)


def _block(
    name: str,
    module: str,
    instances: int,
    netlists: Mapping[str, Netlist],
    seen: dict[str, tuple[Block, ...]],
) -> Block:
    """A module as a block; ``seen`` holds the children of modules already visited."""
    netlist = netlists[module]
    if module not in seen:
        seen[module] = tuple(
            _block(plain(cells[0]), kind, len(cells), netlists, seen)
            for kind, cells in _instances(netlist, netlists)
        )
    own = _own(netlist, netlists)
    total = sum((child.total * child.instances for child in seen[module]), own)
    return Block(name, module, instances, own, total, seen[module])


def _instances(
    netlist: Netlist, netlists: Mapping[str, Netlist]
) -> Iterator[tuple[str, list[str]]]:
    """Submodules with the names of their instances."""
    names: dict[str, list[str]] = {}
    for cell in netlist.cells:
        if cell.kind in netlists:
            names.setdefault(cell.kind, []).append(cell.name)
    return iter(names.items())


def _own(netlist: Netlist, netlists: Mapping[str, Netlist]) -> Resources:
    counts = netlist.counts()
    return Resources.of_cells({kind: n for kind, n in counts.items() if kind not in netlists})


def _modules(netlists: Mapping[str, Netlist], timings: Mapping[str, Timing]) -> tuple[Module, ...]:
    """Distinct modules of the accelerator, the most expensive first."""
    uses: Counter[str] = Counter({NAME: 1})
    for name in parents_first(netlists):
        for kind, cells in _instances(netlists[name], netlists):
            uses[kind] += uses[name] * len(cells)
    modules = [
        Module(short(name), n, _own(netlists[name], netlists), tuple(timings[name].paths))
        for name, n in uses.items()
    ]
    return tuple(sorted(modules, key=lambda m: (-m.instances * m.own.lut, m.name)))


def parents_first(netlists: Mapping[str, Netlist], top: str = NAME) -> list[str]:
    """Names of ``top`` and all modules below it, every module before those that it instantiates."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            for kind, _ in _instances(netlists[name], netlists):
                visit(kind)
            order[name] = None

    visit(top)
    return list(order)[::-1]


def _paths(
    netlists: Mapping[str, Netlist], timings: Mapping[str, Timing]
) -> dict[str, tuple[Path, ...]]:
    """The longest paths by part of the accelerator."""

    def module(parent: str, instance: str) -> str:
        return next(cell.kind for cell in netlists[parent].cells if plain(cell.name) == instance)

    def named(name: str, paths: Iterable[Path]) -> list[Path]:
        block = short(name)
        return [
            Path(p.levels, p.carries, f"{block}/{plain(p.start)}", f"{block}/{plain(p.end)}")
            for p in paths
        ]

    def longest(top: str) -> list[Path]:
        return [
            p for name in parents_first(netlists, top) for p in named(name, timings[name].paths)
        ]

    engine = module(NAME, ENGINE)
    parts = {
        "accelerator": longest(NAME),
        "compute engine": longest(engine),
        "array": longest(module(engine, ARRAY)),
        "post-processing": longest(module(engine, DRAIN)),
    }
    between = analyze(netlists[engine], timings, lambda name: plain(name) in (ARRAY, DRAIN)).paths
    parts[GOAL] = [*named(engine, between), *parts["array"], *parts["post-processing"]]
    return {name: tuple(pareto(paths)) for name, paths in parts.items()}
