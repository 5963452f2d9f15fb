"""Random networks over all operations: integer model, interpreter and RTL give the same codes, and
the cycle model the RTL's cycles. A try is a network; counts are bins of the functional plan."""

from collections.abc import Iterator
from itertools import count

from e2e.coverage import BINS, Coverage
from e2e.fuzz import CAMPAIGN, CODE, RELEASES, Devices, draw_networks
from sigbit.campaigns import Job, Row, Tell
from verify.part import Tally, job

PART = "networks"
BATCH = 20
"""Networks of a job."""


def jobs(first: int) -> Iterator[Job]:
    """:data:`BATCH` networks for every accelerator, then again with the next seed."""
    for seed in count(first):
        for name in CAMPAIGN:
            parameters = {"which": name, "seed": seed, "examples": BATCH}
            function = f"{__name__}:networks"
            yield job(PART, name, function, parameters, seed=seed, code=CODE, releases=RELEASES)


def networks(which: str, seed: int, examples: int, tell: Tell) -> list[Row]:
    """Draw ``examples`` networks; the smallest one that fails is told by the error."""
    tell(f"random networks on {which}", 0, 1)
    tally, coverage = Tally(PART, which, seed), Coverage()
    config = CAMPAIGN[which]
    draw_networks(config, coverage, examples, seed, Devices(config, seed))
    tally.fine("networks compared", coverage.networks)
    tally.reached("networks refused as documented", coverage.refused)
    tally.reached("codes compared", coverage.codes)
    tally.reached("networks with exact cycles", coverage.exact_cycles)
    return tally.rows(bins={name: coverage.counts[name] for name in BINS})
