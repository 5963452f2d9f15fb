"""Names available to templates: rows, tables, means and claims, and number formats."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sigbit.bench.number_systems.public import PUBLISHED, Published
from sigbit.bench.number_systems.row import decibels
from sigbit.bench.number_systems.tables import is_compared, zoo_decibels
from sigbit.bench.quantization.claims import Finding, findings
from sigbit.bench.quantization.means import Mean, means
from sigbit.errors import ResultsError
from sigbit.report.tables import Table, label, number, percent
from sigbit.results.catalogue import TABLES
from sigbit.results.files import Results, Row, RowFile


class Context:
    """Names that templates see, over the rows of ``results``."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def names(self) -> dict[str, Callable[..., Any]]:
        """Functions by name."""
        return {
            "rows": self._results.select,
            "row": self._results.one,
            "header": self.header,
            "table": self.table,
            "mean": self.mean,
            "trained": self.trained,
            "finding": self.finding,
            "files": self.files,
            "goals": self.goals,
            "standard_error": standard_error,
            "holds": holds,
            "compared": self.compared,
            "published": published,
        }

    def header(self, name: str) -> Mapping[str, Any]:
        """Header of file ``name``, which applies to all its rows."""
        return self._results[name].header

    def table(self, name: str, *columns: str, **where: object) -> str:
        """Return a table of the catalogue in Markdown: all columns or some, all rows or those with
        the values ``where``."""
        if name not in TABLES:
            raise ResultsError(f"there is no table {name!r}, only {', '.join(TABLES)}")
        entry = TABLES[name]
        rows = [row for file in entry.files for row in self._results.select(file, **where)]
        grid = entry.grid(rows)
        if not grid.cells:
            raise ResultsError(f"the table {name!r} has no lines for {where}")
        return (grid.only(*columns) if columns else grid).markdown().rstrip("\n")

    def mean(self, method: str, bits: int, strategy: str = "", model: str = "fashion") -> Mean:
        """A method of the training benchmark at one width, over its seeds."""
        for found in means(self._results["training"].rows):
            if found.key[1:] == (model, method, strategy, bits):
                return found
        raise ResultsError(f"there is no run of {method} {strategy} on {model} at {bits} bits")

    def trained(self, group: str, bits: int) -> list[Mean]:
        """All methods of a group of the training benchmark on Fashion-MNIST, at one width."""
        return [
            found
            for found in means(self._results["training"].rows)
            if found.key[0] == "Fashion-MNIST"
            and (found.row["group"], found.key[-1]) == (group, bits)
        ]

    def finding(self, claim: str, method: str) -> Finding:
        """Result of a claim."""
        rows = [r for name in TABLES["claims"].files for r in self._results[name].rows]
        for found in findings(rows):
            if (found.claim, found.method) == (claim, method):
                return found
        raise ResultsError(f"there is no claim {claim!r} of {method}")

    def compared(self, **where: object) -> list[Row]:
        """Number systems in the benchmark's shape, in ascending order of LUTs."""
        found = filter(is_compared, self._results.select("number_systems", **where))
        return sorted(found, key=lambda row: row["lut_per_mac_total"])

    def files(self) -> str:
        """All files of rows in Markdown."""
        return _FILES.grid([_file_row(file) for file in self._results.values()]).markdown()

    def goals(self, topic: str) -> str:
        """Goals of ``topic`` in Markdown: the goal, the result, and whether it is met."""
        lines = [
            _goal_row(goal, self._results.one(goal["file"], **goal["where"]))
            for goal in self._results.select("goals", topic=topic)
        ]
        if not lines:
            raise ResultsError(f"there are no goals for {topic!r}")
        return _GOALS.grid(lines).markdown().rstrip("\n")


def _goal_row(goal: Row, found: Row) -> Row:
    """A goal beside the value of its row."""
    form: Callable[[float], str] = share if goal.get("percent") else _shortest
    value: Any = found
    for key in goal["key"].split("."):
        value = value[key]
    least = "at_least" in goal
    bound = goal["at_least"] if least else goal["at_most"]
    met = value >= bound if least else value <= bound
    return {
        "goal": goal["goal"],
        "bound": f"at {'least' if least else 'most'} {form(bound)}",
        "found": percent(value) if goal.get("percent") else _shortest(value),
        "met": "yes" if met else "**no**",
    }


def _shortest(value: float) -> str:
    """A number with at most four significant digits, more only before the decimal point."""
    return thousands(value) if value >= 1000 else f"{value:.4g}"


_GOALS = Table(
    "Goals",
    (label("goal", "goal"), label("aim", "bound"), label("found", "found"), label("met", "met")),
)


def _file_row(file: RowFile) -> Row:
    return {
        "name": f"`{file.name}.json`",
        "rows": len(file.rows),
        "recovered": file.recovered,
        "command": f"`{file.header['command']}`" if file.header.get("command") else "",
    }


_FILES = Table(
    "Rows",
    (
        label("file", "name"),
        number("rows", "rows"),
        number("transcribed", "recovered"),
        label("command that writes them", "command"),
    ),
)


def published(source: str) -> Published:
    """The first public figure whose source contains ``source``."""
    for figure in PUBLISHED:
        if source in figure.source:
            return figure
    raise ResultsError(f"there is no public figure by {source!r}")


def holds(condition: object, text: str) -> str:
    """Return an empty text; raises :class:`ResultsError` if the statement ``text`` of a page is not
    true of the rows."""
    if not condition:
        raise ResultsError(f"the rows no longer say so: {text}")
    return ""


def standard_error(accuracy: float, samples: int) -> float:
    """Standard deviation, in percentage points, of an accuracy measured on this number of
    samples."""
    return 100 * math.sqrt(accuracy * (1 - accuracy) / samples)


def thousands(value: float) -> str:
    """``2,540,331``."""
    return f"{value:,.0f}"


def fixed(value: float, digits: int = 1) -> str:
    """``17.3``; halves are rounded away from zero."""
    exact = Decimal(repr(round(value, 9)))
    return f"{exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}"


def span(values: Sequence[float], digits: int = 1) -> str:
    """``2.3 to 3.5``, or one number if both are equal."""
    low, high = fixed(min(values), digits), fixed(max(values), digits)
    return low if low == high else f"{low} to {high}"


def share(value: float, digits: int = 0) -> str:
    """``93 %``."""
    return percent(value, digits)


def word(value: int) -> str:
    """``three``; numerals from thirteen upwards."""
    return _WORDS[value] if 0 <= value < len(_WORDS) else thousands(value)


_WORDS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip


def ratios(above: Sequence[Row], below: Sequence[Row], key: str, *on: str) -> list[float]:
    """Quotients of the values ``key`` of rows that agree in all of ``on``."""
    by_place = {tuple(row[k] for k in on): row[key] for row in below}
    return [
        row[key] / by_place[place]
        for row in above
        if (place := tuple(row[k] for k in on)) in by_place
    ]


FILTERS: Mapping[str, Callable[..., Any]] = {
    "thousands": thousands,
    "fixed": fixed,
    "span": span,
    "percent": share,
    "word": word,
    "decibels": decibels,
    "zoo_decibels": zoo_decibels,
    "average": statistics.fmean,
    "ratios": ratios,
}
