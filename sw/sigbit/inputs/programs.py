"""Programs by name."""

from pathlib import Path

from sigbit import runtime
from sigbit_hw.arch.program import Program


def load_program(program: Program | str | Path) -> Program:
    """Return ``program``, or the Program in the file of this name.

    Raises :class:`~sigbit_hw.arch.program.ProgramError` for a Program that must not run on any
    device.
    """
    if isinstance(program, Program):
        return runtime.verified(program)
    return runtime.load_program(program)
