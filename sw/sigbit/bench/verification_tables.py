"""Tables of the verification: what was tried, what was proved, what runs reach."""

from collections.abc import Iterable, Sequence
from functools import partial

from sigbit.report.tables import Column, Grid, Row, Table, label, number


def _seeds(row: Row) -> str:
    found = row["seeds"]
    return f"{len(found)} from {found[0]}" if found else "–"


TRIED = Table(
    "What was tried",
    (
        label("part", "part"),
        label("of", "config"),
        number("tried", "tried"),
        number("failed", "failed"),
        Column("seeds", _seeds, True),
        number("CPU s", "cpu_seconds"),
    ),
)
_PROOFS = Table(
    "Proofs",
    (
        label("about", "file"),
        label("property set", "design"),
        label("test", "test"),
        number("properties", "asserts"),
        Column("holds in", lambda row: _depth(row)),
    ),
)
_COVERAGE = Table(
    "Coverage",
    (
        label("kind", "kind"),
        number("points", "points"),
        number("reached", "reached"),
        Column("share", lambda row: f"{100 * row['reached'] / row['points']:.1f} %", True),
    ),
)
_CLASSES = Table(
    "Points not reached",
    (label("kind", "kind"), number("points", "points"), label("reason", "reason")),
)
_KINDS = ("line", "branch", "toggle")


def _depth(row: Row) -> str:
    return "every run" if row["unbounded"] else f"the first {row['cycles']} cycles"


def _of(rows: Iterable[Row], part: str, column: str) -> list[Row]:
    """Entries of ``column`` in all rows of a part."""
    return [entry for row in rows if row["part"] == part for entry in row.get(column, ())]


def proof_grid(rows: Sequence[Row]) -> Grid:
    """Return the proofs, one a line."""
    return _PROOFS.grid(_of(rows, "proofs", "details"))


def coverage_grid(rows: Sequence[Row]) -> Grid:
    """Return points and those reached by kind, over all modules."""
    modules = _of(rows, "coverage", "details")
    return _COVERAGE.grid(
        {
            "kind": kind,
            "points": sum(module[kind] for module in modules),
            "reached": sum(module[f"{kind} reached"] for module in modules),
        }
        for kind in _KINDS
        if modules
    )


def module_grid(rows: Sequence[Row]) -> Grid:
    """Return points reached and all points of every module."""
    table = Table(
        "Coverage by module",
        (
            label("module", "module"),
            *(Column(kind, partial(_reached, kind), True) for kind in _KINDS),
        ),
    )
    return table.grid(_of(rows, "coverage", "details"))


def _reached(kind: str, row: Row) -> str:
    return f"{row[f'{kind} reached']} of {row[kind]}"


def class_grid(rows: Sequence[Row]) -> Grid:
    """Return points that no run has reached, by reason."""
    return _CLASSES.grid(_of(rows, "coverage", "classes"))


def lint_grid(rows: Sequence[Row]) -> Grid:
    """Return warnings that are waived, by reader and class, summed over all accelerators."""
    sums: dict[str, int] = {}
    for row in rows:
        if row["part"] == "lint":
            for name, count in row["counts"].items():
                if name.endswith(", waived"):
                    name = name.removesuffix(", waived")
                    sums[name] = sums.get(name, 0) + count
    table = Table(
        "Waived warnings",
        (
            Column("reader", lambda row: row["name"].partition(" ")[0]),
            Column("class", lambda row: row["name"].partition(" ")[2]),
            number("warnings", "count"),
        ),
    )
    return table.grid({"name": name, "count": count} for name, count in sorted(sums.items()))
