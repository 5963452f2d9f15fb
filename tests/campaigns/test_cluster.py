"""Campaigns on a Dask cluster: whatever becomes of its workers, the rows are those of one
process."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from campaigns.work import Rows
from sigbit.campaigns import Campaign, Job, Store, open_workers
from sigbit.campaigns import workers as workers_module
from sigbit.errors import UserError
from sigbit.flows.campaigns import random_programs
from sigbit.flows.devices import DeviceName
from sigbit_hw.arch.config import PRESETS

distributed = pytest.importorskip("distributed")

JOBS, VICTIM = 6, 2
"""Jobs of the campaign, and the number of the one whose worker is killed."""
WAIT = 60
"""Seconds that the victim waits to be killed, and later jobs for its death, at most."""


def programs_or_death(marker: str, number: int, tell: Any, **parameters: Any) -> Rows:
    """Random programs; where ``marker`` names a file that is not there yet, only after saying in it
    which process this is, and waiting to be killed. Later jobs wait for that death."""
    path = Path(marker)
    if number == VICTIM and marker and not path.exists():
        path.with_suffix(".new").write_text(str(os.getpid()))
        path.with_suffix(".new").rename(path)
        time.sleep(WAIT)
    elif number > VICTIM and marker:
        for _ in range(100 * WAIT):
            if path.with_suffix(".killed").exists():
                break
            time.sleep(0.01)
    return random_programs.fuzz(**parameters, tell=tell)


def jobs(marker: Path | None) -> list[Job]:
    """A small campaign: random programs on the interpreter, on two accelerators."""
    presets = {name: PRESETS[name] for name in ("nano", "micro")}
    fuzz = random_programs.fuzz_jobs(presets, range(JOBS // 2), 2, DeviceName.INTERP)
    return [
        Job(
            job.name,
            f"{__name__}:programs_or_death",
            {**job.parameters, "number": number},
            {"marker": str(marker or "")},
            job.columns,
            job.code,
            job.releases,
        )
        for number, job in enumerate(fuzz)
    ]


def rows_of(found: list[Job], folder: Path, scheduler: str | None = None) -> Rows:
    """All rows in the order of their jobs, without their times."""
    with open_workers(scheduler=scheduler) as workers:
        outcomes = {o.job.name: o for o in Campaign(Store(folder), workers).run(found)}
    assert not [o.failure for o in outcomes.values() if o.failure]
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "cpu_seconds")}
        for job in found
        for row in outcomes[job.name].rows
    ]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A scheduler and two workers, processes of this machine."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as found:
        yield found


@pytest.mark.slow
def test_a_worker_is_killed_in_the_middle(cluster: Any, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    store = Store(tmp_path / "cluster")
    todo = jobs(marker)
    killed: list[tuple[int, bool, int]] = []

    def kill() -> None:
        while not marker.exists():
            time.sleep(0.01)
        pid = int(marker.read_text())
        claimed = store.claimed(todo[VICTIM].key)
        os.kill(pid, signal.SIGKILL)
        killed.append((pid, claimed, sum(store.load(j.key) is None for j in todo)))
        marker.with_suffix(".killed").touch()

    thread = threading.Thread(target=kill)
    thread.start()
    found = rows_of(todo, store.folder, cluster.scheduler_address)
    thread.join()
    ((pid, claimed, left),) = killed
    assert claimed
    assert left >= JOBS - VICTIM  # in the middle
    again = store.load(todo[VICTIM].key)
    assert again is not None
    assert not again.worker.endswith(f" {pid}")
    assert found == rows_of(jobs(None), tmp_path / "alone")
    assert len({row["sha256"] for row in found}) == len(found) == JOBS


def test_workers_must_have_one_thread(tmp_path: Path) -> None:
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as wide,
        pytest.raises(UserError, match="--nthreads 1"),
        open_workers(scheduler=wide.scheduler_address),
    ):
        pass


def test_a_cluster_without_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "PATIENCE", 1)
    with (
        distributed.LocalCluster(
            n_workers=0, processes=False, protocol="tcp", dashboard_address=None
        ) as empty,
        pytest.raises(UserError, match="has no workers: start some with `dask worker tcp:"),
        open_workers(scheduler=empty.scheduler_address),
    ):
        pass


def test_a_scheduler_that_stops_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "PATIENCE", 5)
    todo = [
        Job(f"job {n}", "campaigns.work:slow", {"number": n, "seconds": 0.1}) for n in range(100)
    ]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as stopping:
        with open_workers(scheduler=stopping.scheduler_address) as workers:
            outcomes = Campaign(Store(tmp_path), workers).run(todo)
            assert next(outcomes).failure is None
            stopping.close()
            with pytest.raises(UserError, match="what is finished is kept"):
                list(outcomes)
    assert Store(tmp_path).load(todo[0].key)
