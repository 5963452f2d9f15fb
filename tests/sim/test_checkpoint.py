"""Checkpoints of simulations: exact, signed, refused if anybody else wrote them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigbit.runtime import Event
from sigbit_hw.arch.isa import Engine
from sigbit_sim.rtl.checkpoint import Checkpoint, CheckpointError, Feed, Results

STATE = bytes(range(256)) * 8


class Model:
    """Stands for a compiled model."""

    restored = b""

    def save(self, path: Path) -> None:
        path.write_bytes(STATE)

    def restore(self, path: Path) -> None:
        self.restored = path.read_bytes()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGBIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Results]:
    results = Results(
        outputs={"y": [np.arange(6).reshape(1, 2, 3, 1)]},
        layers={"conv": [np.arange(4).reshape(1, 4, 1, 1)]},
        counters=[{"CYCLES": 9}],
        timeline=[Event(Engine.LOAD, 0, 1, 2)],
        feeds={3: Feed(4, 5, 6)},
    )
    model: Any = Model()
    Checkpoint(tmp_path / "run", "key").save(model, results, spent=11)
    return tmp_path / "run", results


def _restored(path: Path, key: str = "key") -> tuple[Any, Model]:
    model: Any = Model()
    return Checkpoint(path, key).restore(model), model


def test_restore_inverts_save(saved: tuple[Path, Results]) -> None:
    path, results = saved
    (got, spent), model = _restored(path)
    assert spent == 11
    assert model.restored == STATE
    assert (got.counters, got.timeline, got.feeds) == (
        results.counters, results.timeline, results.feeds,
    )  # fmt: skip
    for kind in ("outputs", "layers"):
        mine, other = getattr(results, kind), getattr(got, kind)
        assert mine.keys() == other.keys()
        assert all((a == b).all() for k in mine for a, b in zip(mine[k], other[k], strict=True))
    assert _restored(path.with_name("absent"))[0] is None


def test_any_flipped_bit_is_refused(saved: tuple[Path, Results], rng: np.random.Generator) -> None:
    path, _ = saved
    data = path.read_bytes()
    for position in {*range(64), *rng.integers(0, 8 * len(data), 100).tolist()}:
        wrong = bytearray(data)
        wrong[position // 8] ^= 1 << position % 8
        path.write_bytes(wrong)
        with pytest.raises(CheckpointError, match="is damaged, or was not written by you"):
            _restored(path)


def test_another_users_is_refused(
    saved: tuple[Path, Results], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = saved
    monkeypatch.setenv("SIGBIT_CACHE", str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match="is damaged, or was not written by you"):
        _restored(path)


def test_another_simulations_is_refused(saved: tuple[Path, Results]) -> None:
    with pytest.raises(CheckpointError, match="belongs to another program"):
        _restored(saved[0], "other")
    with pytest.raises(CheckpointError, match="is not a regular file"):
        _restored(saved[0].parent)
