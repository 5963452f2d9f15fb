"""An estimate of a Program's run on a board."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeGuard

from sigbit.accelerators import ACCELERATORS
from sigbit_boards import registry
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict

LINE_BITS = 10
"""Bits on the serial line per byte."""


@dataclass(frozen=True)
class PredictedRun:
    """An estimate of a run on the board.

    Parameters
    ----------
    program, program_digest : str
        The Program.
    images : int
        Images per run.
    cycles : int
        Cycles of the accelerator: the cycle model's, with an estimate of the memory.
    run_ms : float
        Their time in milliseconds at the board's clock.
    line_ms : float
        Milliseconds that inputs and outputs take on the serial line, without turn-rounds.
    """

    program: str
    program_digest: str
    images: int
    cycles: int
    run_ms: float
    line_ms: float

    @classmethod
    def of(cls, program: Program, board: registry.Board, made: registry.Built) -> Self:
        """Return the estimate for ``board`` as it was ``made``."""
        timing = board.memory_timing(program.config, made.clock_hz)
        cycles = predict(program, timing).cycles
        ports = (*program.inputs, *program.outputs)
        moved = program.images * sum(port.bytes(program.config) for port in ports)
        return cls(
            program.name,
            program.digest,
            program.images,
            cycles,
            1e3 * cycles / made.clock_hz,
            1e3 * moved * LINE_BITS / made.baud,
        )

    @property
    def text(self) -> str:
        """A sentence for people."""
        images = "1 image" if self.images == 1 else f"{self.images} images"
        return (
            f"estimate for {self.program}: {self.cycles:,} cycles, {self.run_ms:.2f} ms for "
            f"{images}, and {self.line_ms:.2f} ms on the serial line"
        )


def names_program(arch: str | ArchConfig) -> TypeGuard[str]:
    """Return whether ``arch`` is the name of a Program."""
    return isinstance(arch, str) and arch not in ACCELERATORS and Path(arch).suffix == ".sigbit"
