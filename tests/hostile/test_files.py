"""Files that mean harm: none of them runs code, hangs, fills the memory, writes, or is taken.

A small seeded slice of the campaign (``python -m hostile``); ``--hostile N`` opens N damaged and N
crafted files of every kind.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hostile.campaign import Worker, run, table
from hostile.kinds import Kind, kinds

ERRORS = Path(__file__).with_name("errors.json")
"""What is said of every crafted Program and ArchConfig."""
WORDED = ("Program", "ArchConfig")
CRAFTED = [(kind, name) for kind in kinds().values() for name in kind.crafted]


def told(kind: Kind, name: str, folder: Path) -> str:
    """The error that the reader of a kind raises for a crafted file; its file is called FILE."""
    kind.write(folder, np.random.default_rng(1))
    path = folder / kind.file
    path.write_bytes(kind.crafted[name](path.read_bytes()))
    with pytest.raises(kind.errors) as caught:
        kind.read(path)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize(("kind", "name"), CRAFTED, ids=[f"{k.name}: {n}" for k, n in CRAFTED])
def test_crafted_files_are_refused(
    kind: Kind, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the error that its reader's documentation names, in words that can be shown."""
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    message = told(kind, name, tmp_path)
    assert message.strip()
    assert all(c.isprintable() or c == "\n" for c in message)
    assert not list(inside.iterdir())
    if kind.name in WORDED:
        assert message == json.loads(ERRORS.read_text())[kind.name][name]


def test_errors_are_those_of_the_crafted_files() -> None:
    wanted = {kind: set(kinds()[kind].crafted) for kind in WORDED}
    assert {kind: set(found) for kind, found in json.loads(ERRORS.read_text()).items()} == wanted


@pytest.mark.slow
def test_a_slice_of_the_campaign(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Damaged and mutated files of every kind in a watched worker, and valid ones before and after
    them."""
    count = int(request.config.getoption("--hostile"))
    seed = int(os.environ.get("SIGBIT_SEED", "0"))
    with Worker(tmp_path / "sandbox") as worker:
        rows = run(worker, tmp_path, damages=count, crafts=count, seed=seed, pool=2)
    assert len(rows) == len(kinds())
    assert all(row.valid == 4 and row.damaged == count for row in rows)
    failures = [failure for row in rows for failure in row.failures]
    assert not any(row.faults for row in rows), f"{table(rows)}\n{json.dumps(failures, indent=1)}"
    assert worker.starts == 1
