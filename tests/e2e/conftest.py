"""Long campaigns of the fuzzers."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile

import pytest

from sigbit.campaigns import Campaign, Job, Row, Store, open_workers
from sigbit_tools.toolchain import cache_dir


@pytest.fixture
def for_hours(request: pytest.FixtureRequest) -> Callable[[Iterable[Job]], Iterator[Row]]:
    """``for_hours(jobs)`` does as many of ``jobs`` as --hours allow, on the workers of --jobs or
    --scheduler, and yields their rows; at the end it fails if any of them did. Without --hours it
    skips the test."""
    option = request.config.getoption
    hours: float = option("--hours")
    if not hours:
        pytest.skip("the long form needs --hours")

    def run(jobs: Iterable[Job]) -> Iterator[Row]:
        end = time.monotonic() + 3600 * hours
        failures: list[str] = []
        with open_workers(option("--jobs"), option("--scheduler")) as workers:
            campaign = Campaign(Store(cache_dir() / "fuzz"), workers)
            for outcome in campaign.run(takewhile(lambda _: time.monotonic() < end, jobs)):
                if outcome.failure is None:
                    yield from outcome.rows
                else:
                    failures.append(f"{outcome.job.name}: {outcome.failure.text}")
                    print(failures[-1])
        if failures:
            pytest.fail("\n\n".join(failures), pytrace=False)

    return run
