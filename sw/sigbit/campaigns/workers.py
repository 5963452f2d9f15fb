"""Executors of jobs: this process, processes of this machine, or a Dask cluster."""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from sigbit.errors import UserError

PATIENCE = 30
"""Timeout in seconds for a cluster to answer, and to have a worker."""
FRESH = 5
"""Seconds for which the number of a cluster's workers is cached."""


class Workers:
    """An executor that accepts jobs.

    Parameters
    ----------
    executor : Executor
        Any executor that calls functions with arguments that can be pickled.
    slots : int
        Number of calls that it runs at once.
    """

    in_process = False
    """True if a job runs while it is submitted, in the submitting process."""

    def __init__(self, executor: Executor, slots: int) -> None:
        self._executor, self._slots = executor, slots

    @property
    def slots(self) -> int:
        """Number of jobs that can run at once at present."""
        return self._slots

    @property
    def window(self) -> int:
        """Number of jobs that may be submitted and unfinished."""
        return self._slots

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Submit a call."""
        return self._executor.submit(call, *arguments)

    def renew(self) -> None:
        """Replace the executor after a process has died and made it unusable."""
        raise NotImplementedError(f"{type(self._executor).__name__} cannot be replaced")

    def close(self) -> None:
        """Cancel calls that have not started, and wait for the others."""
        self._executor.shutdown(wait=True, cancel_futures=True)


class _Immediately(Executor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class InProcess(Workers):
    """This process, one job after another."""

    in_process = True

    def __init__(self) -> None:
        super().__init__(_Immediately(), 1)


class LocalProcesses(Workers):
    """``jobs`` processes of this machine, which share its cores evenly."""

    def __init__(self, jobs: int) -> None:
        super().__init__(_pool(jobs), jobs)

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Submit a call, to new processes if one of the old ones has died since."""
        try:
            return super().submit(call, *arguments)
        except BrokenExecutor:
            self.renew()
            return super().submit(call, *arguments)

    def renew(self) -> None:
        """Start new processes."""
        self.close()
        self._executor = _pool(self._slots)


def _pool(jobs: int) -> ProcessPoolExecutor:
    threads = max(1, (os.cpu_count() or 1) // jobs)
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (threads,))


def _begin(threads: int) -> None:
    """Initialize a new process: limit the threads of libraries that otherwise use all cores, and
    end the process when its parent ends, even if that is killed, so that a restarted campaign has
    its jobs to itself."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_for_it() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_it, daemon=True).start()


class Cluster(Workers):
    """The workers of a Dask scheduler; twice as many jobs are submitted as there are workers, so
    that none waits for its next one."""

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise UserError(
                "--scheduler needs Dask, which is not installed: pip install 'sigbit[cluster]', or "
                "leave out --scheduler to work on this machine"
            ) from error
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # reported below
        self._address, self._until = address, 0.0
        try:
            self._client = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot reach a Dask scheduler at {address!r}: {error}; start one with `dask "
                "scheduler` and give the address that it prints, such as tcp://10.0.0.1:8786"
            ) from error
        try:
            self._await_workers()
        except BaseException:
            self._client.close()
            raise
        super().__init__(self._client.get_executor(pure=False), 1)

    def _await_workers(self) -> None:
        how = f"`dask worker {self._address} --nthreads 1 --nworkers auto`"
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise UserError(
                f"the Dask scheduler at {self._address} has no workers: start some with {how} on "
                "every machine"
            ) from error
        if wide := [name for name, threads in self._client.nthreads().items() if threads != 1]:
            raise UserError(
                f"Dask workers must do one job at a time, and {', '.join(sorted(wide))} have "
                f"several threads: start them with {how}"
            )

    @property
    def slots(self) -> int:
        """Present number of workers; at least 1, since more may join."""
        now = time.monotonic()
        if now >= self._until:
            self._slots, self._until = max(1, len(self._client.nthreads())), now + FRESH
        return self._slots

    @property
    def window(self) -> int:
        """Number of jobs that may be submitted and unfinished."""
        return 2 * self.slots

    def close(self) -> None:
        """Cancel jobs that have not started; workers finish and store the ones they are running."""
        self._executor.shutdown(wait=False)
        self._client.close()


@contextmanager
def open_workers(jobs: int | None = None, scheduler: str | None = None) -> Iterator[Workers]:
    """``jobs`` processes of this machine (this process alone for 1, the default), or the cluster of
    a Dask ``scheduler``.

    Raises :class:`~sigbit.errors.UserError` if both are given, or if the cluster cannot be used.
    """
    if scheduler is not None and jobs is not None:
        raise UserError(
            "--jobs counts processes of this machine, and with --scheduler the cluster's workers "
            "do the jobs: give one of the two"
        )
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs must be at least 1, not {jobs}")
    workers: Workers
    if scheduler is not None:
        workers = Cluster(scheduler)
    else:
        workers = InProcess() if jobs in (None, 1) else LocalProcesses(jobs or 1)
    try:
        yield workers
    finally:
        workers.close()
