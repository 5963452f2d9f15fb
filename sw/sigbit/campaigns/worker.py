"""Execution of a job by a worker."""

import os
import socket
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path

from sigbit.campaigns.job import Job, Tell
from sigbit.campaigns.store import Record, Store
from sigbit.errors import CheckFailed
from sigbit_tools.errors import SigbitError
from sigbit_tools.stopwatch import Stopwatch

_ALONE = threading.Lock()
"""Jobs seed the random number generators of their process, which therefore runs one at a time."""


@dataclass(frozen=True)
class Failure:
    """Reason why a job has no result.

    Parameters
    ----------
    text : str
        Message for the user.
    kinds : tuple of str
        Names of the exception's class and its base classes.
    trace : str
        The traceback.
    seconds, cpu_seconds : float
        Times until the failure.
    """

    text: str
    kinds: tuple[str, ...] = ()
    trace: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0


Answer = Record | Failure | None
"""None: another worker is running the job."""


def silent(what: str, done: int, total: int) -> None:
    """A ``tell`` that does nothing."""


def attempt(job: Job, key: str, folder: Path, tell: Tell = silent) -> Answer:
    """Run ``job`` and store its result in ``folder``, unless the result is there or another worker
    is running the job."""
    store = Store(folder)
    if found := store.load(key):
        return found
    with _ALONE, store.claim(key) as mine:
        if not mine:
            return None
        if found := store.load(key):  # finished between the two checks
            return found
        answer = _done(job, key, tell)
        if isinstance(answer, Record):
            store.save(key, job, answer)
        return answer


def _done(job: Job, key: str, tell: Tell) -> Record | Failure:
    spent = Stopwatch()
    worker = f"{socket.gethostname()} {os.getpid()}"
    try:
        if job.key != key:
            return Failure(
                f"the worker {worker} has other sources or releases than the machine that the "
                "campaign was started on: install the same on all of them"
            )
        rows = job.run(tell)
    except Exception as error:
        kinds = tuple(kind.__name__ for kind in type(error).__mro__)
        return Failure(_text(error), kinds, traceback.format_exc(), **spent.read())
    times = spent.read()
    return Record(tuple({**times, **row} for row in rows), **times, worker=worker)


def _text(error: Exception) -> str:
    """Message of an exception that is written for users; other exceptions with their class. Notes,
    which say how to repeat a failure, are included."""
    told = str(error) if isinstance(error, SigbitError | CheckFailed) else ""
    notes = getattr(error, "__notes__", ())
    return "\n".join([told or f"{type(error).__name__}: {error}", *notes])
