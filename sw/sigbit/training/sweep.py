"""Sweeps: a study of runs in a shared storage, from which any number of machines take trials."""

import copy
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigbit.errors import TrainingError
from sigbit.quant import QuantizationError
from sigbit.training.config import RunConfig, SweepConfig
from sigbit.training.tables import differences

if TYPE_CHECKING:
    import optuna

HEARTBEAT = 60
"""Seconds between heartbeats of a trial; a trial whose machine has vanished fails, so that nobody
waits for it."""
ATTEMPTS, PAUSE = 5, 0.5
"""Number of attempts to open a storage, and seconds between them: if several processes start a
study at once, one creates its tables while others fail."""
_RANGE = {"low", "high", "log", "step"}


@dataclass(frozen=True)
class Choice:
    """Variation of one key: ``choices``, or numbers from ``low`` to ``high``."""

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None

    @classmethod
    def of(cls, key: str, table: object) -> "Choice":
        """Create the choice from an entry of the search space."""
        where = f'sweep.space."{key}"'
        if isinstance(table, Mapping) and set(table) == {"choices"} and table["choices"]:
            if not isinstance(table["choices"], list | tuple):
                raise TrainingError(f"{where}.choices must be a list, not {table['choices']!r}")
            return cls(key, tuple(table["choices"]))
        if not isinstance(table, Mapping) or not {"low", "high"} <= set(table) <= _RANGE:
            raise TrainingError(
                f"{where} must be {{choices = [...]}} or {{low = , high = }} with log = true or "
                f"step = if wanted, not {table!r}"
            )
        numbers = [table[k] for k in ("low", "high", "step") if k in table]
        if not all(type(n) in (int, float) for n in numbers) or not table["low"] < table["high"]:
            raise TrainingError(f"{where} must have numbers low < high, not {dict(table)!r}")
        if type(table.get("log", False)) is not bool:
            raise TrainingError(f"{where}.log must be true or false, not {table['log']!r}")
        from optuna.trial import FixedTrial

        choice = cls(key, **table)
        try:
            choice.suggest(FixedTrial({key: choice.low}))
        except ValueError as error:
            raise TrainingError(f"{where}: {error}") from error
        return choice

    def suggest(self, trial: "optuna.trial.BaseTrial") -> Any:
        """Return the trial's value."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        if all(isinstance(n, int) for n in (self.low, self.high, self.step or 1)):
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(
                self.key, int(self.low), int(self.high), step=step, log=self.log
            )
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)


def with_values(table: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` with other values at dotted keys; numbers in a key are list indices."""
    result = copy.deepcopy(dict(table))
    for key, value in values.items():
        *path, last = key.split(".")
        place: Any = result
        for part in path:
            if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
                place = place[int(part)]
            elif isinstance(place, dict):
                place = place.setdefault(part, {})
            else:
                raise TrainingError(f"sweep.space: there is no {key!r} in the run")
        if not isinstance(place, dict):
            raise TrainingError(f"sweep.space: there is no {key!r} in the run")
        place[last] = value
    return result


def trial_folder(folder: Path, number: int) -> Path:
    """Folder of a trial's run."""
    return folder / f"trial-{number:04d}"


def _unusable(storage: str, error: BaseException) -> TrainingError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return TrainingError(f"cannot open the storage {storage!r}: {reason}")


def _quietly(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return ``call``'s result without Optuna's warnings about experimental features."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return call(*arguments, **named)


class Sweep:
    """A study of the configuration ``table``, shared by all processes that open it with the same
    ``name`` and ``storage``.

    Every process draws new values, so that machines do not repeat each other's trials.

    Parameters
    ----------
    table : mapping
        A configuration without its table ``sweep``.
    sweep : SweepConfig
        Search space and settings.
    name : str
        Name of the study.
    storage : str
        A URL in Optuna's form: ``sqlite:///FILE``, ``mysql://…``, ``postgresql://…``.

    An interrupted trial is repeated with the same values; a trial that is impossible or whose loss
    diverges is finished without a value.

    Raises :class:`TrainingError` for a search space that does not match the configuration, a
    storage that cannot be opened, and a study that was started with another configuration.
    """

    def __init__(
        self, table: Mapping[str, Any], sweep: SweepConfig, name: str, storage: str
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._table, self._sweep = table, sweep
        self._choices = [Choice.of(key, value) for key, value in sweep.space.items()]
        first = {c.key: c.choices[0] if c.choices else c.low for c in self._choices}
        RunConfig.from_table(with_values(table, first))
        self._again = _quietly(optuna.storages.RetryHeartbeatStaleTrialCallback)
        self.study = self._opened(name, storage)
        self._check_same()

    def _opened(self, name: str, storage: str) -> "optuna.Study":
        """Open the study; repeat where other processes may be creating its tables."""
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        for patience in reversed(range(ATTEMPTS)):
            try:
                kept = _quietly(
                    optuna.storages.RDBStorage,
                    storage,
                    heartbeat_interval=HEARTBEAT,
                    heartbeat_stale_trial_callback=self._again,
                )
                return optuna.create_study(
                    storage=kept,
                    study_name=name,
                    direction="maximize",
                    load_if_exists=True,
                    sampler=self._sampler(),
                )
            except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
                if not patience:
                    raise _unusable(storage, error.__cause__ or error) from error
                time.sleep(PAUSE)
            except (ImportError, ValueError, RuntimeError) as error:
                raise _unusable(storage, error) from error
        raise AssertionError

    def _sampler(self) -> "optuna.samplers.BaseSampler":
        import optuna

        if self._sweep.sampler == "grid":
            if open_ranges := [c.key for c in self._choices if not c.choices]:
                raise TrainingError(
                    f"sampler grid takes choices only, not the range of {', '.join(open_ranges)}"
                )
            return optuna.samplers.GridSampler({c.key: c.choices for c in self._choices})
        if self._sweep.sampler == "random":
            return optuna.samplers.RandomSampler()
        return optuna.samplers.TPESampler()

    def _check_same(self) -> None:
        now = {"run": dict(self._table), "space": dict(self._sweep.space)}
        before = self.study.user_attrs.get("sigbit")
        if before is None:
            self.study.set_user_attr("sigbit", now)
        elif lines := differences(before, now):
            raise TrainingError(
                f"the study {self.study.study_name!r} was begun with another configuration "
                "(before -> now):\n  " + "\n  ".join(lines) + "\nGive it another --name."
            )

    @property
    def left(self) -> int:
        """Number of trials that have not been started."""
        from optuna.trial import TrialState

        wanted = self._sweep.trials
        if self._sweep.sampler == "grid":
            wanted = min(wanted, math.prod(len(c.choices) for c in self._choices))
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        return max(0, wanted - len(self.study.get_trials(deepcopy=False, states=states)))

    def work(
        self, folder: Path, run: Callable[[RunConfig, Path], Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Run trials until none is left, each by ``run`` in a folder of its own; return the table
        of all finished ones."""
        import optuna

        begun: list[int] = []

        def objective(trial: optuna.Trial) -> float:
            begun.append(trial.number)
            values = {c.key: c.suggest(trial) for c in self._choices}
            where = trial_folder(folder, trial.number)
            if where.exists():
                raise TrainingError(
                    f"{where} is there already, from another study: give another folder"
                )
            try:
                summary = run(RunConfig.from_table(with_values(self._table, values)), where)
            except (TrainingError, QuantizationError) as error:
                trial.set_user_attr("failure", str(error))
                raise optuna.TrialPruned(str(error)) from error
            if self._sweep.metric not in summary:
                raise TrainingError(
                    f"sweep.metric: a run has {', '.join(summary)}, not {self._sweep.metric!r}"
                )
            trial.set_user_attr("summary", dict(summary))
            return float(summary[self._sweep.metric])

        _quietly(optuna.storages.fail_stale_trials, self.study)
        while self.left:
            begun.clear()
            try:
                self.study.optimize(objective, n_trials=1)
            except optuna.exceptions.StorageInternalError as error:
                raise TrainingError(
                    f"the study's storage fails ({error.__cause__ or error}): start again once it "
                    "answers"
                ) from error
            except BaseException:
                self._put_back(begun)
                raise
        return self.rows()

    def _put_back(self, begun: list[int]) -> None:
        """Queue the interrupted trials among ``begun`` again, with their values."""
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            if trial.number in begun:
                self._again(self.study, trial)

    @property
    def running(self) -> int:
        """Number of trials that others are running, or that were interrupted so recently that they
        may be."""
        from optuna.trial import TrialState

        return len(self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    def failures(self) -> dict[int, str]:
        """Reasons of the trials without a value."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
        return {t.number: t.user_attrs.get("failure", "") for t in trials}

    def rows(self) -> list[dict[str, Any]]:
        """Finished trials, the best first."""
        import optuna

        trials = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        rows = [
            {"trial": t.number, **t.params, **t.user_attrs["summary"], "value": t.value}
            for t in trials
        ]
        return sorted(rows, key=lambda row: (-row["value"], row["trial"]))
