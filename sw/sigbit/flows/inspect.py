"""Contents of a compiled Program: layers, memory, traffic, instructions, predicted cycles."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigbit.flows.details.chip import Chip, chip
from sigbit.flows.details.codes import program_codes
from sigbit.flows.details.timeline import predicted as predicted_timeline
from sigbit.flows.host import HostOperation, host_operations
from sigbit.flows.result import Result, Stopwatch, plain
from sigbit.flows.traffic import Traffic, spilled, traffic
from sigbit.inputs.programs import load_program
from sigbit.report.grids import GridUse
from sigbit.report.metrics import layer_times
from sigbit.report.spans import Timeline
from sigbit_hw.arch.assembler import listing
from sigbit_hw.arch.isa import Exec
from sigbit_hw.arch.program import LayerInfo, Port, Program
from sigbit_sim.cycles import predict
from sigbit_sim.memory import MemoryTiming


@dataclass(frozen=True)
class LayerFigures:
    """A layer: the segments of its first ``EXEC`` (operands times pairs of terms), and its tiles,
    one per ``EXEC``."""

    info: LayerInfo
    segments: int
    tiles: int

    def to_json(self) -> dict[str, Any]:
        """Return the layer and its figures as one object."""
        return {**plain(self.info), "segments": self.segments, "tiles": self.tiles}


@dataclass(frozen=True)
class Region:
    """Bytes ``[start, end)`` of the DMA window."""

    start: int
    end: int
    content: str

    def to_json(self) -> dict[str, Any]:
        """Return the region as JSON values."""
        return {"from": self.start, "to": self.end, "content": self.content}


@dataclass(frozen=True)
class LayerCost:
    """Cycles and bytes of a layer in one run.

    Parameters
    ----------
    ideal : float
        Cycles if every multiplier worked in every one of them.
    fed, drain, wait : int
        Cycles in which the array takes operands, waits for the drain, waits for anything else.
    bound : str
        The largest share of the cycles: "compute", "drain" or "loads".
    """

    layer: str
    cycles: int
    ideal: float
    fed: int
    drain: int
    wait: int
    bound: str
    loaded_bytes: int
    stored_bytes: int


@dataclass(frozen=True)
class Prediction:
    """Cycles of one run, exactly as the RTL takes them.

    Parameters
    ----------
    latency : int
        Memory latency, in cycles.
    cycles : int
    utilization : float
        The layers' ideal cycles over all cycles.
    times : tuple of LayerCost
    timeline : Timeline, optional
        Activity of the engines; only if details were requested.
    """

    latency: int
    cycles: int
    utilization: float
    times: tuple[LayerCost, ...]
    timeline: Timeline | None


@dataclass(frozen=True)
class ProgramDetails:
    """Data for reports only: use of the memories on the chip, and the counts of each native weight
    code in the weights that its layers load."""

    chip: Chip
    weights: tuple[GridUse, ...]


@dataclass(frozen=True, kw_only=True)
class InspectedProgram(Result):
    """A Program in figures.

    Parameters
    ----------
    program : Program
    layers : tuple of LayerFigures
    memory_map : tuple of Region
        Regions in the order of their addresses.
    instructions : mapping
        Count of every opcode.
    traffic : Traffic
        Transfers and bytes of one run.
    prediction : Prediction, optional
        None if it was not requested.
    details : ProgramDetails, optional
        None if they were not requested.
    """

    program: Program
    layers: tuple[LayerFigures, ...]
    memory_map: tuple[Region, ...]
    instructions: Mapping[str, int]
    traffic: Traffic
    prediction: Prediction | None
    details: ProgramDetails | None

    @property
    def host(self) -> tuple[HostOperation, ...]:
        """Operations left to the host."""
        return host_operations(self.program.host)

    def listing(self) -> str:
        """Return the assembler listing, with a comment line where a new layer begins; it can be
        assembled again."""
        net, lines = self.program, []
        current = None
        for instr, line in zip(net.listing, listing(net.listing).splitlines(), strict=True):
            name = net.layers[instr.tag].name if instr.tag < len(net.layers) else "no layer"
            if name != current:
                lines.append(f"# {name}")
                current = name
            lines.append(line)
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the figures by name; those of the prediction only if there is one."""
        net = self.program
        return {
            "schema_version": self.schema_version,
            "name": net.name,
            "digest": net.digest,
            "arch": net.config.name,
            "arch_digest": net.config.digest,
            "images": net.images,
            "host": plain(self.host),
            "layers": plain(self.layers),
            "inputs": plain(net.inputs),
            "outputs": plain(net.outputs),
            "states": plain(net.states),
            "results": plain(net.results),
            "preprocessing": plain(net.preprocessing),
            "classes": list(net.classes),
            "memory_bytes": net.memory_bytes,
            "memory_map": plain(self.memory_map),
            "instructions": plain(self.instructions),
            "traffic_bytes": plain(self.traffic.bytes),
            **(plain(self.prediction) or {}),
            "details": plain(self.details),
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }


def inspect(
    program: Program | str | Path,
    *,
    cycles: bool = True,
    latency: int = 40,
    details: bool = False,
) -> InspectedProgram:
    """Take a Program apart.

    Raises :class:`~sigbit_hw.arch.program.ProgramError` for files that hold no Program.

    Parameters
    ----------
    program : Program, str or Path
        The Program, or the name of its file.
    cycles : bool
        Predict the cycles of every layer.
    latency : int
        Memory latency for the prediction, in cycles.
    details : bool
        Also collect the data that only a report shows: the timeline, the memories on the chip and
        the weights.
    """
    watch = Stopwatch()
    net = load_program(program)
    segments: dict[str, int] = {}
    for info in net.execs:
        execute = net.listing[info.index]
        if isinstance(execute, Exec):
            segments.setdefault(info.layer, execute.n_seg)
    tiles = Counter(info.layer for info in net.execs)
    moved = traffic(net)
    return InspectedProgram(
        program=net,
        layers=tuple(
            LayerFigures(info, segments.get(info.name, 0), tiles[info.name]) for info in net.layers
        ),
        memory_map=_memory_map(net),
        instructions=Counter(instr.opcode.name for instr in net.listing),
        traffic=moved,
        prediction=_predict(net, moved, latency, details) if cycles else None,
        details=ProgramDetails(chip(net), program_codes(net)) if details else None,
        **watch.read(),
    )


def _predict(net: Program, moved: Traffic, latency: int, details: bool) -> Prediction:
    predicted = predict(net, MemoryTiming(latency))
    numbers = {layer.name: i for i, layer in enumerate(net.layers)}
    times = layer_times(net, predicted.retires.tolist())
    rows = tuple(
        LayerCost(
            layer=t.name,
            cycles=t.cycles,
            ideal=t.ideal,
            fed=t.fed,
            drain=t.drain,
            wait=t.wait,
            bound=t.bound,
            loaded_bytes=moved.loaded.get(numbers.get(t.name, len(numbers)), 0),
            stored_bytes=moved.stored.get(numbers.get(t.name, len(numbers)), 0),
        )
        for t in times
    )
    ideal = sum(t.ideal for t in times)
    timeline = predicted_timeline(net, predicted) if details else None
    return Prediction(latency, predicted.cycles, ideal / predicted.cycles, rows, timeline)


def _memory_map(net: Program) -> tuple[Region, ...]:
    regions = [
        Region(net.program_offset, net.program_offset + net.instructions.size, "instructions"),
        Region(net.image_offset, net.image_offset + net.image.size, "weights, parameters, tables"),
        *(Region(*_span(net, p), f"input {p.name}") for p in net.inputs),
        *(Region(*_span(net, p), f"state {p.name}") for p in net.states),
        *(Region(*_span(net, p), f"output {p.name}") for p in net.outputs),
        Region(*spilled(net), "spilled values"),
        Region(*net.write_window, "may be written by STORE"),
        Region(0, net.memory_bytes, "whole window"),
    ]
    there = (region for region in regions if region.end > region.start)
    return tuple(sorted(there, key=lambda region: (region.start, -region.end)))


def _span(net: Program, port: Port) -> tuple[int, int]:
    """Return the address range of all images of a port."""
    return port.offset, port.offset + net.images * port.bytes(net.config)
