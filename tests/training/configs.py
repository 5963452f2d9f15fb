"""Small runs on the bundled digits."""

from pathlib import Path
from typing import Any

from sigbit.training import Machine, Options, RunConfig, TrainingRun, load_splits
from sigbit.training.run import Tell
from sigbit.training.sweep import with_values

DIGITS: dict[str, Any] = {
    "seed": 3,
    "data": {"name": "digits", "crop": 1, "train_samples": 320, "test_samples": 100},
    "model": {"name": "digits", "options": {"width": 4}},
    "float": {"epochs": 2, "batch_size": 32, "lr": 2e-2, "warm_up": 0.2},
    "quantizer": {},
    "train": {"epochs": 2, "batch_size": 32},
}


def digits(**changes: Any) -> RunConfig:
    """The run with other values; ``__`` in a name stands for a dot."""
    values = {key.replace("__", "."): value for key, value in changes.items()}
    return RunConfig.from_table(with_values(DIGITS, values))


def started(
    config: RunConfig,
    folder: Path,
    *,
    options: Options | None = None,
    tell: Tell | None = None,
    machine: Machine | None = None,
) -> TrainingRun:
    """The run in ``folder``."""
    splits = load_splits(config.data, config.model, None)
    return TrainingRun(config, splits, folder, options=options, tell=tell, machine=machine)
