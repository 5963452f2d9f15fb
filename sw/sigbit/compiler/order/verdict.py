"""The verdict on the instructions of a Program from any source, cached by its digest."""

from sigbit.compiler.order.hazards import verify_hazards
from sigbit.errors import VerifyError
from sigbit_hw.arch.program import Program, ProgramError

REMEMBERED = 256
"""Maximum number of cached digests of safe Programs."""

_safe: dict[str, None] = {}


def note_safe(program: Program) -> None:
    """Record that :func:`~sigbit.compiler.order.hazards.verify_hazards` accepts ``program``."""
    _safe[program.digest] = None
    while len(_safe) > REMEMBERED:
        del _safe[next(iter(_safe))]


def require_safe(program: Program) -> None:
    """Raise :class:`ProgramError` unless the instructions of ``program`` stay within their memories
    and windows, are ordered, and read only what was written."""
    if program.digest in _safe:
        return
    try:
        verify_hazards(program)
    except (VerifyError, ValueError) as error:
        raise ProgramError(
            f"program {program.name!r} must not run on any device: {error}; compile it again"
        ) from None
    note_safe(program)
