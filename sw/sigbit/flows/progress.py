"""What a flow tells while it works."""

from typing import Protocol


class Tell(Protocol):
    """Called with what is being done, the steps done and their number; 0 of 0 if that is unknown.

    What runs at the same time is told on different lines. A line whose steps are all done is over.
    """

    def __call__(self, what: str, done: int = 0, total: int = 0, line: str = "") -> None: ...


def silent(what: str, done: int = 0, total: int = 0, line: str = "") -> None:
    """Tell nobody."""
