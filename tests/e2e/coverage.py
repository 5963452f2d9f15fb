"""What a campaign of random networks has reached: operations and corner bins, counted."""

from collections import Counter

import numpy as np

from sigbit.ir.integer import Conv, Gather, Input, IntegerGraph, MaxPool
from sigbit_hw.arch.isa import Opcode
from sigbit_hw.arch.program import Program

BINS = (
    "op input", "op conv", "op grouped", "op depthwise", "op linear", "op residual",
    "op transposed", "op upsampling", "op maxpool", "op gather", "input folded", "two inputs",
    "several outputs", "stride 2", "stride 3", "dilation", "padding", "asymmetric padding", "crop",
    "kernel above 4", "terms 2", "planes 2", "planes 3", "planes 3 times terms 2",
    "output saturates high", "output saturates low", "sum is 0", "zero not 0",
    "several line ends in a block", "lines shorter than a block", "run across lines",
    "rows one by one", "reduction split over EXECs", "spilled", "several images",
    "column phases", "halo filled", "weights loaded again", "sync", "partial last block",
)
"""Every bin that a long campaign must reach."""


class Coverage:
    """Counts of :data:`BINS` over the networks seen."""

    def __init__(self) -> None:
        self.networks = 0
        self.codes = 0
        self.counts: Counter[str] = Counter()

    @property
    def missing(self) -> list[str]:
        """Bins that no network has reached."""
        return [name for name in BINS if not self.counts[name]]

    def add(self, graph: IntegerGraph, program: Program, values: dict[str, np.ndarray]) -> None:
        """Count what one network does; ``values`` are the stored integers of all its tensors."""
        self.networks += 1
        found = set(_of_graph(graph, values)) | set(_of_program(program))
        assert found <= set(BINS), found - set(BINS)
        self.counts.update(found)

    def table(self) -> str:
        """The counts, one bin a line."""
        lines = [f"{self.networks} networks, {self.codes:,} codes compared"]
        lines += [f"  {self.counts[name]:6d}  {name}" for name in BINS]
        return "\n".join(lines)


def _of_graph(graph: IntegerGraph, values: dict[str, np.ndarray]) -> list[str]:
    found = []
    if len(graph.inputs) > 1:
        found.append("two inputs")
    if len(graph.outputs) > 1:
        found.append("several outputs")
    for node in graph.nodes:
        if node.type.zero:
            found.append("zero not 0")
        if node.type.planes > 1:
            found.append(f"planes {node.type.planes}")
        if isinstance(node, Input):
            found.append("op input")
        elif isinstance(node, MaxPool):
            found += ["op maxpool", *_padding(node.padding)]
        elif isinstance(node, Gather):
            found.append("op gather")
        elif isinstance(node, Conv):
            found += _of_conv(graph, node)
            pre = values[f"{node.name} pre-activation"]
            found += ["output saturates high"] * bool((pre == 127).any())
            found += ["output saturates low"] * bool((pre == -128).any())
            found += ["sum is 0"] * bool((pre == 0).any())
    return found


def _of_conv(graph: IntegerGraph, node: Conv) -> list[str]:
    found = ["op residual"] if len(node.sources) > 1 else []
    for source in node.sources:
        channels, height, width = graph[source.tensor].type.shape
        kernel = source.weights.shape[2:]
        if source.upsampling != (1, 1):
            found.append("op transposed" if source.groups == 1 else "op upsampling")
        elif source.groups == 1:
            whole = kernel == (height, width) and node.type.shape[1:] == (1, 1)
            found.append("op linear" if whole else "op conv")
        else:
            found.append("op depthwise" if source.groups == channels else "op grouped")
        found += [f"stride {s}" for s in source.stride if s > 1]
        found += ["dilation"] * (source.dilation != (1, 1) and max(kernel) > 1)
        found += ["kernel above 4"] * (max(kernel) > 4)
        found += ["terms 2"] * (source.terms == 2)
        wide = graph[source.tensor].type.planes == 3 and source.terms == 2
        found += ["planes 3 times terms 2"] * wide
        found += _padding(source.padding)
    return found


def _padding(padding: tuple[int, ...]) -> list[str]:
    top, left, bottom, right = padding
    found = ["padding"] * (max(padding) > 0)
    found += ["crop"] * (min(padding) < 0)
    return found + ["asymmetric padding"] * (top != bottom or left != right)


def _of_program(program: Program) -> list[str]:
    found = ["input folded"] * any(p.fold for p in program.inputs)
    found += ["several images"] * (program.images > 1)
    pixels = program.config.pixels
    stores, loads, weights = set(), set(), Counter[int]()
    for instr in program.listing:
        if instr.opcode == Opcode.EXEC:
            found += ["sync"] * bool(instr.sync)
            found += ["partial last block"] * bool(instr.run % pixels)
            found += ["reduction split over EXECs"] * bool(instr.keep)
            found.append("run across lines" if instr.run > instr.wrap else "rows one by one")
            if instr.run > instr.wrap:
                found += ["lines shorter than a block"] * (instr.wrap < pixels)
                found += ["several line ends in a block"] * (2 * instr.wrap <= pixels)
        elif instr.opcode == Opcode.FILL:
            found.append("halo filled")
        elif instr.opcode == Opcode.OUT:
            found += ["column phases"] * (instr.phases > 1)
        elif instr.opcode == Opcode.STORE:
            stores.add(instr.address)
        elif instr.opcode == Opcode.LOAD and instr.kind == 0:
            weights[instr.address] += 1
        elif instr.opcode == Opcode.LOAD and instr.kind == 1:
            loads.add(instr.address)
    low, high = program.write_window
    found += ["spilled"] * any(low <= a < high for a in loads)
    return found + ["weights loaded again"] * any(n > 1 for n in weights.values())
