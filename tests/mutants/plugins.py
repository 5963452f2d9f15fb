"""What runs in the process of the tests: their choice, their limits, and the record of lines."""

import json
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from mutants.recorder import Recorder

START = 20.0
"""Seconds of processor time to import and collect."""
QUICK = 10.0
"""Seconds of processor time, with a record, beyond which a test is not of the tier."""


class Runner:
    """Plugin of pytest.

    Runs ``tests`` in their order, each limited to seconds of processor time; without tests, all
    that are collected, and records the ``lines`` of files that each of them executes. The file
    ``report`` names the test that runs, or that failed; after a record, it is the record.
    """

    def __init__(
        self, folder: Path, tests: list[str], limits: dict[str, float], lines: list[str]
    ) -> None:
        self._report = folder / "report"
        self._order = {name: number for number, name in enumerate(tests)}
        self._limits = limits
        self._recorder = Recorder([str(folder / name) for name in lines]) if lines else None
        self._folder = folder
        self._seconds: dict[str, float] = {}
        if self._recorder:
            self._recorder.start()
        else:
            self._limit(START)

    def _limit(self, seconds: float) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))

    def pytest_sessionstart(self) -> None:
        """Random cases repeat, and failing ones are not made small."""
        plain = settings.get_profile("full")
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", plain, derandomize=True, database=None, phases=phases)
        settings.load_profile("mutants")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """The chosen tests in their order."""
        if self._order:
            chosen = [item for item in items if item.nodeid in self._order]
            items[:] = sorted(chosen, key=lambda item: self._order[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Limit the test, say that it runs, record it."""
        if self._recorder is None:
            self._limit(self._limits[item.nodeid])
            self._say(item.nodeid, "runs")
            return (yield)
        begin = time.process_time()
        self._recorder.test(item.nodeid, getattr(item, "fixturenames", ()))
        signal.signal(signal.SIGPROF, lambda *_: pytest.skip("too slow for the tier"))
        signal.setitimer(signal.ITIMER_PROF, QUICK)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            seconds = time.process_time() - begin
            if seconds < QUICK:
                self._seconds[item.nodeid] = seconds

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Iterator[object]:
        """What a fixture of several tests does, all of them do."""
        if self._recorder is None or fixturedef.scope == "function":
            return (yield)
        with self._recorder.shared(fixturedef.argname):
            return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Say which test failed."""
        if report.failed:
            self._say(report.nodeid, "failed")

    def pytest_sessionfinish(self) -> None:
        """Write the record."""
        if self._recorder:
            self._recorder.stop()
            document = self._recorder.document(self._folder, self._seconds)
            self._report.write_text(json.dumps(document))

    def _say(self, test: str, state: str) -> None:
        if self._recorder is None:
            self._report.write_text(json.dumps({"test": test, "state": state}))
