"""What the campaigns of benchmarks have in common: a file of rows that grows as jobs finish."""

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
"""Exceptions of jobs whose data or weights are not there: they have not run, and have no row."""


@dataclass(frozen=True)
class Place:
    """Where jobs run, and where rows and results are kept.

    Parameters
    ----------
    file : Path, optional
        Rows: those that it has are kept, apart from those that the campaign measures anew.
    work : Path, optional
        Folder of results; one in the cache by default.
    jobs : int, optional
        Processes of this machine; 1 by default.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers do the jobs.
    """

    file: Path | None = None
    work: Path | None = None
    jobs: int | None = None
    scheduler: str | None = None


@dataclass(frozen=True)
class Watcher:
    """Who is told what happens: a line for each finished job, how far the campaign is, and the
    steps of a job that runs in this process."""

    say: Callable[[str], None] = lambda line: None
    progress: Callable[[Progress], None] = lambda progress: None
    tell: Tell = silent


@dataclass(frozen=True, kw_only=True)
class CampaignResult(Result):
    """What a campaign found.

    Parameters
    ----------
    rows : tuple of Row
        All rows of the file, in the benchmark's order; a job that failed has one with its
        ``failure``.
    failed : tuple of str
        What is wrong, a line each: jobs that failed, and rows that should not be as they are.
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
    """How the rows of a benchmark are kept and told.

    Parameters
    ----------
    command : str
        The command that writes them.
    identity : tuple of str
        Columns that every row has; those of a job have equal values in them, which no other job's
        rows have.
    line : callable
        A row in words.
    order : callable
        A row's place in the file; rows of equal places stay in the order in which they finished.
    check : callable
        What is wrong with a row; None if it is as it should be.
    finish : callable
        A row as it goes to the file; None if it does not go there.
    """

    command: str
    identity: tuple[str, ...]
    line: Callable[[Row], str]
    order: Callable[[Row], int]
    check: Callable[[Row], str | None] = lambda row: None
    finish: Callable[[Row], Row | None] = lambda row: row


class RowBook:
    """The rows of a benchmark, in memory and in a file that exists or not."""

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
        """Put the rows of a job in the place of those that it had before."""
        new = [self._identity(row) for row in rows]
        kept = [row for row in self.rows if self._identity(row) not in new]
        self.rows = sorted([*kept, *rows], key=self._benchmark.order)
        if self._path is not None:
            document = RowFile(self._path.stem, tuple(self.rows), self._header).to_json()
            write_text(self._path, json.dumps(plain(document), indent=2, allow_nan=False) + "\n")

    def _identity(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._benchmark.identity)


def run_jobs(
    benchmark: Benchmark, jobs: Sequence[Job], place: Place, watcher: Watcher, book: RowBook
) -> CampaignResult:
    """Run ``jobs``; their rows go to ``book`` as they finish."""
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
    """PyTorch on one thread, so that sums are the same on every machine and beside any number of
    other jobs."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
