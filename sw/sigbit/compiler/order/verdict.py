"""The verdict about the instructions of a Program, whoever made it; remembered by its digest."""

from sigbit.compiler.order.hazards import verify_hazards
from sigbit.errors import VerifyError
from sigbit_hw.arch.program import Program, ProgramError

REMEMBERED = 256
"""Digests of safe Programs that are remembered at most."""

_safe: dict[str, None] = {}


def note_safe(program: Program) -> None:
    """Remember that :func:`~sigbit.compiler.order.hazards.verify_hazards` accepts ``program``."""
    _safe[program.digest] = None
    while len(_safe) > REMEMBERED:
        del _safe[next(iter(_safe))]


def require_safe(program: Program) -> None:
    """Raise :class:`ProgramError` unless the instructions of ``program`` stay in their memories and
    windows, are ordered, and read what was written."""
    if program.digest in _safe:
        return
    try:
        verify_hazards(program)
    except (VerifyError, ValueError) as error:
        raise ProgramError(
            f"program {program.name!r} must not run on any device: {error}; compile it again"
        ) from None
    note_safe(program)
