"""Activity of the engines by layer, as measured by a device or predicted by the cycle model."""

from sigbit.report.spans import Span, Timeline
from sigbit.runtime import RunResult
from sigbit_hw.arch.isa import Engine, Exec, Fill, Load, Store
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import Prediction

_ENGINES = {Load: Engine.LOAD, Fill: Engine.LOAD, Exec: Engine.COMPUTE, Store: Engine.STORE}


def measured(program: Program, result: RunResult) -> Timeline | None:
    """Return the timeline of the first run; None if the device has none."""
    if not result.timeline or result.cycles is None:
        return None
    return Timeline.of(
        int(result.cycles[0]),
        (_span(program, Engine(e.engine), e.index, e.start, e.end) for e in result.timeline),
    )


def predicted(program: Program, prediction: Prediction) -> Timeline:
    """Return the timeline of the cycle model."""
    starts, retires = prediction.starts.tolist(), prediction.retires.tolist()
    return Timeline.of(
        prediction.cycles,
        (
            _span(program, _ENGINES[type(instr)], index, starts[index], retires[index])
            for index, instr in enumerate(program.listing)
            if starts[index] >= 0 and type(instr) in _ENGINES
        ),
    )


def _span(program: Program, engine: Engine, index: int, start: int, stop: int) -> Span:
    tag = program.listing[index].tag
    return Span(engine.name, start, stop, tag if tag < len(program.layers) else -1)
