"""Progress reports of flows as progress bars."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import Progress, TaskID

from sigbit.cli.console.output import progress


class Telling:
    """A :class:`~sigbit.flows.progress.Tell` with a bar for each line.

    A bar restarts, including its times, when the number of steps changes or the count falls.
    """

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._stands: dict[str, tuple[int, int]] = {}

    def __call__(self, what: str, done: int = 0, total: int = 0, line: str = "") -> None:
        count, steps = self._stands.get(line, (0, total))
        if line not in self._tasks:
            self._tasks[line] = self._bar.add_task(what, total=total or None)
        elif steps != total or done < count:
            self._bar.reset(self._tasks[line], total=total or None)
        self._stands[line] = done, total
        self._bar.update(self._tasks[line], description=what, completed=done)
        if line and 0 < total <= done:
            self._bar.remove_task(self._tasks.pop(line))
            del self._stands[line]

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._bar.console.print(text, style="dim", highlight=False, markup=False)


@contextmanager
def telling(remaining: bool = False) -> Iterator[Telling]:
    """Show progress while the block runs; ``remaining`` adds the remaining time."""
    with progress(remaining) as bar:
        yield Telling(bar)
