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
_DEAD = ("killed", "hang", "crash")
_MUTANTS = Table(
    "Mutants",
    (
        label("room", "config"),
        *(number(name, name) for name in ("mutants", "noticed", "equivalent", "survived")),
        Column("score", lambda row: _score(row), True),
        number("CPU s", "cpu_seconds"),
    ),
)
_SURVIVORS = Table(
    "Mutants that no test notices",
    (
        Column("line", lambda row: f"{row['module']}:{row['line']}"),
        Column("was", lambda row: _code(row["old"])),
        Column("is", lambda row: _code(row["new"])),
    ),
)


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


def _score(row: Row) -> str:
    judged = row["noticed"] + row["survived"]
    return f"{100 * row['noticed'] / judged:.1f} %" if judged else "–"


def _code(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    return f"`{line}`" if line else "nothing"


def mutant_grid(rows: Sequence[Row]) -> Grid:
    """Return mutants of every room, and of all, by what came of them; the score is the share of
    those not equivalent that tests notice."""
    found = []
    for row in rows:
        if row["part"] == "mutants":
            counts = row["counts"]
            found.append(
                {
                    "config": row["config"],
                    "mutants": sum(counts.values()),
                    "noticed": sum(counts.get(name, 0) for name in _DEAD),
                    "equivalent": counts.get("equivalent", 0),
                    "survived": counts.get("survived", 0),
                    "cpu_seconds": row["cpu_seconds"],
                }
            )
    total = {
        name: sum(row[name] for row in found) for name in (found or [{}])[0] if name != "config"
    }
    return _MUTANTS.grid([*found, {"config": "all", **total}] if found else [])


def survivor_grid(rows: Sequence[Row]) -> Grid:
    """Return the mutants that no test notices."""
    return _SURVIVORS.grid(_of(rows, "mutants", "details"))
