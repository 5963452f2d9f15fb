"""Unknown values: registers and memories that begin with random values, and X in the Verilog that
becomes a random constant, change nothing that can be seen.

A try is a random Program, run as the first one after a reset: its codes, layer by layer, and its
counters are those of the usual model. A second kind of try is a register that is not reset, which
must be listed with a reason.
"""

from collections.abc import Iterator
from itertools import count

import numpy as np

from sigbit.campaigns import Job, Row, Tell
from sigbit.runtime import RunResult, compare
from sigbit_hw.arch.config import ArchConfig
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.native.build import Purpose
from verify.configs import CONFIGS
from verify.no_reset import names_without_reset, unexplained
from verify.part import Tally, cause, job

PART = "unknown values"
TRIES = 50
"""Programs of a job."""
NAMES = ("nano", "micro")


def jobs(first: int) -> Iterator[Job]:
    """Registers, then both accelerators with each seed."""
    for name in CONFIGS:
        yield job(
            PART,
            f"registers of {name}",
            f"{__name__}:registers",
            {"which": name},
            code=("verify.no_reset",),
            releases=("amaranth",),
        )
    for seed in count(first):
        for name in NAMES:
            parameters = {"which": name, "seed": seed, "tries": TRIES}
            yield job(PART, name, f"{__name__}:starts", parameters, seed=seed)


def registers(which: str, tell: Tell) -> list[Row]:
    """Registers of an accelerator."""
    tell(f"registers of {which}", 0, 1)
    tally = Tally(PART, f"registers of {which}")
    found = names_without_reset(CONFIGS[which])
    missing = unexplained(found)
    for text in missing:
        tally.failed("no reset, and no reason", text)
    with_reset = found.pop(("", ""))
    tally.fine("reset", with_reset)
    tally.fine("not reset, with a reason", found.total() - len(missing))
    return tally.rows()


def starts(which: str, seed: int, tries: int, tell: Tell) -> list[Row]:
    """Run ``tries`` Programs, each on an accelerator with random initial values."""
    tally, rng = Tally(PART, which, seed), np.random.default_rng(seed)
    for number in range(tries):
        tell(f"random initial values of {which}", number, tries)
        try:
            start(CONFIGS[which], rng)
        except Exception as error:
            tally.failed(cause(error), f"Program {number}")
        else:
            tally.fine("equal")
    return tally.rows()


def start(config: ArchConfig, rng: np.random.Generator) -> None:
    """Compare a random Program after a reset with what the usual model does; raises
    ``AssertionError``."""
    program = random_program(config, rng)
    inputs = random_inputs(program, rng)
    seed, stalls = int(rng.integers(1 << 31)), float(rng.choice([0.0, 0.2]))
    plain, random = (
        RtlDevice(config, memory=MemoryTiming(15), stalls=stalls, seed=seed, purpose=purpose).run(
            program, inputs, layers=True
        )
        for purpose in (Purpose.RUN, Purpose.UNKNOWN)
    )
    assert not compare(_codes(plain), _codes(random)), "other codes"
    assert plain.counters == random.counters, "other counters"
    assert plain.timeline == random.timeline, "other starts or ends of instructions"


def _codes(result: RunResult) -> dict[str, np.ndarray]:
    return {**result.layers, **result.outputs}
