"""How busy the array was: from a Program and the cycles in which its instructions ran."""

from collections.abc import Mapping
from dataclasses import dataclass

from sigbit_hw.arch.addressing import blocks_of_run
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Instr, Opcode
from sigbit_hw.arch.program import Program


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
        Cycles from the start of the layer's first ``EXEC`` to the end of its last, without those of
        other layers between them.
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


def exec_steps(listing: list[Instr], config: ArchConfig) -> dict[int, int]:
    """Cycles that each ``EXEC`` feeds the array, by instruction index: blocks times steps of its
    segments."""
    entries: dict[int, int] = {}
    steps = {}
    for index, instr in enumerate(listing):
        if instr.opcode == Opcode.SEG:
            entries[instr.index] = instr.n_ic * instr.n_kx * instr.n_ky
        elif instr.opcode == Opcode.EXEC:
            blocks = instr.n_ocb * instr.n_rows * blocks_of_run(instr, config)
            steps[index] = blocks * sum(entries[s] for s in range(instr.n_seg))
    return steps


def layer_cycles(
    program: Program, execs: Mapping[int, tuple[int, int]]
) -> tuple[list[LayerCycles], LayerCycles]:
    """Every computed layer and, as ``total``, the whole image.

    ``execs`` maps the index of every ``EXEC`` to its cycles [start, stop). Overlapping spans, an
    ``EXEC`` that drains while the next one is fed, are counted once, for the later one. The total
    counts the cycles from the first start to the last stop, waiting between layers included.
    """
    fed_by = exec_steps(program.listing, program.config)
    layer_of = {info.index: info.layer for info in program.execs}
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
