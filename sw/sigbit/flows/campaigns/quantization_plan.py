"""Planned runs of ``sigbit bench quant``, and their estimated time."""

from dataclasses import dataclass
from pathlib import Path

from sigbit.bench.quantization.cases import QuantCase
from sigbit.bench.quantization.runs import estimates, plan
from sigbit.campaigns import open_workers
from sigbit.data import load
from sigbit.flows.campaigns.quantization import Choice, open_rows, select
from sigbit.flows.campaigns.running import Place
from sigbit.flows.result import Result, Stopwatch


@dataclass(frozen=True, kw_only=True)
class QuantizationPlan(Result):
    """Runs to do.

    Parameters
    ----------
    runs : tuple of (str, float)
        Names and estimated seconds on one idle core, in the order in which they run.
    done : int
        Number of runs with existing rows.
    others : tuple of str
        Other groups, which take minutes per row.
    slots : int
        Number of concurrent runs.
    """

    runs: tuple[tuple[str, float], ...]
    done: int
    others: tuple[str, ...]
    slots: int

    @property
    def hours(self) -> float:
        """Estimated hours of all runs, with as many idle cores as runs at a time."""
        return sum(seconds for _, seconds in self.runs) / 3600 / self.slots


def plan_quantization(
    choice: Choice, *, data: Path | None = None, place: Place | None = None
) -> QuantizationPlan:
    """Measure a few steps of every network of ``choice``, and plan the remaining runs."""
    spent, place = Stopwatch(), place or Place()
    selection = select(choice)
    _, _, done = open_rows(selection, place)
    left = [case for case in selection.cases if case.config.digest not in done]
    counts: dict[str, int] = {}

    def samples(case: QuantCase) -> int:
        name = case.config.data.name
        if name not in counts:
            counts[name] = len(load(name, "train", data))
        return case.config.data.train_samples or counts[name]

    with open_workers(place.jobs, place.scheduler) as workers:
        slots = workers.slots
    runs = plan(left, estimates(left, data), samples)
    return QuantizationPlan(
        runs=tuple((case.name, seconds) for case, seconds in runs),
        done=len(selection.cases) - len(left),
        others=tuple(sorted(selection.others)),
        slots=slots,
        **spent.read(),
    )
