"""Estimate of a campaign's remaining time."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from sigbit.campaigns.job import Job


class Estimate:
    """The remaining time, from the mean time of finished jobs of the same function, or of all jobs
    for a function without finished jobs.

    Parameters
    ----------
    jobs : iterable of Job
        All jobs of the campaign.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._left = Counter(job.function for job in jobs)
        self._spent: dict[str, list[float]] = defaultdict(list)

    def finished(self, job: Job, seconds: float | None) -> None:
        """Count a job as finished; ``seconds`` is None for one that was done before."""
        self._left[job.function] -= 1
        if seconds is not None:
            self._spent[job.function].append(seconds)

    def left(self, slots: int) -> float | None:
        """Remaining seconds with ``slots`` jobs at a time; None before the first job is
        finished."""
        every = [seconds for found in self._spent.values() for seconds in found]
        if not every:
            return None
        total = 0.0
        for function, count in self._left.items():
            found = self._spent.get(function) or every
            total += max(0, count) * sum(found) / len(found)
        return total / min(slots, max(1, self._left.total()))
