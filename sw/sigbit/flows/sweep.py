"""Sweeps: many runs of a configuration with varying keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigbit.errors import UserError
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch
from sigbit.flows.train import steps
from sigbit.training import Machine, Options, RunConfig, TrainingRun, load_splits
from sigbit.training.config import load_sweep
from sigbit.training.sweep import Sweep, trial_folder
from sigbit_tools.files import make_folder


@dataclass(frozen=True, kw_only=True)
class SweepOutcome(Result):
    """The finished trials of a study.

    Parameters
    ----------
    study : str
        Its name.
    metric : str
        Metric that ranks the trials.
    space : mapping
        Search space, by key.
    trials : tuple of mapping
        The best first: number, varied keys, the summary of the run, and ``value``.
    failures : mapping
        Reasons for trials without a value, by number.
    running : int
        Trials in progress elsewhere, including those interrupted so recently that they may be.
    best : Path, optional
        Folder of the best trial, if there is one.
    """

    study: str
    metric: str
    space: Mapping[str, Any]
    trials: tuple[Mapping[str, Any], ...]
    failures: Mapping[int, str]
    running: int
    best: Path | None


def sweep(
    config: Path,
    output: Path,
    *,
    storage: str | None = None,
    name: str | None = None,
    data: Path | None = None,
    twins: Path | None = None,
    machine: Machine | None = None,
    tell: Tell = silent,
) -> SweepOutcome:
    """Run trials of the study in ``config``'s table ``sweep`` until none is left.

    Any number of processes on any number of machines may take part, with the same ``storage`` and
    ``name``.

    Parameters
    ----------
    output : Path
        The folder of the trials' folders.
    storage : str, optional
        URL of the study; a file in ``output`` if not given.
    name : str, optional
        Name of the study; the name in ``config`` if not given.
    data : Path, optional
        The folder of data sets.
    twins : Path, optional
        Folder of float networks that trials share; a folder in ``output`` if not given.
    machine : Machine, optional
        One process and its device; the CPU if not given.
    """
    watch = Stopwatch()
    table, wanted = load_sweep(config)
    machine = Machine() if machine is None else machine
    if machine.processes > 1:
        raise UserError(
            f"a trial is run by one process, not by {machine.processes}: start sweep as often as "
            "you like with one storage, without accelerate launch"
        )
    folder = make_folder(output)
    study = Sweep(table, wanted, name or config.stem, storage or f"sqlite:///{folder / 'study.db'}")
    options = Options(twins=folder / "twins" if twins is None else twins)

    def run(chosen: RunConfig, where: Path) -> Mapping[str, Any]:
        splits = load_splits(chosen.data, chosen.model, data, progress=True)
        told = steps(tell, machine, f"{where.name}, ")
        return TrainingRun(
            chosen, splits, where, machine=machine, options=options, tell=told
        ).finish()

    rows = study.work(folder, run)
    return SweepOutcome(
        study=study.study.study_name,
        metric=wanted.metric,
        space=wanted.space,
        trials=tuple(rows),
        failures=study.failures(),
        running=study.running,
        best=trial_folder(folder, rows[0]["trial"]) if rows else None,
        **watch.read(),
    )
