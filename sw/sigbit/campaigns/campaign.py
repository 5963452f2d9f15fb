"""Execution of a campaign's jobs: those without a result, each once, in any order that they
allow."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass

from sigbit.campaigns.estimate import Estimate
from sigbit.campaigns.job import Job, Row, Tell
from sigbit.campaigns.store import Record, Store
from sigbit.campaigns.worker import Answer, Failure, attempt, silent
from sigbit.campaigns.workers import Workers
from sigbit.errors import UserError

PAUSE = 1.0
"""Seconds between two checks of a job that another worker is running."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a job.

    Parameters
    ----------
    job : Job
        The job.
    rows : tuple of Row
        Its rows; a failed job has a single row, with the job's columns and the ``failure``.
    failure : Failure, optional
        Reason of the failure.
    fresh : bool
        True if the job was run now, False if its result was already stored.
    """

    job: Job
    rows: tuple[Row, ...]
    failure: Failure | None = None
    fresh: bool = True


@dataclass(frozen=True)
class Progress:
    """Progress of a campaign.

    Parameters
    ----------
    done, failed : int
        Finished jobs, and those of them that failed.
    total : int, optional
        Total number of jobs; None if it is not known.
    running : tuple of str
        Names of the jobs that workers are running.
    seconds_left : float, optional
        Estimate; None as long as there is none.
    """

    done: int
    failed: int
    total: int | None
    running: tuple[str, ...]
    seconds_left: float | None


class _Queue:
    """Waiting jobs: for their turn, for an earlier job, for another campaign that is running them,
    or, after a worker died while running them, for a trial without other jobs."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._over: set[str] = set()
        self._blocked: dict[str, list[Job]] = {}
        self._ready: deque[Job] = deque()
        self._suspects: deque[Job] = deque()
        self._tried: set[str] = set()
        self._busy: deque[Job] = deque()
        self._look_again = 0.0

    def next(self) -> Job | None:
        """The next job that may start; None if there is none now."""
        for waiting in (self._suspects, self._ready):
            if waiting:
                return waiting.popleft()
        for job in self._jobs:
            if job.after is None or job.after in self._over:
                return job
            self._blocked.setdefault(job.after, []).append(job)
        if self._busy and time.monotonic() >= self._look_again:
            return self._busy.popleft()
        return None

    def occupied(self, job: Job) -> None:
        """Record that another campaign is running ``job``."""
        self._busy.append(job)
        self._look_again = time.monotonic() + PAUSE

    @property
    def pause(self) -> float | None:
        """Seconds until the next check of jobs that others are running; None if there are none."""
        return max(0.0, self._look_again - time.monotonic()) if self._busy else None

    def over(self, job: Job) -> None:
        """Record that ``job`` is done or has failed, and release the jobs that come after it."""
        self._over.add(job.name)
        self._ready.extend(self._blocked.pop(job.name, ()))

    def suspect(self, job: Job) -> bool:
        """Record that a worker died while running ``job``, which will run alone; return False if it
        already did."""
        if job.key in self._tried:
            return False
        self._tried.add(job.key)
        self._suspects.append(job)
        return True

    def alone(self, running: Iterable[Job]) -> bool:
        """True if suspects are to be run, or are running."""
        return bool(self._suspects) or any(job.key in self._tried for job in running)

    def check(self) -> None:
        """Raise an error if jobs come after one that does not exist."""
        for name, jobs in self._blocked.items():
            raise ValueError(f"{jobs[0].name!r} comes after {name!r}, which is no job here")


class Campaign:
    """Jobs, run by ``workers``, with results in ``store``.

    An interrupted campaign continues when it is started again: stored results are not computed
    again. Several campaigns may share a store: none runs a job that another one is running.

    Parameters
    ----------
    store : Store
        Store of the results. Workers on other machines use a folder of the same name: a shared one,
        or one of their own.
    workers : Workers
        Workers that run the jobs.
    watch : callable
        Called with the :class:`Progress` whenever it changes.
    tell : Tell
        Called with the steps within a job, if it runs in this process.
    """

    def __init__(
        self,
        store: Store,
        workers: Workers,
        watch: Callable[[Progress], None] = lambda progress: None,
        tell: Tell = silent,
    ) -> None:
        self._store, self._workers = store, workers
        self._watch, self._tell = watch, tell
        self._running: dict[Future[Answer], Job] = {}
        self._done = self._failed = 0
        self._total: int | None = None
        self._estimate = Estimate(())

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Run ``jobs`` and yield the outcome of each as it finishes; ``jobs`` may be infinite, and
        is read only as far as workers are free."""
        known = jobs if isinstance(jobs, Sequence) else ()
        self._total = len(known) if isinstance(jobs, Sequence) else None
        self._estimate = Estimate(known)
        queue = _Queue(jobs)
        try:
            while True:
                yield from self._launch(queue)
                if not self._running and queue.pause is None:
                    break
                yield from self._land(queue)
        finally:
            for future in self._running:
                future.cancel()
            self._running.clear()
        queue.check()

    def _launch(self, queue: _Queue) -> Iterator[Outcome]:
        """Submit as many jobs as workers can take; those with a result need none."""
        while len(self._running) < self._window(queue):
            job = queue.next()
            if job is None:
                return
            key = job.key
            if record := self._store.load(key):
                yield self._over(queue, job, record, fresh=False)
            elif self._store.claimed(key):
                queue.occupied(job)
            else:
                self._submit(job, key)

    def _window(self, queue: _Queue) -> int:
        return 1 if queue.alone(self._running.values()) else self._workers.window

    def _submit(self, job: Job, key: str) -> None:
        folder = self._store.folder
        if self._workers.in_process:
            self._report(job.name)
            future = self._workers.submit(attempt, job, key, folder, self._tell)
        else:
            future = self._workers.submit(attempt, job, key, folder)
        self._running[future] = job
        self._report()

    def _land(self, queue: _Queue) -> Iterator[Outcome]:
        """Collect finished jobs, after waiting for them."""
        if not self._running:
            time.sleep(queue.pause or 0.0)
            return
        done, _ = wait(self._running, queue.pause, FIRST_COMPLETED)
        dead: list[Job] = []
        for future in done:
            job = self._running.pop(future)
            try:
                answer = future.result()
            except BrokenExecutor:
                dead.append(job)
                continue
            except CancelledError:
                raise UserError(
                    "the cluster has dropped the jobs, and its scheduler may have stopped: start "
                    "the campaign again once it runs; what is finished is kept"
                ) from None
            except Exception as error:  # an error of the executor; errors of a job are answers
                answer = Failure(f"{type(error).__name__}: {error}")
            if answer is None:
                queue.occupied(job)
            else:
                yield self._over(queue, job, answer)
        if dead:
            yield from self._mourn(queue, [*dead, *self._running.values()])

    def _mourn(self, queue: _Queue, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Handle the death of a process while workers had ``jobs``: each gets a trial alone, and
        the one in whose trial a process dies again has failed."""
        self._running.clear()
        self._workers.renew()
        for job in jobs:
            if not queue.suspect(job):
                text = "its process was killed, twice: it may need more memory than there is"
                yield self._over(queue, job, Failure(text))

    def _over(
        self, queue: _Queue, job: Job, answer: Record | Failure, fresh: bool = True
    ) -> Outcome:
        queue.over(job)
        self._done += 1
        if isinstance(answer, Record):
            if fresh and self._store.load(job.key) is None:
                self._store.save(job.key, job, answer)  # done where our folder is not visible
            self._estimate.finished(job, answer.seconds if fresh else None)
            outcome = Outcome(job, answer.rows, fresh=fresh)
        else:
            self._failed += 1
            self._estimate.finished(job, None)
            times = {"seconds": answer.seconds, "cpu_seconds": answer.cpu_seconds}
            outcome = Outcome(job, ({**job.columns, "failure": answer.text, **times},), answer)
        self._report()
        return outcome

    def _report(self, *more: str) -> None:
        running = (*(job.name for job in self._running.values()), *more)
        left = self._estimate.left(self._workers.slots) if self._total is not None else None
        self._watch(Progress(self._done, self._failed, self._total, running, left))
