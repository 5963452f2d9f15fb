"""What an accelerator costs on a target, block by block."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from sigbit_boards.synthesis.netlist import Netlist, map_modules
from sigbit_boards.synthesis.resources import Resources
from sigbit_boards.synthesis.source import design, split
from sigbit_boards.synthesis.target import Target
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.emit import NAME

ENGINE, ARRAY, DRAIN = "compute", "array", "drain"
"""Instances: of the compute engine in the accelerator; of array and post-processing in the
engine."""
POOL = "pool_"
"""How the running maxima's instances in the array begin."""


@dataclass(frozen=True)
class Block:
    """Equal instances of a module in a module: how many, and what each costs with all below it."""

    name: str
    module: str
    instances: int
    own: Resources
    total: Resources
    children: tuple["Block", ...]

    def child(self, name: str) -> "Block":
        """The child of this name; ``LookupError`` if there is none."""
        return next(block for block in self.children if block.name == name)


@dataclass(frozen=True)
class Module:
    """One distinct module: its name, its instances, and what one costs without its submodules."""

    name: str
    instances: int
    own: Resources


@dataclass(frozen=True)
class Report:
    """Resources and longest logic paths of an accelerator.

    Parameters
    ----------
    config, target
        What was mapped to what.
    netlist_sha256 : str
        SHA-256 of the RTLIL that Yosys mapped.
    modules : tuple of Module
        Distinct modules, the costliest first.
    tree : Block
        The accelerator, by blocks.
    """

    config: ArchConfig
    target: Target
    netlist_sha256: str
    modules: tuple[Module, ...]
    tree: Block

    @property
    def total(self) -> Resources:
        """The whole accelerator."""
        return self.tree.total

    @cached_property
    def pooling(self) -> Resources:
        """The running maxima, which lie in the array but multiply nothing."""
        array = self.tree.child(ENGINE).child(ARRAY)
        pools = [block for block in array.children if block.name.startswith(POOL)]
        return sum((block.total * block.instances for block in pools), Resources())

    @cached_property
    def array(self) -> Resources:
        """Multiply-accumulates: the array and all below it, without the running maxima."""
        return self.tree.child(ENGINE).child(ARRAY).total - self.pooling

    @property
    def lut_per_mac(self) -> float:
        """LUTs of the whole accelerator for each multiply-accumulate a cycle."""
        return self.total.lut / self.config.macs

    @property
    def lut_per_mac_array(self) -> float:
        """LUTs of the array alone for each multiply-accumulate a cycle."""
        return self.array.lut / self.config.macs


def synthesize(
    config: ArchConfig,
    target: Target,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Map the accelerator of ``config`` to ``target``: each distinct module once, none again that
    was mapped before.

    Parameters
    ----------
    progress : callable, optional
        Called with the name of a finished module, how many are, and of how many.

    Raises :class:`~sigbit_sim.toolchain.ToolchainError` with the log's last lines if Yosys fails,
    or if the result has multiplier blocks or cells that are not the target's.
    """
    text = design(config, target.fabric)
    netlists = map_modules(split(text).values(), target, progress or (lambda *_: None))
    return Report(
        config,
        target,
        hashlib.sha256(text.encode()).hexdigest(),
        _modules(netlists),
        _block(NAME, NAME, 1, netlists, {}),
    )


def short(module: str) -> str:
    """A module's name for people: without the accelerator's and without numbers of names."""
    return module.removeprefix(f"{NAME}_").partition("$")[0]


def _block(
    name: str, module: str, instances: int, netlists: Mapping[str, Netlist],
    seen: dict[str, tuple[Block, ...]],
) -> Block:
    """A module as a block; ``seen`` keeps the children of modules."""
    netlist = netlists[module]
    if module not in seen:
        seen[module] = tuple(
            _block(cells[0], kind, len(cells), netlists, seen)
            for kind, cells in _instances(netlist, netlists)
        )
    own = _own(netlist, netlists)
    total = sum((child.total * child.instances for child in seen[module]), own)
    return Block(name, module, instances, own, total, seen[module])


def _instances(
    netlist: Netlist, netlists: Mapping[str, Netlist]
) -> Iterator[tuple[str, list[str]]]:
    """Submodules and the names of their instances."""
    names: dict[str, list[str]] = {}
    for cell in netlist.cells:
        if cell.kind in netlists:
            names.setdefault(cell.kind, []).append(cell.name)
    return iter(names.items())


def _own(netlist: Netlist, netlists: Mapping[str, Netlist]) -> Resources:
    counts = netlist.counts()
    return Resources.of_cells({kind: n for kind, n in counts.items() if kind not in netlists})


def _modules(netlists: Mapping[str, Netlist]) -> tuple[Module, ...]:
    """Distinct modules that the accelerator holds, the costliest first."""
    uses: Counter[str] = Counter({NAME: 1})
    for name in parents_first(netlists):
        for kind, cells in _instances(netlists[name], netlists):
            uses[kind] += uses[name] * len(cells)
    modules = [Module(short(name), n, _own(netlists[name], netlists)) for name, n in uses.items()]
    return tuple(sorted(modules, key=lambda m: (-m.instances * m.own.lut, m.name)))


def parents_first(netlists: Mapping[str, Netlist]) -> list[str]:
    """Module names such that every module comes before those that it instantiates."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            for kind, _ in _instances(netlists[name], netlists):
                visit(kind)
            order[name] = None

    visit(NAME)
    return list(order)[::-1]
