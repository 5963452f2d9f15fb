"""Activity of the array and its waiting times, from a Program and the cycles in which its
instructions ran."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sigbit_hw.arch.addressing import blocks_of_run
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Exec, Instr, Mode, Out, Seg
from sigbit_hw.arch.program import Program

CLOCK = 200e6
"""Clock in hertz for which images per second are stated."""
COPIES = "(copies)"
"""Name of array work that belongs to no layer: tensors converted to another layout."""


@dataclass(frozen=True)
class LayerCycles:
    """Cycles of one layer in one image.

    Parameters
    ----------
    ideal : float
        Cycles if every multiplier worked in every one of them; 0 for layers that do not multiply.
    fed : int
        Cycles in which the array took operands for this layer.
    cycles : int
        Cycles from the start of the layer's first ``EXEC`` to the end of its last, without the
        cycles of other layers in between.
    """

    name: str
    ideal: float
    fed: int
    cycles: int

    @property
    def utilization(self) -> float:
        """``ideal / cycles``."""
        return self.ideal / self.cycles if self.cycles else 0.0

    @property
    def share_fed(self) -> float:
        """``fed / cycles``."""
        return self.fed / self.cycles if self.cycles else 0.0


def exec_layers(program: Program) -> dict[int, str]:
    """Return the layer of every ``EXEC`` by instruction index, :data:`COPIES` for those without a
    layer."""
    listed = {info.index: info.layer for info in program.execs}
    tagged = dict(enumerate(info.name for info in program.layers))
    return {
        index: listed.get(index) or tagged.get(instr.tag, COPIES)
        for index, instr in enumerate(program.listing)
        if isinstance(instr, Exec)
    }


def exec_steps(listing: list[Instr], config: ArchConfig) -> dict[int, int]:
    """Cycles that each ``EXEC`` feeds the array, by instruction index: blocks times steps of its
    segments."""
    entries: dict[int, int] = {}
    steps = {}
    for index, instr in enumerate(listing):
        if isinstance(instr, Seg):
            entries[instr.index] = instr.steps
        elif isinstance(instr, Exec):
            blocks = instr.n_ocb * instr.n_rows * blocks_of_run(instr, config)
            steps[index] = blocks * sum(entries[s] for s in range(instr.n_seg))
    return steps


@dataclass(frozen=True)
class LayerTime:
    """Distribution of the cycles of one layer of a run; the cycles of different layers do not
    overlap.

    Parameters
    ----------
    ideal : float
        Cycles if every multiplier worked in every one of them.
    fed : int
        Cycles in which the array took operands.
    drain : int
        Cycles in which it waited for the drain of the previous block.
    wait : int
        All others: loads, stores, tokens, the pipeline.
    """

    name: str
    ideal: float
    fed: int
    drain: int
    wait: int

    @property
    def cycles(self) -> int:
        """All cycles."""
        return self.fed + self.drain + self.wait

    @property
    def bound(self) -> str:
        """Largest share of the cycles: "compute", "drain" or "loads"."""
        parts = {"compute": self.fed, "drain": self.drain, "loads": self.wait}
        return max(parts, key=lambda name: parts[name])


def layer_times(program: Program, retires: Sequence[int]) -> list[LayerTime]:
    """Return the times of every computed layer and, as :data:`COPIES`, of the work without a layer.

    ``retires`` holds the cycle in which each ``EXEC`` retires, by instruction index. The time since
    the previous ``EXEC`` belongs to its layer, so that all times add up to the last retirement.
    """
    config = program.config
    fed_by = exec_steps(program.listing, config)
    names, layer_of = [*(info.name for info in program.layers), COPIES], exec_layers(program)
    fed, drain, spent = (dict.fromkeys(names, 0) for _ in range(3))
    planes, last = 0, 0
    for index, instr in enumerate(program.listing):
        if isinstance(instr, Out):
            planes = instr.n_planes
        if not isinstance(instr, Exec):
            continue
        name = layer_of[index]
        blocks = instr.n_ocb * instr.n_rows * blocks_of_run(instr, config)
        each = config.drain_cycles(planes, maximum=instr.mode == Mode.MAX)
        least = blocks * each if instr.drain else 0
        fed[name] += fed_by[index]
        drain[name] += max(0, least - fed_by[index])
        spent[name] += int(retires[index]) - last
        last = int(retires[index])
    ideal = {info.name: info.macs * program.images / config.macs for info in program.layers}
    times = []
    for name in names:
        waited = max(0, min(drain[name], spent[name] - fed[name]))
        wait = max(0, spent[name] - fed[name] - waited)
        if spent[name]:
            times.append(LayerTime(name, ideal.get(name, 0.0), fed[name], waited, wait))
    return times


def layer_cycles(
    program: Program, execs: Mapping[int, tuple[int, int]]
) -> tuple[list[LayerCycles], LayerCycles]:
    """Return the cycles of every computed layer and, as ``total``, of the whole image.

    ``execs`` maps the index of every ``EXEC`` to its cycles [start, stop). Overlapping spans, an
    ``EXEC`` that drains while the next one is fed, are counted once, for the later one. The total
    counts the cycles from the first start to the last stop, waiting between layers included.
    """
    fed_by = exec_steps(program.listing, program.config)
    layer_of = exec_layers(program)
    fed: dict[str, int] = {}
    cycles: dict[str, int] = {}
    ordered = sorted(execs.items(), key=lambda item: item[1])
    for (index, (start, stop)), following in zip(
        ordered, [span for _, span in ordered[1:]] + [None], strict=True
    ):
        layer = layer_of[index]
        end = stop if following is None else min(stop, following[0])
        cycles[layer] = cycles.get(layer, 0) + end - start
        fed[layer] = fed.get(layer, 0) + fed_by[index]
    rows = [
        LayerCycles(info.name, info.macs / program.config.macs, fed[info.name], cycles[info.name])
        for info in program.layers
        if info.name in cycles
    ]
    spans = [span for _, span in ordered]
    whole = max(stop for _, stop in spans) - min(start for start, _ in spans) if spans else 0
    total = LayerCycles("total", sum(r.ideal for r in rows), sum(r.fed for r in rows), whole)
    return rows, total
