"""Output for users: tables on stdout, progress on stderr."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sigbit.report.tables import Grid

PIPED_WIDTH = 160
"""Columns of text that goes to a file or a pipe, unless COLUMNS is set."""


_left = False


def leave_stdout(left: bool = True) -> None:
    """Print everything on stderr from now on, because a file is written to stdout; ``False``: print
    on stdout again."""
    global _left  # as stdout itself, there is one
    _left = left


def console(stderr: bool = False) -> Console:
    """Return a console on the current stdout or stderr."""
    stderr = stderr or _left
    probe = Console(stderr=stderr)
    if probe.is_terminal or "COLUMNS" in os.environ:
        return probe
    return Console(stderr=stderr, width=PIPED_WIDTH)


def show_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: str = ""
) -> None:
    """Print a table; ``numbers`` has one character per column, ``>`` for right-aligned ones."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, header_style="dim"
    )
    for column, side in zip(columns, numbers.ljust(len(columns)), strict=False):
        table.add_column(column, justify="right" if side == ">" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console().print(table)


def show_grid(grid: "Grid") -> None:
    """Print a table of a benchmark; nothing if it has no lines."""
    if grid.cells:
        show_table(grid.title, grid.columns, grid.cells, grid.numbers)


def show_facts(title: str, facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, show_header=False
    )
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, Text(str(value)))
    console().print(table)


def say(text: str, style: str = "") -> None:
    """Print a line on stdout."""
    console().print(Text(text, style=style), soft_wrap=True)


def say_error(text: str) -> None:
    """Print a line on stderr."""
    console(stderr=True).print(Text(text), soft_wrap=True)


def progress(remaining: bool = False) -> Progress:
    """Return a progress display on stderr; it disappears when the work is done, and shows nothing
    in pipes.

    ``remaining`` adds the remaining time.
    """
    error = console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *([TextColumn("left"), TimeRemainingColumn()] if remaining else []),
        console=error,
        transient=True,
        disable=not error.is_terminal,
    )


def ticking(bar: Progress, task: TaskID) -> Callable[[int], None]:
    """Return a callback that advances ``task`` by one, ignoring its argument."""
    return lambda _: bar.advance(task)
