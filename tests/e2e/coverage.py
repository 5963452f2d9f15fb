"""What a campaign of random networks has reached: operations and corner bins, counted."""

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from sigbit.compiler.legalize.join import join
from sigbit.ir.integer import Conv, Gather, Input, IntegerGraph, MaxPool, Source, tensors_of
from sigbit_hw.arch.isa import ENGINE_OF, Engine, LoadKind, Mode, Opcode
from sigbit_hw.arch.program import ExecInfo, Program

BINS = (
    # Graphs
    "op input",
    "op conv",
    "op grouped",
    "op depthwise",
    "op linear",
    "op residual",
    "op transposed",
    "op transposed of groups",
    "op upsampling",
    "op depth to space",
    "op space to depth",
    "op mosaic",
    "op maxpool",
    "op gather",
    "two inputs",
    "several outputs",
    "output read again",
    "three sources",
    "stride 2",
    "stride 3",
    "stride above 3",
    "dilation",
    "padding",
    "asymmetric padding",
    "crop",
    "kernel above 4",
    "weights all 0",
    "terms 2",
    "terms 3",
    "planes 2",
    "planes 3",
    "planes 3 times terms 2",
    "more than 32 channels",
    "zero not 0",
    "output saturates high",
    "output saturates low",
    "sum is 0",
    # Where channels lie
    "gather is a range",
    "gather copies",
    "gather selects",
    "gather of a gather",
    # The host's part
    "input folded",
    "input folded by lines",
    "fold with padding",
    "fold with dilation",
    "input in column phases",
    "several images",
    # Walks
    "several line ends in a block",
    "lines shorter than a block",
    "run across lines",
    "run without line ends",
    "rows one by one",
    "partial last block",
    "column phases",
    "maximum over column phases",
    "copy",
    "several output blocks",
    "last slots suppressed",
    "images side by side",
    "reduction split over EXECs",
    "digits share weight words",
    # Memory
    "halo filled",
    "input in bands",
    "output in bands",
    "spilled",
    "fused bands",
    "part of a beat stored",
    "weights loaded again",
    "parameters loaded again",
    "table loaded again",
    "weights replaced",
    "parameters replaced",
    "table replaced",
    # Order
    "sync",
    "waits for two engines",
    "signals two engines",
    "four tokens pending",
)
"""Every bin that a long campaign must reach."""

_TOTALS = ("networks", "refused", "exact_cycles", "codes")
RINGS = {LoadKind.WEIGHTS: "weights", LoadKind.PARAMS: "parameters", LoadKind.TABLE: "table"}


class Coverage:
    """Counts of :data:`BINS` over the networks seen."""

    def __init__(self) -> None:
        self.networks = 0
        self.refused = 0
        self.exact_cycles = 0
        self.codes = 0
        self.counts: Counter[str] = Counter()

    @property
    def missing(self) -> list[str]:
        """Bins that no network has reached."""
        return [name for name in BINS if not self.counts[name]]

    def add(self, graph: IntegerGraph, program: Program, values: dict[str, np.ndarray]) -> None:
        """Count what one network does; ``values`` are the stored integers of all its tensors."""
        self.networks += 1
        found = {
            *_of_graph(graph, values),
            *_of_gathers(graph, program),
            *_of_ports(program),
            *_of_execs(graph, program),
            *_of_moves(program),
            *_of_tokens(program),
        }
        assert found <= set(BINS), found - set(BINS)
        self.counts.update(found)

    def to_json(self) -> dict[str, Any]:
        """All counts."""
        return {name: getattr(self, name) for name in _TOTALS} | {"counts": dict(self.counts)}

    def merge(self, row: dict[str, Any]) -> None:
        """Add the counts that :meth:`to_json` gave."""
        for name in _TOTALS:
            setattr(self, name, getattr(self, name) + row[name])
        self.counts.update(row["counts"])

    def table(self) -> str:
        """The counts, one bin a line."""
        lines = [
            (
                f"{self.networks} networks ({self.exact_cycles} with exact cycles), "
                f"{self.refused} refused, {self.codes:,} codes compared"
            )
        ]
        lines += [f"  {self.counts[name]:6d}  {name}" for name in BINS]
        return "\n".join(lines)


def _of_graph(graph: IntegerGraph, values: dict[str, np.ndarray]) -> Iterator[str]:
    if len(graph.inputs) > 1:
        yield "two inputs"
    if len(graph.outputs) > 1:
        yield "several outputs"
    if {t for n in graph.nodes for t in tensors_of(n)} & set(graph.outputs):
        yield "output read again"
    for node in graph.nodes:
        if node.type.zero:
            yield "zero not 0"
        if node.type.planes > 1:
            yield f"planes {node.type.planes}"
        if node.type.shape[0] > 32:
            yield "more than 32 channels"
        if isinstance(node, Input):
            yield "op input"
        elif isinstance(node, MaxPool):
            yield "op maxpool"
            yield from _padding(node.padding)
        elif isinstance(node, Conv):
            yield from _of_conv(graph, node)
            pre = values[f"{node.name} pre-activation"]
            for name, y in (
                ("output saturates high", 127),
                ("output saturates low", -128),
                ("sum is 0", 0),
            ):
                if (pre == y).any():
                    yield name


def _is_piece(graph: IntegerGraph, source: Source) -> bool:
    """Whether a source is a tensor as it is, at a place of its own."""
    weights = source.weights
    alone = source.groups == graph[source.tensor].type.shape[0] == len(weights)
    return alone and weights[0].size == 1 and bool((weights == 1).all()) and any(source.padding)


def _of_conv(graph: IntegerGraph, node: Conv) -> Iterator[str]:
    if len(node.sources) > 1:
        yield "op residual"
    if len(node.sources) > 2:
        yield "three sources"
    if len(node.sources) > 1 and all(_is_piece(graph, s) for s in node.sources):
        yield "op mosaic"
    for source in node.sources:
        channels, height, width = graph[source.tensor].type.shape
        kernel = source.weights.shape[2:]
        if channels // source.groups == prod(kernel) > 1 and source.upsampling == kernel:
            yield "op depth to space"
        deep = len(source.weights) == channels * prod(kernel) > source.groups == channels
        if deep and source.stride == kernel:
            yield "op space to depth"
        if source.upsampling != (1, 1):
            yield "op upsampling" if source.groups == channels else "op transposed"
            if source.groups > 1:
                yield "op transposed of groups"
        elif source.groups == 1:
            whole = kernel == (height, width) and node.type.shape[1:] == (1, 1)
            yield "op linear" if whole else "op conv"
        else:
            yield "op depthwise" if source.groups == channels else "op grouped"
        for stride in source.stride:
            if stride > 1:
                yield f"stride {stride}" if stride < 4 else "stride above 3"
        if any(d > 1 and k > 1 for d, k in zip(source.dilation, kernel, strict=True)):
            yield "dilation"
        if max(kernel) > 4:
            yield "kernel above 4"
        if source.terms > 1:
            yield f"terms {source.terms}"
        if graph[source.tensor].type.planes == 3 and source.terms == 2:
            yield "planes 3 times terms 2"
        if not source.weights.any():
            yield "weights all 0"
        yield from _padding(source.padding)


def _padding(padding: tuple[int, ...]) -> Iterator[str]:
    top, left, bottom, right = padding
    if max(padding) > 0:
        yield "padding"
    if min(padding) < 0:
        yield "crop"
    if top != bottom or left != right:
        yield "asymmetric padding"


def _of_gathers(graph: IntegerGraph, program: Program) -> Iterator[str]:
    joins = join(graph, program.config)
    for node in graph.nodes:
        if isinstance(node, Gather):
            yield "op gather"
            if node.name in joins.selected:
                yield "gather selects"
            elif node.name not in joins.absorbed:
                yield "gather copies" if node.name in joins.clones else "gather is a range"
            if any(isinstance(graph[t], Gather) for t in node.tensors):
                yield "gather of a gather"


def _of_ports(program: Program) -> Iterator[str]:
    if program.images > 1:
        yield "several images"
    for port in program.inputs:
        if port.phases > 1:
            yield "input in column phases"
        if fold := port.fold:
            lines = fold.kernel[0] == 1 and fold.stride[0] == 1
            yield "input folded by lines" if lines else "input folded"
            if any(fold.padding):
                yield "fold with padding"
            if any(d > 1 and k > 1 for d, k in zip(fold.dilation, fold.kernel, strict=True)):
                yield "fold with dilation"


def _of_execs(graph: IntegerGraph, program: Program) -> Iterator[str]:
    config = program.config
    infos = {info.index: info for info in program.execs}
    yield from _fused(graph, list(program.execs))
    segments = {}
    out = None
    for index, instr in enumerate(program.listing):
        if instr.opcode == Opcode.SEG:
            segments[instr.index] = instr
        elif instr.opcode == Opcode.OUT:
            out = instr
            if instr.phases > 1:
                yield "column phases"
        elif instr.opcode == Opcode.EXEC:
            lines = instr.run > instr.wrap
            info = infos.get(index)
            flat = info is not None and info.rows > 1 and instr.n_rows == 1 and not lines
            yield (
                "run across lines"
                if lines
                else "run without line ends"
                if flat
                else ("rows one by one")
            )
            mac = instr.mode == Mode.MAC
            slots = instr.n_ocb * (config.slots_per_block if mac else 1)
            words = [segments[i].words for i in range(instr.n_seg)]
            reached = {
                "sync": instr.sync,
                "partial last block": instr.run % config.pixels,
                "reduction split over EXECs": instr.keep,
                "several output blocks": instr.n_ocb > 1,
                "lines shorter than a block": lines and instr.wrap < config.pixels,
                "several line ends in a block": lines and 2 * instr.wrap <= config.pixels,
                "images side by side": info is not None and info.images > 1,
                "copy": instr.drain and not mac and info is None,
                "maximum over column phases": not mac and instr.n_seg > 1,
                "last slots suppressed": out is not None and instr.drain and out.n_slots < slots,
                "digits share weight words": mac and len(set(words)) < len(words),
            }
            yield from (name for name, hit in reached.items() if hit)


def _fused(graph: IntegerGraph, infos: list[ExecInfo]) -> Iterator[str]:
    """A layer goes on after another that reads it has begun, in the same image."""
    begun: set[tuple[int, str]] = set()
    readers = {
        n.name: {m.name for m in graph.nodes if n.name in tensors_of(m)} for n in graph.nodes
    }
    for info in infos:
        if any((info.image, reader) in begun for reader in readers[info.layer]):
            yield "fused bands"
        begun.add((info.image, info.layer))


def _of_moves(program: Program) -> Iterator[str]:
    config = program.config
    low, high = program.write_window
    loaded: Counter[tuple[int | str, int]] = Counter()
    held: dict[tuple[int, int], int] = {}
    for instr in program.listing:
        if instr.opcode == Opcode.FILL:
            yield "halo filled"
        elif instr.opcode == Opcode.STORE:
            slots = instr.n0 * instr.n1 * instr.n2
            if slots * config.slot_bytes % config.bus_bytes:
                yield "part of a beat stored"
            loaded["STORE", instr.address] += 1
        elif instr.opcode == Opcode.LOAD:
            kind = LoadKind(instr.kind)
            if kind == LoadKind.ACTS and low <= instr.address < high:
                yield "spilled"
            loaded[kind, instr.address] += 1
            if kind in RINGS:
                if loaded[kind, instr.address] > 1:
                    yield f"{RINGS[kind]} loaded again"
                for entry in range(instr.dst, instr.dst + instr.n0):
                    if held.get((kind, entry), instr.address) != instr.address:
                        yield f"{RINGS[kind]} replaced"
                    held[kind, entry] = instr.address
    for name, what, ports in (
        ("input in bands", LoadKind.ACTS, program.inputs),
        ("output in bands", "STORE", program.outputs),
    ):
        for port in ports:
            end = port.offset + port.bytes(config)
            if sum(k == what and port.offset <= a < end for k, a in loaded) > 1:
                yield name


def _of_tokens(program: Program) -> Iterator[str]:
    pending: Counter[tuple[int, int]] = Counter()
    for instr in program.listing:
        engine = ENGINE_OF.get(Opcode(instr.opcode))
        if engine is None:
            continue
        others = [e for e in Engine if e != engine]
        if all(instr.wait >> e & 1 for e in others):
            yield "waits for two engines"
        if all(instr.signal >> e & 1 for e in others):
            yield "signals two engines"
        for other in others:
            pending[other, engine] -= instr.wait >> other & 1
            pending[engine, other] += instr.signal >> other & 1
            if pending[engine, other] >= 4:
                yield "four tokens pending"
