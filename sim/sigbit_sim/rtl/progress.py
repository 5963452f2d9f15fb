"""Progress of a long simulation, and its remaining time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sigbit_hw.arch import addressing, isa
from sigbit_hw.arch.isa import Exec, Seg
from sigbit_hw.arch.program import Program


@dataclass(frozen=True)
class Progress:
    """Position of a simulation: run ``run`` of ``runs``, with its cycles and retired instructions
    so far (``SEG``, ``OUT`` and ``HALT`` are not counted) out of ``instructions``; ``seconds``
    spent and, if it can be estimated, ``remaining``."""

    run: int
    runs: int
    cycles: int
    retired: int
    instructions: int
    seconds: float
    remaining: float | None

    def __str__(self) -> str:
        left = "" if self.remaining is None else f", about {self.remaining:.0f} s left"
        return (
            f"run {self.run + 1} of {self.runs}: {self.cycles:,} cycles, {self.retired:,} of "
            f"{self.instructions:,} instructions in {self.seconds:.0f} s{left}"
        )


def array_steps(program: Program) -> int:
    """Steps of the array in a run, that is, cycles in which it is fed."""
    segments: dict[int, Seg] = {}
    steps = 0
    for instr in program.listing:
        if isinstance(instr, Seg):
            segments[instr.index] = instr
        elif isinstance(instr, Exec):
            taps = sum(s.steps for index, s in segments.items() if index < instr.n_seg)
            blocks = addressing.blocks_of_run(instr, program.config)
            steps += instr.n_ocb * instr.n_rows * blocks * taps
    return steps


class Meter:
    """Calls ``report`` with a :class:`Progress`; the remaining time is estimated from the array's
    steps."""

    def __init__(self, program: Program, runs: int, report: Callable[[Progress], None]) -> None:
        self._runs = runs
        self._report = report
        self._instructions = sum(i.opcode in isa.SIGNALLING for i in program.listing)
        self._steps = array_steps(program)
        self._begin = time.monotonic()
        self._first: float | None = None

    def update(self, run: int, cycles: int, retired: int, fed: int) -> None:
        """Report that run number ``run`` is at ``cycles``, with this number of instructions and
        array steps done."""
        part = fed / self._steps if self._steps else retired / max(self._instructions, 1)
        done = (run + part) / self._runs
        seconds = time.monotonic() - self._begin
        if self._first is None:
            self._first = done
        moved = done - self._first
        remaining = seconds * (1 - done) / moved if moved > 0 else None
        self._report(
            Progress(run, self._runs, cycles, retired, self._instructions, seconds, remaining)
        )
