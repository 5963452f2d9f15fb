"""Tables of benchmark rows: defined once, shown on a terminal or written as Markdown."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
NONE = "–"
"""Cell of a value that a row does not have."""


@dataclass(frozen=True)
class Grid:
    """A table ready to be shown.

    Parameters
    ----------
    title : str
        Heading.
    columns : tuple of str
        Titles of the columns.
    cells : tuple of tuple of str
        Lines.
    numbers : str
        A character per column: ``>`` where it is aligned right, else a space.
    """

    title: str
    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    numbers: str = ""

    def only(self, *titles: str) -> "Grid":
        """The columns of these titles, in this order; ``ValueError`` for one that is not there."""
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
        """The table in Markdown, without its title; nothing if there are no lines."""
        if not self.cells:
            return ""
        sides = self.numbers.ljust(len(self.columns))
        rule = ["---:" if side == ">" else "---" for side in sides]
        lines = [self.columns, rule, *self.cells]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines)


@dataclass(frozen=True)
class Column:
    """What a table shows of a row; numbers are aligned right."""

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
        What it shows; columns in which no row has a value are left out.
    takes : callable
        Whether a row belongs to it.
    """

    title: str
    columns: tuple[Column, ...]
    takes: Callable[[Row], bool] = lambda row: True

    def grid(self, rows: Iterable[Row]) -> Grid:
        """The rows that belong here."""
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
    """``form`` of the value under ``key``; :data:`NONE` where there is none."""

    def text(row: Row) -> str:
        value = row.get(key)
        return NONE if value is None else form(value)

    return text


def label(title: str, key: str) -> Column:
    """The value as it is."""
    return Column(title, _shown(key, lambda value: str(value) or NONE))


def number(title: str, key: str, digits: int = 0) -> Column:
    """A number with separators of thousands and so many decimals."""
    return Column(title, _shown(key, lambda value: f"{value:,.{digits}f}"), True)


def share(title: str, key: str, digits: int = 1) -> Column:
    """A share in percent."""
    return Column(title, _shown(key, lambda value: percent(value, digits)), True)


def percent(value: float, digits: int = 1) -> str:
    """``93.3 %``."""
    return f"{100 * value:.{digits}f} %"


def document(grids: Iterable[Grid]) -> str:
    """Tables that have lines, each under its title, in Markdown."""
    return "\n".join(f"### {g.title}\n\n{g.markdown()}" for g in grids if g.cells)
