"""Longest logic paths between registers, through the whole hierarchy, exact without flattening.

Every module is analysed once: its paths between registers and, for the modules around it, the
distances of its inputs from internal registers, of its outputs behind them, and the outputs that
inputs reach without a register. Of the paths between two places, those are kept that no other path
exceeds in both levels and carry chains.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

from sigbit_synthesis import arcs as cells
from sigbit_synthesis.arcs import Arc
from sigbit_synthesis.netlist import Cell, Netlist
from sigbit_tools.toolchain import ToolchainError

Bit = tuple[str, int]
"""Name of a port and position of a bit."""


@dataclass(frozen=True)
class Path:
    """A path between registers: LUT levels, carry chains, start and end."""

    levels: int
    carries: int
    start: str
    end: str


@dataclass(frozen=True)
class Part:
    """Part of a path: levels, carry chains, and the register at its end or start."""

    levels: int
    carries: int
    name: str = ""

    def after(self, levels: int, carries: int) -> "Part":
        """Return this part extended by more logic."""
        return Part(self.levels + levels, self.carries + carries, self.name)


@dataclass(frozen=True)
class Timing:
    """Timing data of a module that the modules around it need.

    Parameters
    ----------
    paths : list of Path
        The longest paths between its registers and those of its submodules, without paths inside
        submodules.
    arrivals, departures : dict
        For bits of outputs, the parts from registers to them; for bits of inputs, the parts from
        them to registers.
    through : dict
        For bits of inputs, the bits of outputs that they reach without a register, and the parts in
        between.
    """

    paths: list[Path]
    arrivals: dict[Bit, list[Part]] = field(default_factory=dict)
    departures: dict[Bit, list[Part]] = field(default_factory=dict)
    through: dict[Bit, list[tuple[Bit, Part]]] = field(default_factory=dict)


Logic = TypeVar("Logic", Part, Path)


def pareto(parts: Iterable[Logic]) -> list[Logic]:
    """Parts that no other part equals or exceeds in levels and carries; the first of equal
    parts."""
    kept: list[Logic] = []
    for part in sorted(parts, key=lambda p: (-p.levels, -p.carries)):
        if not kept or part.carries > kept[-1].carries:
            kept.append(part)
    return kept


def analyze(
    netlist: Netlist, children: Mapping[str, Timing], only: Callable[[str], bool] | None = None
) -> Timing:
    """Return the timing of a module, given that of its submodules.

    With ``only``, paths start and end only in instances for whose names it returns True. Raises
    :class:`ToolchainError` on a logic loop.
    """
    graph = _Graph(netlist, children, only or (lambda name: True))
    arrivals = graph.forward(graph.starts)
    paths = [
        Path(a.levels + d.levels, a.carries + d.carries, a.name, d.name)
        for net, parts in graph.ends.items()
        for a in arrivals.get(net, ())
        for d in parts
    ]
    departures = graph.backward(graph.ends)
    outputs = _bits_of(netlist.outputs)
    reaching = graph.backward({net: [Part(0, 0)] for net in outputs})
    through = {}
    for net, bits in _bits_of(netlist.inputs).items():
        if net not in reaching:
            continue
        found = graph.forward({net: [Part(0, 0)]}, within=reaching.keys())
        pairs = [
            (out, part)
            for sink, parts in found.items()
            for out in outputs.get(sink, ())
            for part in parts
        ]
        through.update(dict.fromkeys(bits, pairs))
    return Timing(
        pareto(paths),
        {bit: arrivals[net] for net, bits in outputs.items() if net in arrivals for bit in bits},
        {
            bit: departures[net]
            for net, bits in _bits_of(netlist.inputs).items()
            if net in departures
            for bit in bits
        },
        through,
    )


def _bits_of(ports: Mapping[str, list[int | str]]) -> dict[int, list[Bit]]:
    """Bits of ports by net."""
    found: dict[int, list[Bit]] = {}
    for name, bits in ports.items():
        for index, net in enumerate(bits):
            if isinstance(net, int):
                found.setdefault(net, []).append((name, index))
    return found


class _Graph:
    """Nets and the arcs between them in topological order."""

    def __init__(
        self, netlist: Netlist, children: Mapping[str, Timing], only: Callable[[str], bool]
    ) -> None:
        self.starts: dict[int, list[Part]] = {}
        self.ends: dict[int, list[Part]] = {}
        self._out: dict[int, list[Arc]] = {}
        self._in: dict[int, list[Arc]] = {}
        drivers = {
            net: cell.kind
            for cell in netlist.cells
            for bits in cell.outputs.values()
            for net in bits
            if isinstance(net, int)
        }
        for cell in netlist.cells:
            if cell.kind in children:
                self._add_child(cell, children[cell.kind], only(cell.name))
                continue
            for arc in cells.arcs(cell, drivers):
                self._add(arc)
            if only(cell.name):
                for net, levels in cells.starts(cell):
                    name = netlist.nets.get(net, cell.name)
                    self.starts.setdefault(net, []).append(Part(levels, 0, name))
                name = _register_name(cell, netlist)
                for net in cells.ends(cell):
                    self.ends.setdefault(net, []).append(Part(0, 0, name))
        self.ends = {net: pareto(parts) for net, parts in self.ends.items()}
        self._order = self._sorted(netlist)

    def _add(self, arc: Arc) -> None:
        self._out.setdefault(arc.source, []).append(arc)
        self._in.setdefault(arc.sink, []).append(arc)

    def _add_child(self, cell: Cell, timing: Timing, counted: bool) -> None:
        def net(pins: dict[str, list[int | str]], bit: Bit) -> int | None:
            bits = pins.get(bit[0], [])
            found = bits[bit[1]] if bit[1] < len(bits) else None
            return found if isinstance(found, int) else None

        for source, sinks in timing.through.items():
            for sink, part in sinks:
                a, b = net(cell.inputs, source), net(cell.outputs, sink)
                if a is not None and b is not None:
                    self._add(Arc(a, b, part.levels, part.carries))
        for table, pins, parts in (
            (timing.arrivals, cell.outputs, self.starts),
            (timing.departures, cell.inputs, self.ends),
        ):
            for bit, found in table.items() if counted else ():
                if (at := net(pins, bit)) is not None:
                    named = [replace(part, name=f"{cell.name}.{part.name}") for part in found]
                    parts.setdefault(at, []).extend(named)

    def _sorted(self, netlist: Netlist) -> dict[int, int]:
        """Topological position of every net that has arcs."""
        sorter: TopologicalSorter[int] = TopologicalSorter()
        for sink, found in self._in.items():
            sorter.add(sink, *(arc.source for arc in found))
        try:
            return {net: k for k, net in enumerate(sorter.static_order())}
        except CycleError as error:
            loop = ", ".join(netlist.nets.get(net, str(net)) for net in error.args[1])
            raise ToolchainError(f"logic loops without a register: {loop}") from error

    def forward(
        self, sources: Mapping[int, list[Part]], within: Collection[int] | None = None
    ) -> dict[int, list[Part]]:
        """Parts from ``sources`` to every net behind them, over the nets in ``within``."""
        return self._spread(sources, self._out, lambda arc: arc.sink, 1, within)

    def backward(self, sinks: Mapping[int, list[Part]]) -> dict[int, list[Part]]:
        """Parts from every net before ``sinks`` to them."""
        return self._spread(sinks, self._in, lambda arc: arc.source, -1, None)

    def _spread(
        self,
        seeds: Mapping[int, list[Part]],
        edges: Mapping[int, list[Arc]],
        far: Callable[[Arc], int],
        sign: int,
        within: Collection[int] | None,
    ) -> dict[int, list[Part]]:
        cone, stack = set(seeds), list(seeds)
        while stack:
            for arc in edges.get(stack.pop(), ()):
                net = far(arc)
                if net not in cone and (within is None or net in within):
                    cone.add(net)
                    stack.append(net)
        found: dict[int, list[Part]] = {net: list(parts) for net, parts in seeds.items()}
        for net in sorted(cone, key=lambda n: sign * self._order.get(n, 0)):
            parts = found[net] = pareto(found[net])
            for arc in edges.get(net, ()):
                if far(arc) in cone:
                    more = [part.after(arc.levels, arc.carries) for part in parts]
                    found.setdefault(far(arc), []).extend(more)
        return found


def _register_name(cell: Cell, netlist: Netlist) -> str:
    """Name of a register: that of its output's net."""
    for bits in cell.outputs.values():
        for net in bits:
            if isinstance(net, int) and net in netlist.nets:
                return netlist.nets[net]
    return cell.name
