"""Programs that may run: from files, or made in memory."""

from pathlib import Path

from sigbit_hw.arch.program import Program, ProgramError


def verified(program: Program) -> Program:
    """``program``, if its instructions may run: they stay in their memories and windows, are
    ordered, and read what was written. :class:`ProgramError` otherwise.

    The verdict is remembered by the digest, so that only the first call costs anything.
    """
    from sigbit.compiler.order.verdict import require_safe  # only where a Program is about to run

    require_safe(program)
    return program


def load_program(path: str | Path) -> Program:
    """The Program in a file that anybody may have written, ready for a device;
    :class:`ProgramError` says what is wrong with it."""
    program = Program.load(path)
    try:
        return verified(program)
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from None
