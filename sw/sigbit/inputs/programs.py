"""Programs that users name."""

from pathlib import Path

from sigbit import runtime
from sigbit_hw.arch.program import Program


def load_program(program: Program | str | Path) -> Program:
    """Return ``program``, or that in the file of this name.

    Raises :class:`~sigbit_hw.arch.program.ProgramError` for what must not run on any device.
    """
    if isinstance(program, Program):
        return runtime.verified(program)
    return runtime.load_program(program)
