"""Tables: one definition, shown on a terminal or in Markdown."""

from pathlib import Path

import pytest

from sigbit.report.tables import Column, Grid, Table, document, label, number, share
from sigbit.results.catalogue import TABLES
from sigbit.results.files import Results

RESULTS = Results.read(Path(__file__).resolve().parents[2] / "results")
TABLE = Table(
    "Things",
    (
        label("name", "name"),
        number("LUT", "lut"),
        share("busy", "busy"),
        Column("twice", lambda row: str(2 * row["lut"]), True),
        number("seconds", "seconds", 1),
    ),
    lambda row: row["lut"] > 0,
)
ROWS = [
    {"name": "a", "lut": 1234, "busy": 0.933},
    {"name": "", "lut": 2, "busy": None},
    {"name": "none", "lut": 0, "busy": 0.1},
]


def test_a_table() -> None:
    grid = TABLE.grid(ROWS)
    assert grid.columns == ("name", "LUT", "busy", "twice")  # no row has seconds
    assert grid.cells == (("a", "1,234", "93.3 %", "2468"), ("–", "2", "–", "4"))
    assert grid.numbers == " >>>"
    assert grid.markdown() == (
        "| name | LUT | busy | twice |\n| --- | ---: | ---: | ---: |\n"
        "| a | 1,234 | 93.3 % | 2468 |\n| – | 2 | – | 4 |\n"
    )


def test_some_columns() -> None:
    grid = TABLE.grid(ROWS).only("busy", "name")
    assert grid == Grid("Things", ("busy", "name"), (("93.3 %", "a"), ("–", "–")), "> ")
    with pytest.raises(ValueError, match="no column 'cost'; its columns are 'busy', 'name'"):
        grid.only("cost")


def test_nothing_to_show() -> None:
    assert TABLE.grid([]).markdown() == ""
    assert document([TABLE.grid([]), TABLE.grid(ROWS)]).startswith("### Things\n\n| name |")


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_of_the_catalogue_has_lines(name: str) -> None:
    entry = TABLES[name]
    grid = entry.grid([row for file in entry.files for row in RESULTS[file].rows])
    assert grid.cells
    assert all(len(line) == len(grid.columns) for line in grid.cells)
    assert len(set(grid.columns)) == len(grid.columns)
    assert len(grid.numbers) <= len(grid.columns)
