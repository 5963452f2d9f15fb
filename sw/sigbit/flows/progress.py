"""Progress reports of flows."""

from typing import Protocol


class Tell(Protocol):
    """Called with a description of the work, the steps done and their total; 0 of 0 if unknown.

    Concurrent work is reported on different lines. A line is finished once all its steps are done.
    """

    def __call__(self, what: str, done: int = 0, total: int = 0, line: str = "") -> None: ...


def silent(what: str, done: int = 0, total: int = 0, line: str = "") -> None:
    """Report nothing."""
