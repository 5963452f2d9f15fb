"""Verified Programs, from files or from memory."""

from pathlib import Path

from sigbit_hw.arch.program import Program, ProgramError


def verified(program: Program) -> Program:
    """Return ``program`` if its instructions may run: they stay in their memories and windows, are
    ordered, and only read data written before. Raise :class:`ProgramError` otherwise.

    The result is cached by digest, so that only the first call takes time.
    """
    from sigbit.compiler.order.verdict import require_safe  # only where a Program is about to run

    require_safe(program)
    return program


def load_program(path: str | Path) -> Program:
    """Return the Program in an untrusted file, ready for a device; raise :class:`ProgramError` with
    the defect."""
    program = Program.load(path)
    try:
        return verified(program)
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from None
