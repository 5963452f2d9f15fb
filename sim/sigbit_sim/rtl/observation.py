"""Views of a simulated accelerator through its trace ports: activity, layers, timeline, feeding."""

import numpy as np
from numpy.typing import NDArray

from sigbit.runtime import Event, LayerCollector
from sigbit_hw.arch import images, isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Engine
from sigbit_hw.arch.program import Program
from sigbit_sim.rtl.checkpoint import Feed
from sigbit_sim.rtl.native.model import Model, ModelError, Watch

Ints = NDArray[np.int64]


def activity(model: Model, program: Program) -> str:
    """Present state of each engine and of the bus, for an error message."""
    state = model.state()
    parts = []
    for engine in Engine:
        started, retired = state.started[engine], state.retired[engine]
        if started is None:
            doing = "never started"
        elif started == retired:
            doing = f"finished instruction {started}"
        else:
            first = int(program.instructions[started * isa.WORD_BYTES])
            doing = f"at instruction {started} ({isa.opcode_of(first).name})"
        parts.append(f"{engine.name} {doing}")
    return (
        f"{'; '.join(parts)}; {state.reads} reads and {state.writes} writes outstanding, "
        f"nothing moved for {state.idle} cycles"
    )


def layers_of(collector: LayerCollector, watch: Watch, config: ArchConfig) -> dict[str, Ints]:
    """Codes of every layer of the completed run, [image, channel, row, column].

    Raises :class:`ModelError` if an EXEC of a layer has not retired.
    """
    collector.clear()
    for index in collector.execs:
        data = watch.bytes_of(index)
        if data is None:
            raise ModelError(f"the program is done, but EXEC {index} has not retired")
        collector.add(index, images.unpack_lanes(data, config.act_format.lane_bits))
    return collector.layers()


def timeline(model: Model) -> list[Event]:
    """Instructions that both started and retired, by engine and start."""
    starts: dict[tuple[int, int], int] = {}
    events = []
    for cycle, index, engine, retired in model.events().tolist():
        if not retired:
            starts[engine, index] = cycle
        elif (engine, index) in starts:
            events.append(Event(Engine(engine), index, starts[engine, index], cycle + 1))
    return sorted(events, key=lambda event: (event.engine, event.start))


def feeds(model: Model) -> dict[int, Feed]:
    """Operand feeding of every EXEC, by instruction."""
    table = model.feeds()
    return {int(i): Feed(*table[i].tolist()) for i in np.flatnonzero(table["count"])}
