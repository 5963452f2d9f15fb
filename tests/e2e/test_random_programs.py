"""Random programs, instruction by instruction: interpreter and RTL give the same codes, and the RTL
takes the cycles of the model. ``--hours`` as in :mod:`e2e.test_random_networks`."""

from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import pytest

from e2e.fuzz import CONFIGS
from sigbit.campaigns import Job, Row
from sigbit.flows.campaigns.random_programs import Mismatch, compare, fuzz_jobs
from sigbit.flows.devices import DeviceName
from sigbit.runtime import RunResult
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.interp.device import Interp

NANO = PRESETS["nano"]
PROGRAMS = 20
"""Programs of a job."""


def silent(what: str, done: int, total: int) -> None:
    assert 0 <= done < total


@pytest.mark.sim
def test_random_programs(seed: int) -> None:
    for job in islice(fuzz_jobs(CONFIGS, count(seed), 2, DeviceName.RTL), len(CONFIGS)):
        (row,) = job.run(silent)
        assert row["codes"] > 100 < row["cycles"]
        assert len(row["sha256"]) == 64


@pytest.mark.sim
def test_random_programs_for_hours(
    seed: int, for_hours: Callable[[Iterable[Job]], Iterator[Row]]
) -> None:
    codes = sum(
        row["codes"] for row in for_hours(fuzz_jobs(CONFIGS, count(seed), PROGRAMS, DeviceName.RTL))
    )
    print(f"{codes:,} codes compared")
    assert codes > 0


class Wrong(Interp):
    """An interpreter whose results are spoilt."""

    name = "wrong"

    def __init__(self, spoil: Callable[[RunResult], object]) -> None:
        super().__init__(NANO, strict=True)
        self._spoil = spoil

    def run(self, *arguments: Any, **options: Any) -> RunResult:
        result = super().run(*arguments, **options)
        self._spoil(result)
        return result


def one_code(result: RunResult) -> None:
    name, values = next(reversed(result.layers.items()))
    values = values.copy()
    values.flat[0] += 1
    result.layers[name] = values


def one_layer(result: RunResult) -> None:
    result.layers.popitem()


def cycles(result: RunResult) -> None:
    result.cycles = np.array([1])


@pytest.mark.sim
@pytest.mark.parametrize(
    ("spoil", "text"),
    [(one_code, "1 of .* codes"), (one_layer, "were not compared"), (cycles, "by the cycle model")],
)
def test_what_differs_is_found(spoil: Callable[[RunResult], object], text: str, seed: int) -> None:
    with pytest.raises(Mismatch, match=f"nano: random program 0 of seed {seed}: .*{text}"):
        compare(NANO, Wrong(spoil), 1, seed, silent)
    assert compare(NANO, Wrong(lambda result: None), 1, seed, silent).codes > 0
