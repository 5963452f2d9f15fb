"""Fixtures of every test: seeded randomness and the folder of real data sets.

Environment:

``SIGBIT_SEED``: integer mixed into every test's seed (default 0), to try other random cases.
``SIGBIT_DATA``: folder of real data sets (default ``../shared/data`` beside the checkout).
``CI``: ``true`` makes an absent data set a failure instead of a skip.
"""

import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # xdist's workers are the threads

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# A loaded machine is slow, not wrong: nothing is measured by the clock.
settings.register_profile(
    "no clock", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("no clock")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--hours``: how long the campaign of random networks runs; 0 is its short form.
    ``--hostile``: damaged and crafted files of every kind."""
    parser.addoption(
        "--hours", type=float, default=0.0, help="draw random networks (tests/e2e) for this long"
    )
    parser.addoption(
        "--hostile", type=int, default=4, help="open so many damaged files of every kind"
    )


@pytest.fixture
def hours(request: pytest.FixtureRequest) -> float:
    """How long the campaign of random networks runs; 0: the short form."""
    return float(request.config.getoption("--hours"))


def pytest_report_header() -> str:
    """Name the seed, so that a failure can be repeated."""
    return f"SIGBIT_SEED={os.environ.get('SIGBIT_SEED', '0')}"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A 32-bit seed that depends on the test's name and SIGBIT_SEED only, not on test order."""
    key = f"{os.environ.get('SIGBIT_SEED', '0')}:{request.node.nodeid}"
    return zlib.crc32(key.encode())


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A NumPy generator seeded by `seed`; also seeds torch where the test module imported it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    return np.random.default_rng(seed)


def _absent(what: str) -> None:
    message = f"{what}: set SIGBIT_DATA to the folder of data sets"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data sets; skips the test (fails it when CI=true) where there is none."""
    folder = Path(os.environ.get("SIGBIT_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        _absent(f"no folder {folder}")
    return folder


@pytest.fixture
def data_path(data_dir: Path) -> Callable[[str], Path]:
    """``data_path("mnist/x.gz")``: that file or folder in `data_dir`, absence as in `data_dir`."""

    def find(name: str) -> Path:
        path = data_dir / name
        if not path.exists():
            _absent(f"no {name!r} in {data_dir}")
        return path

    return find
