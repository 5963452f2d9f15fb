"""Soft resets at random cycles of random Programs, each followed by an exact run."""

from collections.abc import Iterator
from itertools import count

import numpy as np

from sigbit.campaigns import Job, Row, Tell
from sigbit.runtime import compare, window_of
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from verify.bare import start
from verify.configs import CONFIGS
from verify.part import Tally, cause, job

PART = "soft resets"
TRIES = 50
"""Resets of a job."""


def jobs(first: int) -> Iterator[Job]:
    """Every accelerator, then again with the next seed."""
    for seed in count(first):
        for name in CONFIGS:
            yield job(
                PART,
                name,
                f"{__name__}:resets",
                {"which": name, "seed": seed, "tries": TRIES},
                seed=seed,
                code=("verify.bare",),
            )


def opened(which: str, seed: int) -> RtlDevice:
    """A device with a bus that pauses."""
    return RtlDevice(
        CONFIGS[which],
        memory=MemoryTiming(25),
        stalls=0.15,
        seed=seed,
        watchdog=1000,
        max_cycles=400_000,
    )


def resets(which: str, seed: int, tries: int, tell: Tell) -> list[Row]:
    """``tries`` resets."""
    tally, config = Tally(PART, which, seed), CONFIGS[which]
    rng = np.random.default_rng(seed)
    device = opened(which, seed)
    for number in range(tries):
        tell(f"soft resets of {which}", number, tries)
        program = random_program(config, rng, execs=int(rng.integers(1, 4)))
        inputs = random_inputs(program, rng)
        try:
            tally.fine(interrupted(device, program, inputs, rng))
        except Exception as error:
            tally.failed(cause(error), f"reset {number}")
            device = opened(which, seed)
    return tally.rows()


def interrupted(
    device: RtlDevice, program: Program, inputs: dict[str, np.ndarray], rng: np.random.Generator
) -> str:
    """Reset the accelerator in a random cycle of a run, then run the same Program to its end; say
    in what state the reset met it."""
    expected = Interp(device.config).run(program, inputs).outputs
    first = device.run(program, inputs)
    assert not compare(expected, first.outputs), "wrong before the reset"
    assert first.cycles is not None
    model = device.model
    run = start(device, program, window_of(program, inputs, 0), limit=0)
    done = run.clock(int(rng.integers(1, int(1.1 * first.cycles[0]))))
    assert device.soft_reset(), "the bus did not become idle"
    run.window()
    assert not compare(expected, device.run(program, inputs).outputs), "wrong after the reset"
    assert device.model is model, "the model was replaced"
    assert model.violations == [], model.violations[0]
    return "met when done" if done else "met while running"
