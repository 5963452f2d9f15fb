"""The committed verdict of every case: ``PYTHONPATH=tests python -m imports.status SUITE`` writes
it anew."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sigbit.bench.imports.verdicts import Judged, Verdict

FOLDER = Path(__file__).parent


def recorded(suite: str) -> dict[str, Verdict]:
    """The verdicts of a suite's cases when they were last written."""
    lines = (FOLDER / f"{suite}.txt").read_text().splitlines()
    return {case: Verdict(verdict) for verdict, case in (line.split(" ", 1) for line in lines)}


def worse(judged: Iterable[Judged], before: Mapping[str, Verdict]) -> list[str]:
    """Cases that are at fault, or were better before."""
    return [
        f"{j.case}: {j.verdict.value} {j.operator} {j.reason}"
        for j in judged
        if j.verdict in (Verdict.WRONG, Verdict.CRASH)
        or j.verdict.rank > before.get(j.case, Verdict.CRASH).rank
    ]


def _write(suite: str) -> None:
    from sigbit.flows.imports import SUITES

    lines = sorted(f"{j.verdict.value} {j.case}" for j in SUITES[suite]())
    (FOLDER / f"{suite}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    _write(sys.argv[1])
