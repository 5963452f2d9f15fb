"""Random networks over all operations: integer model, interpreter and RTL give the same codes, and
the cycle model the same cycles as the RTL.

The short form is part of the test suite. ``pytest tests/e2e --hours 8 -n 0 -s`` draws for eight
hours, prints what was covered, and fails if a corner was never reached; ``--jobs N`` takes several
processes, ``--scheduler ADDRESS`` a Dask cluster whose workers have this folder's parent on their
PYTHONPATH. What was drawn before from the same sources counts, and is not drawn again. A failure
prints the smallest network found that fails, and a line ``@reproduce_failure(...)``: put above
``draw`` in :mod:`e2e.fuzz`, it makes that network the only example.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import Phase

from e2e.coverage import Coverage
from e2e.fuzz import CONFIGS, Devices, draw_networks, network_jobs
from e2e.graphs import KINDS
from sigbit.campaigns import Job, Row
from sigbit.errors import VerifyError
from sigbit_hw.gateware.emit import verilog
from sigbit_sim.verification.mutation import planted

EXAMPLES = 10
"""Networks of a configuration in the short form."""
EVERY_RUN = ("nano", "small memories", "several drained pixels")
"""Configurations of every run."""
MOST_REFUSED = 0.25
"""Share of networks that may be refused."""


@pytest.mark.sim
@pytest.mark.parametrize(
    "which", [w if w in EVERY_RUN else pytest.param(w, marks=pytest.mark.long) for w in CONFIGS]
)
def test_random_networks(which: str, seed: int) -> None:
    coverage = Coverage()
    draw_networks(CONFIGS[which], coverage, EXAMPLES, seed, Devices(CONFIGS[which], seed))
    assert coverage.networks >= EXAMPLES // 2
    assert coverage.codes > 0


@pytest.mark.sim
def test_every_corner_is_reached(
    seed: int, for_hours: Callable[[Iterable[Job]], Iterator[Row]]
) -> None:
    """The long form: all configurations in turns."""
    coverage = Coverage()
    for row in for_hours(network_jobs(seed)):
        coverage.merge(row)
        print(f"\n{coverage.table()}")
    assert coverage.refused <= MOST_REFUSED * (coverage.refused + coverage.networks)
    assert not coverage.missing, coverage.missing


@pytest.mark.sim
def test_jobs_cover_what_is_drawn_here(seed: int) -> None:
    """A job's row says what its networks have reached, and is the same each time."""
    job = next(network_jobs(seed))
    short = replace(job, parameters={**job.parameters, "examples": EXAMPLES})
    (row,) = rows = short.run(lambda what, done, total: None)
    assert rows == short.run(lambda what, done, total: None)
    drawn, merged = Coverage(), Coverage()
    config = CONFIGS[row["accelerator"]]
    draw_networks(config, drawn, EXAMPLES, seed, Devices(config, seed))
    merged.merge(row)
    assert merged.table() == drawn.table()


FAULTS = [
    ("legalize.upsample", "-zero * (", "zero * (", AssertionError, ("conv", "transposed")),
    ("stage.moves", "int(self._used[earlier].max(initial=-1))", "-1", VerifyError, KINDS),
]
"""Module of the compiler, edit, who notices, and in which operations: the comparison of codes, or a
verifier before (a LOAD or FILL comes before the last reader of what it overwrites)."""


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize(("module", "old", "new", "noticed", "kinds"), FAULTS)
def test_a_fault_of_the_compiler_is_found(
    module: str,
    old: str,
    new: str,
    noticed: type[Exception],
    kinds: tuple[str, ...],
    seed: int,
) -> None:
    """It is told in a way that can be repeated."""
    config = CONFIGS["small memories"]
    with planted(f"sigbit.compiler.{module}", old, new), pytest.raises(noticed) as error:
        draw_networks(config, Coverage(), 300, seed, None, (Phase.generate,), kinds)
    assert "@reproduce_failure(" in "\n".join(error.value.__notes__)


@pytest.mark.sim
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_a_fault_of_the_gateware_is_found(seed: int) -> None:
    config = CONFIGS["nano"]
    with planted(
        "sigbit_hw.gateware.compute.array",
        "acc << self.radix_bits, acc",
        "acc << (self.radix_bits - 1), acc",
    ):
        devices = Devices(config, seed, verilog(config, traced=True))
    with pytest.raises(AssertionError, match=r"^rtl: "):
        draw_networks(config, Coverage(), 60, seed, devices, (Phase.generate,))
