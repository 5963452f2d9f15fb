"""Measurement of wall time and processor time."""

import resource
import time


class Stopwatch:
    """Wall time and processor time since construction."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    def read(self) -> dict[str, float]:
        """Return ``seconds``, and the ``cpu_seconds`` of this process and the processes it waited
        for."""
        return {
            "seconds": time.perf_counter() - self._wall,
            "cpu_seconds": _cpu_seconds() - self._cpu,
        }


def _cpu_seconds() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)
