"""Campaigns in this process and in others: every job once, whatever is cut off."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns import work
from sigbit.campaigns import Campaign, Job, Outcome, Progress, Store, open_workers
from sigbit.campaigns import campaign as campaign_module
from sigbit.campaigns.estimate import Estimate
from sigbit.campaigns.job import as_json, source_digest
from sigbit.campaigns.worker import attempt
from sigbit.errors import UserError

TESTS = Path(__file__).parents[1]


def job(function: str, number: int, **more: Any) -> Job:
    """A job that calls a function of :mod:`campaigns.work`."""
    return Job(
        f"{function} {number}",
        f"campaigns.work:{function}",
        {"number": number},
        more,
        columns={"number": number},
    )


def run(jobs: Sequence[Job], folder: Path, processes: int = 1) -> list[Outcome]:
    """What comes of ``jobs``, in their order."""
    with open_workers(processes) as workers:
        found = {o.job.name: o for o in Campaign(Store(folder), workers).run(jobs)}
    assert found.keys() == {j.name for j in jobs}
    return [found[j.name] for j in jobs]


def timeless(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what differs from run to run."""
    return [{k: v for k, v in r.items() if k not in ("seconds", "cpu_seconds")} for r in rows]


def calls(log: Path) -> list[int]:
    """The numbers that jobs have written into ``log``."""
    return [int(line.split()[0]) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("processes", [1, 2])
def test_every_job_is_done_once(processes: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [job("square", n, log=str(log)) for n in range(5)]
    outcomes = run(jobs, tmp_path, processes)
    assert [timeless(o.rows) for o in outcomes] == [
        [{"number": n, "square": n**2}] for n in range(5)
    ]
    assert all(o.fresh and o.rows[0]["seconds"] >= 0 <= o.rows[0]["cpu_seconds"] for o in outcomes)
    again = run(jobs, tmp_path)
    assert [o.rows for o in again] == [o.rows for o in outcomes]
    assert not any(o.fresh for o in again)
    assert sorted(calls(log)) == [0, 1, 2, 3, 4]
    assert not list((tmp_path / "locks").iterdir())


def test_a_job_that_fails_is_a_row_and_is_tried_again(tmp_path: Path) -> None:
    jobs = [job("wrong", n) for n in range(3)]
    good, bad, other = run(jobs, tmp_path)
    assert good.failure is other.failure is None
    assert bad.failure is not None
    assert bad.failure.kinds[:2] == ("ZeroDivisionError", "ArithmeticError")
    assert "in wrong" in bad.failure.trace
    (row,) = bad.rows
    assert row["failure"] == "ZeroDivisionError: 1 is odd"
    assert row["number"] == 1
    assert row.keys() >= {"seconds", "cpu_seconds"}
    assert [o.fresh for o in run(jobs, tmp_path)] == [False, True, False]


def test_a_job_that_kills_its_process_fails_alone(tmp_path: Path) -> None:
    outcomes = run([job("deadly", n) for n in range(6)], tmp_path, 2)
    assert [o.failure is not None for o in outcomes] == [n == 3 for n in range(6)]
    assert "killed, twice" in outcomes[3].rows[0]["failure"]


def test_a_process_that_is_killed_from_outside_costs_nothing(tmp_path: Path) -> None:
    jobs = [job("victim", n, graves=str(tmp_path)) for n in range(6)]

    def kill() -> None:
        grave = tmp_path / "pid"
        while not (grave.exists() and grave.read_text()):
            time.sleep(0.01)
        os.kill(int(grave.read_text()), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    outcomes = run(jobs, tmp_path, 2)
    thread.join()
    assert [timeless(o.rows) for o in outcomes] == [
        [{"number": n, "square": n**2}] for n in range(6)
    ]


def test_a_killed_campaign_goes_on(tmp_path: Path) -> None:
    """Its processes end with it, and what they have finished is kept."""
    log = tmp_path / "log"
    script = tmp_path / "campaign.py"
    script.write_text(
        "from campaigns.test_campaign import Path, job, run\n"
        "if __name__ == '__main__':\n"
        f"    jobs = [job('slow', n, seconds=0.2, log={str(log)!r}) for n in range(60)]\n"
        f"    run(jobs, Path({str(tmp_path)!r}), 2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    process = subprocess.Popen([sys.executable, str(script)], env=environment)
    while not (log.exists() and len(calls(log)) >= 3):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    store = Store(tmp_path)
    jobs = [job("slow", n, seconds=0.2, log=str(log)) for n in range(60)]
    while any(store.claimed(j.key) for j in jobs):
        time.sleep(0.05)
    before = len(calls(log))
    assert 3 <= before < 60
    few = jobs[: before + 4]
    outcomes = run(few, tmp_path)
    assert not outcomes[0].fresh
    assert outcomes[-1].fresh
    assert sorted(set(calls(log))) == list(range(len(few)))
    done = {n for n in calls(log) if calls(log).count(n) > 1}
    assert len(done) <= 2  # what the two processes were at when they were killed


def hold(folder: Path, key: str, held: Any) -> None:
    """Claim a job, and keep it."""
    with Store(folder).claim(key) as mine:
        assert mine
        held.set()
        time.sleep(60)


def test_claims_of_the_living_hold_and_those_of_the_dead_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign_module, "PAUSE", 0.05)
    jobs = [job("square", n) for n in range(3)]
    store = Store(tmp_path)
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    other = context.Process(target=hold, args=(tmp_path, jobs[0].key, held))
    other.start()
    assert held.wait(60)
    assert store.claimed(jobs[0].key)
    assert attempt(jobs[0], jobs[0].key, tmp_path) is None
    with open_workers() as workers:
        found = []
        for outcome in Campaign(store, workers).run(jobs):
            found.append(outcome.job.name)
            if len(found) == 2:  # the others were done meanwhile
                other.kill()
    other.join()
    assert found == ["square 1", "square 2", "square 0"]


def test_two_campaigns_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign_module, "PAUSE", 0.05)
    log = tmp_path / "log"
    jobs = [job("slow", n, seconds=0.05, log=str(log)) for n in range(12)]
    script = (
        "from campaigns.test_campaign import *\n"
        f"jobs = [job('slow', n, seconds=0.05, log={str(log)!r}) for n in range(12)]\n"
        f"print(sum(o.fresh for o in run(jobs, Path({str(tmp_path)!r}))))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    other = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
    )
    while not log.exists():
        time.sleep(0.01)
    mine = sum(o.fresh for o in run(jobs, tmp_path))
    out, _ = other.communicate()
    assert sorted(calls(log)) == list(range(12))
    assert mine + int(out) >= 12
    assert mine > 0 < int(out)


def test_jobs_come_after_others(tmp_path: Path) -> None:
    first, second, third = (job("wrong", n) for n in range(3))
    jobs = [
        Job(first.name, first.function, first.parameters, after=second.name),
        Job(third.name, third.function, third.parameters, after=first.name),
        second,  # which fails
    ]
    with open_workers() as workers:
        found = [o.job.name for o in Campaign(Store(tmp_path), workers).run(jobs)]
    assert found == ["wrong 1", "wrong 0", "wrong 2"]
    with open_workers() as workers, pytest.raises(ValueError, match="'nobody', which is no job"):
        list(Campaign(Store(tmp_path), workers).run([Job("a", "b:c", {}, after="nobody")]))


def test_endless_jobs_are_read_as_workers_are_free(tmp_path: Path) -> None:
    read: list[int] = []

    def endless() -> Iterator[Job]:
        for number in count():
            read.append(number)
            yield job("square", number)

    with open_workers() as workers:
        outcomes = Campaign(Store(tmp_path), workers).run(endless())
        assert [next(outcomes).job.name for _ in range(3)] == ["square 0", "square 1", "square 2"]
        outcomes.close()
    assert len(read) <= 4


def test_progress(tmp_path: Path) -> None:
    seen: list[Progress] = []
    steps: list[str] = []
    with open_workers() as workers:
        campaign = Campaign(
            Store(tmp_path), workers, seen.append, lambda what, done, of: steps.append(what)
        )
        list(campaign.run([job("slow", n, seconds=0.01) for n in range(3)]))
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[0] == Progress(0, 0, 3, ("slow 0",), None)
    left = [p.seconds_left for p in seen if p.seconds_left is not None]
    assert 0.01 < left[0] < 10
    assert left[-1] == 0
    assert steps == ["squaring"] * 3


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 100)), min_size=1), st.integers(1, 8))
def test_estimates(times: list[tuple[bool, float]], slots: int) -> None:
    """Exact where jobs of a function take equally long."""
    jobs = [job("square" if kind else "slow", k) for k, (kind, _) in enumerate(times)]
    cost = {"campaigns.work:square": 2.0, "campaigns.work:slow": 8.0}
    estimate = Estimate([*jobs, *jobs])
    assert estimate.left(slots) is None
    for one in jobs:
        estimate.finished(one, cost[one.function])
    left = estimate.left(slots)
    assert left == pytest.approx(sum(cost[j.function] for j in jobs) / min(slots, len(jobs)))


NAMES = st.sampled_from(("a", "b", "\u00e4"))
VALUES = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-1, 1) | NAMES
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=4
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=2)


@given(OBJECTS, OBJECTS)
def test_keys(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Equal for equal parameters, whatever their order, settings and names; else different."""

    def key(parameters: dict[str, Any], **more: Any) -> str:
        return Job(more.pop("name", "a"), "m:f", parameters, **more).key

    same = dict(reversed(first.items()))
    assert key(first) == key(same, name="b", settings={"x": 1}, columns={"y": 2}, after="c")
    different = json.dumps(first, sort_keys=True) != json.dumps(second, sort_keys=True)
    assert (key(first) != key(second)) == different
    assert key(first) != Job("a", "m:g", first).key


def test_keys_depend_on_sources_and_releases(tmp_path: Path) -> None:
    plain = Job("a", "m:f", {})
    sources = Job("a", "m:f", {}, code=("sigbit.campaigns",))
    released = Job("a", "m:f", {}, releases=("numpy",))
    assert len({plain.key, sources.key, released.key}) == 3
    package = tmp_path / "fresh_package"
    package.mkdir()
    (package / "__init__.py").touch()
    digests = set()
    sys.path.insert(0, str(tmp_path))
    try:
        for text in ("a = 1\n", "a = 2\n"):
            (package / "module.py").write_text(text)
            source_digest.cache_clear()
            digests.add(source_digest("fresh_package"))
    finally:
        sys.path.remove(str(tmp_path))
    assert len(digests) == 2
    with pytest.raises(ModuleNotFoundError, match="'no_such_package'"):
        source_digest("no_such_package")


def test_a_worker_with_other_sources_is_refused(tmp_path: Path) -> None:
    answer = attempt(job("square", 1), "another key", tmp_path)
    assert answer is not None
    assert "other sources" in answer.text
    assert Store(tmp_path).load("another key") is None


def test_values_that_are_not_json_are_refused() -> None:
    with pytest.raises(TypeError, match="Path is not a JSON value"):
        Job("a", "m:f", {"path": Path("x")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        Job("a", "m:f", {"x": float("nan")})
    with pytest.raises(ValueError, match=r"package\.module:name"):
        Job("a", "m.f", {})
    assert as_json({"a": (1, 2)}) == {"a": [1, 2]}


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema_version": 0}', '{"schema_version": 1, "record": {"rows": []}}']
)
def test_results_that_cannot_be_read_are_computed_again(text: str, tmp_path: Path) -> None:
    one = job("square", 2)
    run([one], tmp_path)
    (tmp_path / f"{one.key}.json").write_text(text)
    (outcome,) = run([one], tmp_path)
    assert outcome.fresh
    assert timeless(outcome.rows) == work.square(2, lambda *_: None)


def test_leftovers_of_killed_workers_are_removed(tmp_path: Path) -> None:
    one = job("square", 2)
    leftover = tmp_path / f".{one.key}.json.abc.tmp"
    leftover.touch()
    run([one], tmp_path)
    assert not leftover.exists()


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give one of the two"), open_workers(2, "tcp://x:1"):
        pass
    with pytest.raises(UserError, match="at least 1, not 0"), open_workers(0):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="name a folder"):
        Store(tmp_path / "file")
