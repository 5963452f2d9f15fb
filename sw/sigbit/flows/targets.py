"""Synthesis targets by name."""

from sigbit.errors import UserError
from sigbit_synthesis import Target


def load_target(target: str | Target) -> Target:
    """Return the target called ``target``; raise :class:`~sigbit.errors.UserError` if there is
    none."""
    try:
        return Target(target)
    except ValueError:
        names = " or ".join(known.value for known in Target)
        raise UserError(f"a target must be {names}, not {target!r}") from None
