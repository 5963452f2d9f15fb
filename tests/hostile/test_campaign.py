"""The campaign itself: it notices what no reader may do, and its damage damages."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile.campaign import Worker, run
from hostile.kinds import kinds
from hostile.mutators import DAMAGES, damaged, mutated

EXPECTED = {
    "good": set(),
    "accepted": {"accepted"},
    "undocumented": {"undocumented"},
    "unsound": {"unsound"},
    "too slow": {"too slow"},
    "grown": {"undocumented"},
    "wrote": {"wrote"},
    "left": {"wrote"},
    "ran": {"wrote"},
    "unreadable": {"unreadable"},
    "died": {"ended the process (3)"},
}
"""The faults of :mod:`hostile.misbehaving`'s readers."""


@pytest.mark.slow
def test_misbehaving_readers_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTILE_MODULES", "misbehaving")
    kinds.cache_clear()
    try:
        with Worker(tmp_path / "sandbox") as worker:
            rows = run(worker, tmp_path, damages=1, crafts=1, seed=0, pool=1)
    finally:
        kinds.cache_clear()
    assert {row.kind: set(row.faults) for row in rows} == EXPECTED
    for row in rows:
        wrong = bool(EXPECTED[row.kind])
        assert (row.valid, row.damaged, row.crafted) == (2, 1, 1)
        strays = row.kind == "wrote"  # seen as they are made, and where they lie
        assert sum(row.faults.values()) == len(row.failures) == 2 * wrong + strays
        kept = [Path(failure["file"]) for failure in row.failures if "file" in failure]
        assert all(path.read_bytes() != b"good" for path in kept)


@given(data=st.binary(min_size=1, max_size=200), seed=st.integers(0, 1 << 32))
def test_damage_damages(data: bytes, seed: int) -> None:
    assert damaged(data, random.Random(seed)) != data
    assert damaged(data, random.Random(seed)) == damaged(data, random.Random(seed))


@pytest.mark.parametrize("damage", DAMAGES)
@given(data=st.binary(min_size=1, max_size=200), seed=st.integers(0, 1 << 32))
def test_every_damage_takes_any_file(damage, data: bytes, seed: int) -> None:
    assert isinstance(damage(data, random.Random(seed)), bytes)


@given(seed=st.integers(0, 1 << 32))
def test_mutation_leaves_the_document_alone(seed: int) -> None:
    document = {"a": [1, 2.5, {"b": "x"}], "c": None, "d": True}
    before = json.dumps(document)
    assert isinstance(mutated(document, random.Random(seed)), str)
    assert json.dumps(document) == before
