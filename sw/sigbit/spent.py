"""Time that something takes: by the clock, and of the processor."""

import os
import time


class Spent:
    """Time since this object was made."""

    def __init__(self) -> None:
        self._clock, self._cpu = time.perf_counter(), _cpu()

    def fields(self) -> dict[str, float]:
        """``seconds`` by the clock, and ``cpu_seconds`` of this process, all its threads, and the
        child processes that have ended."""
        return {"seconds": time.perf_counter() - self._clock, "cpu_seconds": _cpu() - self._cpu}


def _cpu() -> float:
    """Seconds of the processor so far."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
