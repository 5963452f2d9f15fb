"""Sweeps: shared studies that go on where they stopped."""

from pathlib import Path
from typing import Any

import pytest

from sigbit.training import RunConfig, TrainingError
from sigbit.training.config import SweepConfig
from sigbit.training.errors import DivergedError
from sigbit.training.sweep import Sweep, with_values
from training.configs import DIGITS, started

GRID = SweepConfig({"train.lr": {"choices": [1e-3, 1e-2]}}, trials=5, sampler="grid")


def storage(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def test_two_trials(tmp_path: Path) -> None:
    ran: list[float] = []

    def run(config: RunConfig, folder: Path) -> dict[str, Any]:
        ran.append(config.train.lr)
        return started(config, folder).finish()

    table = with_values(DIGITS, {"train.epochs": 1, "float.epochs": 1})
    rows = Sweep(table, GRID, "lr", storage(tmp_path)).work(tmp_path, run)
    assert sorted(ran) == [1e-3, 1e-2]
    assert [r["value"] for r in rows] == sorted((r["value"] for r in rows), reverse=True)
    assert {r["train.lr"] for r in rows} == {1e-3, 1e-2}
    assert all(r["value"] == r["accuracy_deployed"] for r in rows)
    again = Sweep(table, GRID, "lr", storage(tmp_path)).work(tmp_path, run)
    assert again == rows
    assert len(ran) == 2
    with pytest.raises(TrainingError, match=r"run\.seed: 3 -> 4"):
        Sweep({**table, "seed": 4}, GRID, "lr", storage(tmp_path))


def test_failures_and_interruptions(tmp_path: Path) -> None:
    """A run that diverges is done; one that is interrupted is taken up again."""
    space = {"train.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "seed": {"low": 0, "high": 9}}
    study = Sweep(DIGITS, SweepConfig(space, trials=3), "x", storage(tmp_path))
    calls = 0

    def run(config: RunConfig, folder: Path) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        assert 1e-4 <= config.train.lr <= 1e-1
        assert 0 <= config.seed <= 9
        if calls == 1:
            raise DivergedError("nan")
        if calls == 2:
            raise KeyboardInterrupt
        return {"accuracy_deployed": config.train.lr}

    with pytest.raises(KeyboardInterrupt):
        study.work(tmp_path, run)
    assert study.left == 2
    rows = study.work(tmp_path, run)
    assert (calls, len(rows), study.left) == (4, 2, 0)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"train.lr": {"choices": []}}, "choices"),
        ({"train.lr": {"low": 1, "high": 0}}, "low < high"),
        ({"train.lrr": {"choices": [1]}}, "no key 'lrr'"),
        ({"strategies.0.lambda_w": {"choices": [1]}}, "no 'strategies.0.lambda_w'"),
    ],
    ids=["none", "empty", "unknown", "absent"],
)
def test_spaces_are_refused(tmp_path: Path, space: dict[str, Any], says: str) -> None:
    table = {**DIGITS, "strategies": []}
    with pytest.raises(TrainingError, match=says):
        Sweep(table, SweepConfig(space), "x", storage(tmp_path))


def test_a_storage_that_is_none() -> None:
    with pytest.raises(TrainingError, match="cannot open the storage 'nonsense'"):
        Sweep(DIGITS, GRID, "x", "nonsense")
