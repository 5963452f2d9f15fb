"""Options of campaigns, their display, and their exit codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigbit.cli.console.files import target
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import progress, say, show_grid
from sigbit.errors import CheckFailed, UserError
from sigbit_tools.files import write_text

if TYPE_CHECKING:
    from rich.progress import Progress as Display

    from sigbit.campaigns import Progress
    from sigbit.flows.campaigns.running import CampaignResult, Place, Watcher
    from sigbit.report.tables import Grid

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", exists=True, file_okay=False, help="Folder of data sets and checkpoints."
    ),
]
Markdown = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also write the tables as Markdown.", callback=target),
]


@dataclass(frozen=True)
class PlaceOptions:
    """Execution of jobs, and files for their rows and results."""

    json: Json = None
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Folder of finished jobs, which are not done again, and which all workers see; "
            "the user's cache by default.",
        ),
    ] = None
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Jobs at a time on this machine, a CPU core each; else one."
        ),
    ] = None
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run the jobs on a Dask cluster instead: its scheduler, such as "
            "tcp://10.0.0.1:8786.",
        ),
    ] = None

    def place(self) -> "Place":
        """Return the same place for a flow."""
        from sigbit.flows.campaigns.running import Place

        return Place(self.json, self.work, self.jobs, self.scheduler)


class Bars:
    """A bar for the campaign, with the running jobs and the remaining time, and one for the steps
    of a job that runs in this process."""

    def __init__(self, bar: "Display", title: str) -> None:
        self._bar, self._title = bar, title
        self._whole = bar.add_task(title, total=None)
        self._step = bar.add_task("", total=None, visible=False)

    def show(self, state: "Progress") -> None:
        """Show the progress of the campaign."""
        running = f"{self._title}: {', '.join(state.running)}" if state.running else self._title
        words = [running]
        if state.failed:
            words.append(f"{state.failed} failed")
        if state.seconds_left is not None:
            words.append(f"{duration(state.seconds_left)} left")
        self._bar.update(
            self._whole, description="; ".join(words), completed=state.done, total=state.total
        )
        self._bar.update(self._step, visible=False)

    def tell(self, what: str, done: int, total: int) -> None:
        """Show the progress of a job."""
        self._bar.update(self._step, description=what, completed=done, total=total, visible=True)


@contextmanager
def watching(title: str) -> Iterator["Watcher"]:
    """Print a line on stdout for each job, and show :class:`Bars` on stderr."""
    from sigbit.flows.campaigns.running import Watcher

    with progress() as bar:
        bars = Bars(bar, title)
        yield Watcher(say, bars.show, bars.tell)


def duration(seconds: float) -> str:
    """Format as ``40 s``, ``25 min`` or ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def show_grids(grids: "list[Grid]", markdown: Path | None) -> None:
    """Print tables on the terminal and, if ``markdown`` is given, write them to a file."""
    from sigbit.report.tables import document

    for grid in grids:
        show_grid(grid)
    if markdown is not None:
        write_text(markdown, document(grids))


def conclude(result: "CampaignResult") -> None:
    """Exit with code 1 if anything is wrong, 2 if jobs have not run because data are missing."""
    if result.failed:
        raise CheckFailed("\n".join(result.failed))
    if result.missing:
        raise UserError(
            f"{', '.join(result.missing)}: not run, for the reasons above; --data DIR names the "
            "folder of data sets and checkpoints"
        )
