"""Planted faults: each is one edit of the gateware, and the tests named with it must fail.

The tests run in a session of pytest inside this one, with the seeds that they always have. Without
a fault they pass, as ``tests/hw`` shows; here one of every module does, to show that the session
inside this one does no harm. Every run plants one fault in every module of the gateware.
"""

import gc
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mutation.bus_faults import BUS_FAULTS
from mutation.compute_faults import COMPUTE_FAULTS
from mutation.control_faults import CONTROL_FAULTS
from mutation.drain_faults import DRAIN_FAULTS
from mutation.memory_faults import MEMORY_FAULTS
from sigbit_sim.verification.mutation import planted

ROOT = Path(__file__).resolve().parents[2]
FAULTS = [*COMPUTE_FAULTS, *MEMORY_FAULTS, *BUS_FAULTS, *CONTROL_FAULTS, *DRAIN_FAULTS]
FIRST = {module: name for module, name, *_ in reversed(FAULTS)}
"""Faults of every run."""


@dataclass
class Outcome:
    """Plugin that keeps what the tests of a session ended with."""

    passed: int = 0
    failures: list[BaseException] = field(default_factory=list)

    def pytest_runtest_makereport(self, call: pytest.CallInfo) -> None:
        if call.when == "call":
            if call.excinfo is None:
                self.passed += 1
            else:
                self.failures.append(call.excinfo.value)


def outcome_of(test: str) -> Outcome:
    """Runs ``{module}::{test}`` of ``tests/hw``."""
    module, name = test.split("::")
    path = ROOT / "tests" / "hw" / f"test_{module}.py"
    outcome = Outcome()
    status = pytest.main(
        [
            f"{path}::{name}",
            f"--rootdir={ROOT}",
            f"--config-file={ROOT / 'pyproject.toml'}",
            "-q",
            "--tb=no",
            "--capture=no",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:faulthandler",
            "-p",
            "no:unraisableexception",
            "-p",
            "no:xdist",
        ],
        plugins=[outcome],
    )
    gc.collect()  # what a failing test abandoned, simulated processes above all, ends here
    assert status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), f"no test {test}"
    return outcome


ONE_OF_A_MODULE = {test.split("::")[0]: test for *_, test in FAULTS}


@pytest.mark.parametrize(
    "test",
    [
        pytest.param(test, marks=[] if number == 0 else pytest.mark.long)
        for number, test in enumerate(ONE_OF_A_MODULE.values())
    ],
)
def test_without_a_fault(test: str) -> None:
    outcome = outcome_of(test)
    assert outcome.failures == []
    assert outcome.passed == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("module", "old", "new", "test"),
    [
        pytest.param(
            module,
            old,
            new,
            test,
            id=f"{module}-{name}",
            marks=[] if name == FIRST[module] else pytest.mark.long,
        )
        for module, name, old, new, test in FAULTS
    ],
)
def test_a_fault_is_found(module: str, old: str, new: str, test: str) -> None:
    with planted(f"sigbit_hw.gateware.{module}", old, new):
        outcome = outcome_of(test)
    assert outcome.passed == 0, f"{test} does not notice"
    assert [type(failure) for failure in outcome.failures] == [AssertionError]
