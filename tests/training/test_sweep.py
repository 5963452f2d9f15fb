"""Sweeps: shared studies that go on where they stopped."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from sigbit.errors import DivergedError
from sigbit.quant import QuantizationError
from sigbit.training import RunConfig, TrainingError, sweep
from sigbit.training.config import SweepConfig
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
    """A run that diverges or is impossible is done; one that is interrupted is done again."""
    space = {"train.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "seed": {"low": 0, "high": 9}}
    study = Sweep(DIGITS, SweepConfig(space, trials=3), "x", storage(tmp_path))
    tried: list[float] = []

    def run(config: RunConfig, folder: Path) -> dict[str, Any]:
        tried.append(config.train.lr)
        assert 1e-4 <= config.train.lr <= 1e-1
        assert 0 <= config.seed <= 9
        if len(tried) == 1:
            raise DivergedError("nan")
        if len(tried) == 2:
            raise KeyboardInterrupt
        if len(tried) == 4:
            raise QuantizationError("no such bits")
        return {"accuracy_deployed": config.train.lr}

    with pytest.raises(KeyboardInterrupt):
        study.work(tmp_path, run)
    assert study.left == 2
    rows = study.work(tmp_path, run)
    assert (len(tried), len(rows), study.left, study.running) == (4, 1, 0, 0)
    assert tried[2] == tried[1]
    assert study.failures() == {0: "nan", 3: "no such bits"}


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_grid_is_complete_after_an_interruption(tmp_path: Path, cut: int) -> None:
    grid = SweepConfig({"seed": {"choices": [0, 1, 2]}}, sampler="grid")
    study = Sweep(DIGITS, grid, "x", storage(tmp_path))
    calls: list[int] = []

    def run(config: RunConfig, folder: Path) -> dict[str, Any]:
        calls.append(config.seed)
        if len(calls) == cut + 1:
            raise KeyboardInterrupt
        return {"accuracy_deployed": 0.5}

    with pytest.raises(KeyboardInterrupt):
        study.work(tmp_path, run)
    rows = Sweep(DIGITS, grid, "x", storage(tmp_path)).work(tmp_path, run)
    assert sorted(r["seed"] for r in rows) == [0, 1, 2]
    assert len(calls) == 4


def test_folders_of_another_study(tmp_path: Path) -> None:
    (tmp_path / "trial-0000").mkdir()
    study = Sweep(DIGITS, GRID, "x", storage(tmp_path))
    with pytest.raises(TrainingError, match="trial-0000 is there already, from another study"):
        study.work(tmp_path, lambda config, folder: {})


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"train.lr": {"choices": []}}, "choices"),
        ({"train.lr": {"low": 1, "high": 0}}, "low < high"),
        ({"train.lrr": {"choices": [1]}}, "no key 'lrr'"),
        ({"strategies.0.lambda_w": {"choices": [1]}}, "no 'strategies.0.lambda_w'"),
        ({"quantizer.weights": {"choices": "esb"}}, "choices must be a list, not 'esb'"),
        ({"train.lr": {"low": 0, "high": 1.5, "log": True}}, 'space."train.lr": .*low'),
        ({"seed": {"low": 0, "high": 9, "step": 0}}, 'space."seed": .*step'),
        ({"seed": {"low": 1, "high": 9, "log": "yes"}}, "log must be true or false, not 'yes'"),
    ],
    ids=["none", "empty", "unknown", "absent", "text", "log", "step", "bool"],
)
def test_spaces_are_refused(tmp_path: Path, space: dict[str, Any], says: str) -> None:
    table = {**DIGITS, "strategies": []}
    with pytest.raises(TrainingError, match=says):
        Sweep(table, SweepConfig(space), "x", storage(tmp_path))


def test_processes_that_begin_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses tables that another process has made in between."""
    monkeypatch.setattr(sweep, "PAUSE", 0)
    opened: list[int] = []
    create = optuna.create_study

    def racing(**named: Any) -> optuna.Study:
        opened.append(1)
        if len(opened) < 3:
            raise OperationalError("CREATE TABLE", None, Exception("table studies already exists"))
        return create(**named)

    monkeypatch.setattr(optuna, "create_study", racing)
    assert Sweep(DIGITS, GRID, "x", storage(tmp_path)).left == 2
    assert len(opened) == 3


def test_a_storage_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAUSE", 0)
    (tmp_path / "study.db").write_text("no data base at all, but longer than a header " * 50)
    for url in ("nonsense", storage(tmp_path), storage(tmp_path / "absent")):
        with pytest.raises(TrainingError, match=f"cannot open the storage '{url}'"):
            Sweep(DIGITS, GRID, "x", url)


def test_metrics() -> None:
    with pytest.raises(ValueError, match="metric must be one of accuracy_deployed"):
        SweepConfig({"seed": {"choices": [1]}}, metric="accuracy")
