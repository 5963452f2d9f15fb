"""Runs the jobs of a campaign: those without a result, each once, in any order that they allow."""

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
"""Seconds until a job that somebody else is at is looked at again."""


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Parameters
    ----------
    job : Job
        The job.
    rows : tuple of Row
        Its rows; of one that failed a single row, of the job's columns and the
        ``failure``.
    failure : Failure, optional
        Why it failed.
    fresh : bool
        Whether it was done now, and not found done.
    """

    job: Job
    rows: tuple[Row, ...]
    failure: Failure | None = None
    fresh: bool = True


@dataclass(frozen=True)
class Progress:
    """How far a campaign is.

    Parameters
    ----------
    done, failed : int
        Jobs that are over, and those of them that failed.
    total : int, optional
        Jobs in all; None where their number is not known.
    running : tuple of str
        Names of jobs that workers have.
    seconds_left : float, optional
        Estimate; None as long as there is none.
    """

    done: int
    failed: int
    total: int | None
    running: tuple[str, ...]
    seconds_left: float | None


class _Queue:
    """Jobs that wait: for their turn, for a job that comes first, for somebody who is at them, or
    for a trial alone, because a worker died while it had them."""

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
        """The next job that may begin; None if there is none now."""
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
        """Somebody else is at ``job``."""
        self._busy.append(job)
        self._look_again = time.monotonic() + PAUSE

    @property
    def pause(self) -> float | None:
        """Seconds until jobs that others are at are worth another look; None if there are none."""
        return max(0.0, self._look_again - time.monotonic()) if self._busy else None

    def over(self, job: Job) -> None:
        """``job`` is done or has failed: let those go that come after it."""
        self._over.add(job.name)
        self._ready.extend(self._blocked.pop(job.name, ()))

    def suspect(self, job: Job) -> bool:
        """A worker died while it had ``job``: let it run alone; False if it did already."""
        if job.key in self._tried:
            return False
        self._tried.add(job.key)
        self._suspects.append(job)
        return True

    def alone(self, running: Iterable[Job]) -> bool:
        """Whether suspects are to run, or do."""
        return bool(self._suspects) or any(job.key in self._tried for job in running)

    def check(self) -> None:
        """Complain of jobs that come after one that does not exist."""
        for name, jobs in self._blocked.items():
            raise ValueError(f"{jobs[0].name!r} comes after {name!r}, which is no job here")


class Campaign:
    """Jobs, run by ``workers``, with results in ``store``.

    A campaign that was cut off is started again and goes on: results that are there are not
    computed again. Several campaigns may share a store: none does what another one is at.

    Parameters
    ----------
    store : Store
        Where results are kept. Workers on other machines keep them in a folder of the same name: a
        shared one, or one of their own.
    workers : Workers
        Who does the jobs.
    watch : callable
        Called with the :class:`Progress` whenever that has changed.
    tell : Tell
        Called with the steps within a job, where it runs in this process.
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
        """Do ``jobs`` and yield what came of each, as they finish; ``jobs`` may be endless, and is
        read no further than workers are free."""
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
        """Hand over as many jobs as workers can have; those with a result need none."""
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
        """Take what has finished, after waiting for it."""
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
            except Exception as error:  # the executor's: the job's own are answers
                answer = Failure(f"{type(error).__name__}: {error}")
            if answer is None:
                queue.occupied(job)
            else:
                yield self._over(queue, job, answer)
        if dead:
            yield from self._mourn(queue, [*dead, *self._running.values()])

    def _mourn(self, queue: _Queue, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """A process died while workers had ``jobs``: each gets a trial alone, and the one at whose
        trial a process dies again has failed."""
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
                self._store.save(job.key, job, answer)  # done where our folder is not seen
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
