"""Keys of results: whatever a job's function imports, and so what its rows depend on, is part of
them."""

from functools import cache
from itertools import count

import grimp
import pytest

from sigbit.campaigns import Job
from sigbit.flows.campaigns.nets import Memories, net_jobs
from sigbit.flows.campaigns.number_systems import FABRICS, number_system_jobs
from sigbit.flows.campaigns.quantization import Choice, quantization_job_list, select
from sigbit.flows.campaigns.random_programs import fuzz_jobs
from sigbit.flows.devices import DeviceName
from sigbit_hw.arch.config import PRESETS

PACKAGES = ("sigbit", "sigbit_hw", "sigbit_sim", "sigbit_synthesis", "sigbit_tools")
BESIDE = (
    "sigbit.campaigns", "sigbit.errors", "sigbit.flows.campaigns.code",
    "sigbit.flows.campaigns.plugged", "sigbit.flows.campaigns.running", "sigbit.flows.result",
    "sigbit.plugins", "sigbit.results.files",
)  # fmt: skip
"""What runs campaigns and keeps their rows, and changes none of them; keys have the contents of
plugins besides."""


def all_jobs() -> dict[str, Job]:
    """A job for each function."""
    settings = {"data": "d", "work": "w"}
    choice = Choice()
    jobs = [
        *net_jobs(None, None, 2, Memories(), None),
        *number_system_jobs(None, FABRICS, None),
        *quantization_job_list(choice, select(choice), set(), settings),
        next(fuzz_jobs({"nano": PRESETS["nano"]}, count(), 2, DeviceName.RTL)),
    ]
    return {job.function: job for job in jobs}


JOBS = all_jobs()


@cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES)


def is_in(module: str, packages: tuple[str, ...]) -> bool:
    """Whether ``module`` is one of ``packages`` or in it, or merely holds one of them."""
    return any(
        module == package or module.startswith(f"{package}.") or package.startswith(f"{module}.")
        for package in packages
    )


@pytest.mark.parametrize("function", JOBS, ids=lambda name: name.rsplit(".", 1)[-1])
def test_what_a_job_imports_is_in_its_key(function: str) -> None:
    job = JOBS[function]
    module = function.partition(":")[0]
    needed = {module, *imports().find_upstream_modules(module)}
    assert len(needed) > 50
    absent = {name for name in needed if not is_in(name, (*job.code, *BESIDE))}
    if function.endswith(":trained"):
        assert not job.code  # the configuration's digest names the folder of the run
    else:
        assert not absent
        assert {"numpy"} <= set(job.releases)


def test_every_function_is_known() -> None:
    assert {name.rpartition(":")[2] for name in JOBS} == {
        "simulated", "modelled", "measured", "trained", "rated", "rounded", "fuzz",
    }  # fmt: skip
