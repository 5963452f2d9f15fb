"""Program files that users give."""

from pathlib import Path
from typing import TYPE_CHECKING

from sigbit.errors import UserError, given

if TYPE_CHECKING:
    from sigbit_hw.arch.program import Program


def load_program(path: str | Path) -> "Program":
    """Return the Program in a file, its content and every instruction checked."""
    from sigbit_hw.arch.program import Program

    program = Program.load(Path(path))
    with given(str(path)):
        if not program.listing:
            raise UserError(f"{path} has no instructions: compile it again")
    return program
