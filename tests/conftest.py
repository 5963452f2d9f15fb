"""Fixtures of every test: seeded randomness and the folder of real data sets.

Environment:

``SIGBIT_SEED``: integer mixed into every test's seed (default 0), to try other random cases.
``SIGBIT_DATA``: folder of real data sets (default ``../shared/data`` beside the checkout).
``CI``: ``true`` makes an absent data set a failure instead of a skip.

A test that starts a tool (Yosys, nextpnr, Verilator, a compiler), or runs a Verilator model from
the cache, says so with the marker ``sim`` or ``synth``: without one it fails in ``make quick``,
which runs those that have none.
"""

import gc
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # xdist's workers are the threads

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

gc.set_threshold(
    50_000, 20, 50
)  # gateware is many objects, and few of them die: a sixth of the time

# A loaded machine is slow, not wrong: nothing is measured by the clock.
_NO_CLOCK: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("every run", max_examples=25, **_NO_CLOCK)
settings.register_profile("full", max_examples=100, **_NO_CLOCK)
settings.load_profile("every run")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--hours``: how long the fuzzers in tests/e2e run; 0 is their short form. ``--jobs`` and
    ``--scheduler``: where. ``--hostile``: damaged and crafted files of every kind."""
    parser.addoption(
        "--no-tools", action="store_true", help="fail a test that starts a tool without a marker"
    )
    parser.addoption(
        "--hours", type=float, default=0.0, help="run the fuzzers of tests/e2e for this long"
    )
    parser.addoption(
        "--jobs", type=int, default=None, help="processes that the fuzzers take for --hours"
    )
    parser.addoption(
        "--scheduler", default=None, help="Dask cluster that the fuzzers take for --hours"
    )
    parser.addoption(
        "--hostile", type=int, default=4, help="open so many damaged files of every kind"
    )


_TOOLS = ("c++", "g++", "make", "nextpnr", "verilator", "yosys", "yowasp-", "z3")
_MARKERS = ("sim", "synth")
_QUICK = "libsigbit_driver.so"
"""A library of the cache that any test may load: it is compiled in a second."""
_unmarked = ""
"""The running test, if it may not start a tool."""


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: fail the unmarked test that starts a tool or loads a library of the cache."""
    if not _unmarked or event not in ("subprocess.Popen", "ctypes.dlopen"):
        return
    if event == "subprocess.Popen":
        words = (arguments[0], *(arguments[1] or ())[:3])
        names = [Path(os.fsdecode(word)).name for word in words if word]
        found = next((name for name in names if name.startswith(_TOOLS)), "")
    else:
        name = str(arguments[0])
        found = name if "sigbit" in name and not name.endswith(_QUICK) else ""
    if found:
        pytest.fail(f"{_unmarked} starts {found}: mark it, {' or '.join(_MARKERS)}")


def pytest_configure(config: pytest.Config) -> None:
    """Listen for tools only if they are forbidden: every creation of a signal is an event, too."""
    if config.getoption("--no-tools"):
        sys.addaudithook(_guard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Tell the audit hook which test runs."""
    global _unmarked
    marked = not item.config.getoption("--no-tools") or any(
        item.get_closest_marker(name) for name in _MARKERS
    )
    _unmarked = "" if marked else item.nodeid
    try:
        return (yield)
    finally:
        _unmarked = ""


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


_SETTING = "set SIGBIT_DATA to the folder of data sets"


def _absent(message: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data sets; skips the test (fails it when CI=true) where there is none."""
    folder = Path(os.environ.get("SIGBIT_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        _absent(f"no folder {folder}: {_SETTING}")
    return folder


@pytest.fixture
def data_path(data_dir: Path) -> Callable[[str], Path]:
    """``data_path("mnist/x.gz")``: that file or folder in `data_dir`, absence as in `data_dir`."""

    def find(name: str) -> Path:
        path = data_dir / name
        if not path.exists():
            _absent(f"no {name!r} in {data_dir}: {_SETTING}")
        return path

    return find


@pytest.fixture
def debian() -> Callable[[str], None]:
    """``debian("dtc")``: needs that command of a package in debian-packages.txt; skips the test
    (fails it when CI=true) where it is not installed."""

    def needed(command: str) -> None:
        if shutil.which(command) is None:
            _absent(f"no {command}: install the packages of debian-packages.txt")

    return needed
