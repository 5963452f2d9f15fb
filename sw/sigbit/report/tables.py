"""Tables of benchmark rows: defined once, shown on a terminal or written as Markdown."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
NONE = "–"
"""Cell for a missing value."""


@dataclass(frozen=True)
class Grid:
    """A formatted table.

    Parameters
    ----------
    title : str
        Heading.
    columns : tuple of str
        Titles of the columns.
    cells : tuple of tuple of str
        Lines.
    numbers : str
        A character per column: ``>`` for right-aligned columns, else a space.
    """

    title: str
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    numbers: str = ""

    def only(self, *titles: str) -> "Grid":
        """Return the columns of these titles, in this order; raise ``ValueError`` for an unknown
        title."""
        if missing := [t for t in titles if t not in self.columns]:
            raise ValueError(
                f"the table {self.title!r} has no column {', '.join(map(repr, missing))}; its "
                f"columns are {', '.join(map(repr, self.columns))}"
            )
        places = [self.columns.index(title) for title in titles]
        sides = self.numbers.ljust(len(self.columns))
        return Grid(
            self.title,
            titles,
            tuple(tuple(line[k] for k in places) for line in self.cells),
            "".join(sides[k] for k in places),
        )

    def markdown(self) -> str:
        """Format the table in Markdown, without its title; empty if there are no lines."""
        if not self.cells:
            return ""
        sides = self.numbers.ljust(len(self.columns))
        rule = ["---:" if side == ">" else "---" for side in sides]
        lines = [self.columns, rule, *self.cells]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines)


@dataclass(frozen=True)
class Column:
    """Content of a table column; numbers are aligned right."""

    title: str
    text: Callable[[Row], str]
    number: bool = False


@dataclass(frozen=True)
class Table:
    """A line per row.

    Parameters
    ----------
    title : str
        Heading.
    columns : tuple of Column
        Its columns; columns without a value in any row are left out.
    takes : callable
        Returns whether a row belongs to the table.
    """

    title: str
    columns: tuple[Column, ...]
    takes: Callable[[Row], bool] = lambda row: True

    def grid(self, rows: Iterable[Row]) -> Grid:
        """Return the grid of the rows that belong to this table."""
        mine = [row for row in rows if self.takes(row)]
        texts = [(column, [column.text(row) for row in mine]) for column in self.columns]
        shown = [(c, found) for c, found in texts if any(text != NONE for text in found)]
        return Grid(
            self.title,
            tuple(column.title for column, _ in shown),
            tuple(zip(*(found for _, found in shown), strict=True)),
            "".join(">" if column.number else " " for column, _ in shown),
        )


def _shown(key: str, form: Callable[[Any], str]) -> Callable[[Row], str]:
    """Return a function that formats the value under ``key`` with ``form``; :data:`NONE` for a
    missing value."""

    def text(row: Row) -> str:
        value = row.get(key)
        return NONE if value is None else form(value)

    return text


def label(title: str, key: str) -> Column:
    """Return a column of unformatted values."""
    return Column(title, _shown(key, lambda value: str(value) or NONE))


def number(title: str, key: str, digits: int = 0) -> Column:
    """Return a column of numbers with thousands separators and ``digits`` decimals."""
    return Column(title, _shown(key, lambda value: f"{value:,.{digits}f}"), True)


def share(title: str, key: str, digits: int = 1) -> Column:
    """Return a column of shares in percent."""
    return Column(title, _shown(key, lambda value: percent(value, digits)), True)


def percent(value: float, digits: int = 1) -> str:
    """Format a share as ``93.3 %``."""
    return f"{100 * value:.{digits}f} %"


def document(grids: Iterable[Grid]) -> str:
    """Format the non-empty tables, each under its title, in Markdown."""
    return "\n".join(f"### {g.title}\n\n{g.markdown()}" for g in grids if g.cells)
