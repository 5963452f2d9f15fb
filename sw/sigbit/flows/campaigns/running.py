"""Common parts of benchmark campaigns: a file of rows that grows as jobs finish."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigbit.campaigns import Campaign, Job, Outcome, Progress, Row, Store, Tell, open_workers
from sigbit.campaigns.worker import silent
from sigbit.errors import UserError
from sigbit.flows.campaigns.plugged import with_plugins
from sigbit.flows.result import Result, Stopwatch, plain
from sigbit.results.files import RowFile, read_row_file
from sigbit_tools.files import FileError, write_text
from sigbit_tools.toolchain import cache_dir

MISSING = ("DataError", "ZooError")
"""Exceptions of jobs whose data or weights are missing: they have not run, and have no row."""


@dataclass(frozen=True)
class Place:
    """Execution of jobs, and storage of rows and results.

    Parameters
    ----------
    file : Path, optional
        File of rows; existing rows are kept, except those that the campaign measures again.
    work : Path, optional
        Folder of results; one in the cache by default.
    jobs : int, optional
        Processes of this machine; 1 by default.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers run the jobs.
    """

    file: Path | None = None
    work: Path | None = None
    jobs: int | None = None
    scheduler: str | None = None


@dataclass(frozen=True)
class Watcher:
    """Receives events: a line for each finished job, the progress of the campaign, and the steps of
    a job that runs in this process."""

    say: Callable[[str], None] = lambda line: None
    progress: Callable[[Progress], None] = lambda progress: None
    tell: Tell = silent


@dataclass(frozen=True, kw_only=True)
class CampaignResult(Result):
    """Results of a campaign.

    Parameters
    ----------
    rows : tuple of Row
        All rows of the file, in the benchmark's order; a job that failed has one with its
        ``failure``.
    failed : tuple of str
        Problems, one line each: jobs that failed, and rows with invalid values.
    missing : tuple of str
        Names of jobs that have not run, because data or weights are missing.
    """

    rows: tuple[Row, ...]
    failed: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def good(self) -> list[Row]:
        """The rows of jobs that did not fail."""
        return [row for row in self.rows if "failure" not in row]


@dataclass(frozen=True)
class Benchmark:
    """Storage and presentation of a benchmark's rows.

    Parameters
    ----------
    command : str
        The command that writes them.
    identity : tuple of str
        Columns of every row whose values identify the job: equal in all rows of a job, different
        between jobs.
    line : callable
        Returns a row as text.
    order : callable
        Returns a row's sort key in the file; rows with equal keys stay in the order in which they
        finished.
    check : callable
        Returns the problem of a row; None if there is none.
    finish : callable
        Returns a row in its form for the file; None if it is not written.
    varied : tuple of str
        Further columns that distinguish rows, None for a row without such a column.
    """

    command: str
    identity: tuple[str, ...]
    line: Callable[[Row], str]
    order: Callable[[Row], int]
    check: Callable[[Row], str | None] = lambda row: None
    finish: Callable[[Row], Row | None] = lambda row: row
    varied: tuple[str, ...] = ()


class RowBook:
    """The rows of a benchmark, in memory and in a file that may not exist yet."""

    def __init__(self, benchmark: Benchmark, path: Path | None) -> None:
        self._benchmark, self._path = benchmark, path
        self._header: Mapping[str, Any] = {"command": benchmark.command}
        self.rows: list[Row] = []
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        mistake = UserError(f"{path} holds no rows of this benchmark: give another FILE")
        try:
            found = read_row_file(path)
        except FileError as error:
            raise mistake from error
        if not all(set(self._benchmark.identity) <= set(row) for row in found.rows):
            raise mistake
        self.rows, self._header = [dict(row) for row in found.rows], found.header

    def add(self, rows: Sequence[Row]) -> None:
        """Replace the earlier rows of a job with ``rows``."""
        new = [self._identity(row) for row in rows]
        kept = [row for row in self.rows if self._identity(row) not in new]
        self.rows = sorted([*kept, *rows], key=self._benchmark.order)
        if self._path is not None:
            document = RowFile(self._path.stem, tuple(self.rows), self._header).to_json()
            write_text(self._path, json.dumps(plain(document), indent=2, allow_nan=False) + "\n")

    def _identity(self, row: Row) -> tuple[Any, ...]:
        benchmark = self._benchmark
        always = (row[name] for name in benchmark.identity)
        return (*always, *(row.get(name) for name in benchmark.varied))


def run_jobs(
    benchmark: Benchmark, jobs: Sequence[Job], place: Place, watcher: Watcher, book: RowBook
) -> CampaignResult:
    """Run ``jobs``; their rows are added to ``book`` as they finish."""
    spent = Stopwatch()
    failed: list[str] = []
    missing: list[str] = []
    store = Store((place.work or cache_dir() / "campaigns").absolute())
    with open_workers(place.jobs, place.scheduler) as workers:
        campaign = Campaign(store, workers, watcher.progress, watcher.tell)
        for outcome in campaign.run(with_plugins(jobs)):
            if _is_missing(outcome):
                missing.append(outcome.job.name)
                watcher.say(f"{outcome.job.name}: not run: {_reason(outcome)}")
                continue
            if outcome.failure is not None:
                failed.append(f"{outcome.job.name}: {_reason(outcome)}")
                watcher.say(f"failed: {failed[-1]}")
            rows = [r for r in map(benchmark.finish, outcome.rows) if r is not None]
            book.add(rows)
            for row in rows:
                if "failure" not in row:
                    watcher.say(benchmark.line(row))
    good = (row for row in book.rows if "failure" not in row)
    failed += [text for row in good if (text := benchmark.check(row))]
    return CampaignResult(
        rows=tuple(book.rows), failed=tuple(failed), missing=tuple(missing), **spent.read()
    )


def _is_missing(outcome: Outcome) -> bool:
    return outcome.failure is not None and not set(MISSING).isdisjoint(outcome.failure.kinds)


def _reason(outcome: Outcome) -> str:
    return outcome.failure.text if outcome.failure else ""


@contextmanager
def one_thread() -> Iterator[None]:
    """Run PyTorch on one thread, so that sums are the same on every machine and beside any number
    of other jobs."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
