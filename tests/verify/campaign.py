"""Jobs of several parts as one campaign, and its rows: one for each part and accelerator."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice

from sigbit.campaigns import Job, Outcome, Row, Store
from verify import coverage
from verify.mutated import argued
from verify.part import Part

SHOWN = 20
"""Failures of a row whose text is kept."""
GAP = 20
"""Jobs without a result, one after another, after which no later one of a part is looked for."""


def chosen(
    parts: Sequence[Part], seed: int, hours: float | None, store: Store, spent: dict[str, float]
) -> Iterator[Job]:
    """Jobs in the order in which they are to run.

    Without ``hours``, those that every part does by default. Else, for so long, always one of the
    part that has had the least processor time: ``spent``, by part, is brought up to date by the
    caller. After that time, those that ``store`` has results of, up to a gap of :data:`GAP`.
    """
    if hours is None:
        for part in parts:
            yield from islice(part.jobs(seed), part.count)
        return
    end = time.monotonic() + 3600 * hours
    left = {part.name: part.jobs(seed) for part in parts}
    while left:
        name = min(left, key=lambda name: spent.get(name, 0.0))
        found = islice(left[name], GAP)
        if time.monotonic() >= end:
            found = (job for job in found if store.load(job.key))
        job = next(found, None)
        if job is None:
            del left[name]
        else:
            yield job


def rows_of(outcome: Outcome) -> list[Row]:
    """The rows of a job; a job that failed is one try that failed."""
    if outcome.failure is None:
        return [argued(row) for row in outcome.rows]
    (row,) = outcome.rows
    text = outcome.failure.text
    kind = next(iter(outcome.failure.kinds), "failure")
    return [{**row, "tried": 1, "failed": 1, "counts": {kind: 1}, "failures": [text]}]


class Book:
    """The rows of a campaign, one for each part and accelerator, in the order of the first."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    def add(self, row: Row) -> None:
        """Add the row of a job."""
        place = row["part"], row["config"]
        total = self._rows.setdefault(
            place,
            {
                "part": row["part"],
                "config": row["config"],
                "jobs": 0,
                "tried": 0,
                "failed": 0,
                "seconds": 0.0,
                "cpu_seconds": 0.0,
                "seeds": [],
                "counts": {},
                "failures": [],
            },
        )
        total["jobs"] += 1
        for name in ("tried", "failed"):
            total[name] += row[name]
        for name in ("seconds", "cpu_seconds"):
            total[name] = round(total[name] + row[name], 2)
        if row.get("seed") is not None and row["seed"] not in total["seeds"]:
            total["seeds"] = sorted([*total["seeds"], row["seed"]])
        total["failures"] = (total["failures"] + row["failures"])[:SHOWN]
        for counts in ("counts", "bins"):
            for name, number in row.get(counts, {}).items():
                found = total.setdefault(counts, {})
                found[name] = found.get(name, 0) + number
        for name in ("slowest_seconds", "grown_bytes"):
            if name in row:
                total[name] = max(total.get(name, 0), row[name])
        if "bitmap" in row:
            total["bitmap"] = coverage.merged(total.get("bitmap", ""), row["bitmap"])
        if "details" in row:
            total["details"] = total.get("details", []) + row["details"]

    @property
    def rows(self) -> list[Row]:
        """The rows; of coverage, a bitmap."""
        return list(self._rows.values())

    def missing(self, parts: Sequence[Part]) -> list[str]:
        """Parts that compared nothing."""
        tried = {row["part"] for row in self.rows if row["tried"]}
        return [part.name for part in parts if part.name not in tried]

    @property
    def failed(self) -> int:
        """Tries that failed."""
        return sum(row["failed"] for row in self.rows)

    def unreached(self) -> dict[str, list[str]]:
        """By part, the bins that nothing has reached in any of its rows."""
        sums: dict[str, dict[str, int]] = {}
        for row in self.rows:
            for name, number in row.get("bins", {}).items():
                found = sums.setdefault(row["part"], {})
                found[name] = found.get(name, 0) + number
        return {
            part: empty
            for part, found in sums.items()
            if (empty := [name for name, number in found.items() if not number])
        }

    def table(self) -> str:
        """The rows for people."""
        heads = ("part", "of", "tried", "failed", "CPU s", "seeds")
        lines = [
            (
                row["part"],
                row["config"],
                f"{row['tried']:,}",
                f"{row['failed']:,}",
                f"{row['cpu_seconds']:,.0f}",
                spans(row["seeds"]),
            )
            for row in self.rows
        ]
        widths = [max(len(line[i]) for line in (heads, *lines)) for i in range(len(heads))]
        return "\n".join(
            "  ".join(
                text.rjust(width) if 2 <= i <= 4 else text.ljust(width)
                for i, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in (heads, *lines)
        )


def spans(numbers: Sequence[int]) -> str:
    """``0 to 3, 7``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(f"{a} to {b}" if b > a else f"{a}" for a, b in parts)
