"""Parts of the verification: endless or finite lists of jobs, whose rows say what was tried."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from sigbit.campaigns import Job, Row
from sigbit.flows.campaigns.code import DEVICES

CODE = (*DEVICES, "verify.part", "verify.configs")
"""Sources that the rows of every part depend on."""
SEEN = 200
"""Jobs of a part that are about everything that it is about."""
KEPT = 5
"""Failures of a job whose text is kept."""


@dataclass(frozen=True)
class Part:
    """A part of the verification.

    Parameters
    ----------
    name, what : str
        Name on the command line; what one try is.
    jobs : callable
        Jobs from a seed on.
    count : int
        Jobs that are run without ``--hours``.
    """

    name: str
    what: str
    jobs: Callable[[int], Iterator[Job]]
    count: int

    def subjects(self) -> set[str]:
        """What its jobs are about: accelerators, rooms, kinds of files."""
        return {job.columns["config"] for job in islice(self.jobs(0), SEEN)}

    def of(self, names: Sequence[str]) -> "Part":
        """The part with the jobs about ``names`` only."""

        def jobs(first: int) -> Iterator[Job]:
            return (job for job in self.jobs(first) if job.columns["config"] in names)

        return replace(self, jobs=jobs)


class Tally:
    """Counts of a job: what was tried, what came of it, and what failed.

    Parameters
    ----------
    part, config : str
        Part, and accelerator or other subject.
    seed : int, optional
        Seed of a random part.
    """

    def __init__(self, part: str, config: str, seed: int | None = None) -> None:
        self._row: Row = {"part": part, "config": config, "seed": seed}
        self._tried = self._failed = 0
        self._counts: dict[str, int] = {}
        self._failures: list[str] = []

    def fine(self, outcome: str, number: int = 1) -> None:
        """Count tries with an expected outcome."""
        self._tried += number
        self.reached(outcome, number)

    def failed(self, cause: str, where: str) -> None:
        """Count a try that failed."""
        self._tried += 1
        self._failed += 1
        self.reached(cause)
        if len(self._failures) < KEPT:
            self._failures.append(f"{where}: {cause}")

    def reached(self, outcome: str, number: int = 1) -> None:
        """Count something within a try."""
        self._counts[outcome] = self._counts.get(outcome, 0) + number

    def rows(self, **more: Any) -> list[Row]:
        """The job's row."""
        counts = dict(sorted(self._counts.items()))
        tries = {"tried": self._tried, "failed": self._failed}
        return [{**self._row, **tries, "counts": counts, "failures": self._failures, **more}]


def cause(error: BaseException) -> str:
    """What an exception says of a try: its kind, its first line, where it was raised."""
    first = (str(error).splitlines() or [""])[0]
    (frame,) = traceback.extract_tb(error.__traceback__)[-1:] or [None]
    place = f" ({frame.name}, line {frame.lineno})" if frame else ""
    return f"{type(error).__name__}: {first[:200]}{place}"


def job(
    part: str,
    config: str,
    function: str,
    parameters: Mapping[str, Any],
    *,
    seed: int | None = None,
    code: tuple[str, ...] = (),
    releases: tuple[str, ...] = ("numpy",),
) -> Job:
    """A job of ``part`` about ``config``, whose function has the further ``parameters``."""
    module = function.partition(":")[0]
    return Job(
        f"{part}, {config}" + ("" if seed is None else f", seed {seed}"),
        function,
        parameters,
        columns={"part": part, "config": config, "seed": seed},
        code=(*CODE, module, *code),
        releases=releases,
    )
