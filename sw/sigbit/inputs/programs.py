"""Programs that users name."""

from pathlib import Path

from sigbit.errors import UserError, given
from sigbit_hw.arch.program import Program


def load_program(program: Program | str | Path) -> Program:
    """Return ``program``, or that in the file of this name; content and every instruction are
    checked."""
    loaded = program if isinstance(program, Program) else Program.load(Path(program))
    what = loaded.name if isinstance(program, Program) else str(program)
    with given(what):
        if not loaded.listing:
            raise UserError(f"{what} has no instructions: compile it again")
    return loaded
