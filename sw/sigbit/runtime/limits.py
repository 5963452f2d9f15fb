"""Time limits and cancellation of runs."""

import threading
import time
from collections.abc import Callable

from sigbit_tools.errors import SigbitError

Check = Callable[[], None]
"""Called by a device repeatedly while it runs; an exception that it raises ends the run."""


class RunTimeout(SigbitError):
    """Raised when a run exceeds its time limit."""


class RunCancelled(SigbitError):
    """Raised when a run was cancelled from outside."""


def unlimited() -> None:
    """Impose no limit."""


def until(timeout: float | None, cancel: threading.Event | None) -> Check:
    """Return a check that raises :class:`RunTimeout` once ``timeout`` seconds have passed from now,
    and :class:`RunCancelled` once ``cancel`` is set."""
    if timeout is None and cancel is None:
        return unlimited
    if timeout is not None and timeout < 0:
        raise ValueError(f"a timeout must be a number of seconds from 0 on, not {timeout}")
    end = None if timeout is None else time.monotonic() + timeout

    def check() -> None:
        if cancel is not None and cancel.is_set():
            raise RunCancelled("the run was cancelled")
        if end is not None and time.monotonic() > end:
            raise RunTimeout(f"the run was not done within {timeout:g} s")

    return check
