"""Slaves that break AXI: every kind of misbehaviour on every port, at random places of random
Programs.

A try is a run that meets one misbehaviour: it is never done with a wrong output, has a cause, and
the same Program then runs on the same accelerator as if nothing had been.
"""

from collections.abc import Iterator
from itertools import count

import numpy as np

from sigbit.campaigns import Job, Row, Tell
from sigbit.runtime import DeviceError, compare
from sigbit_hw.arch import regs
from sigbit_hw.arch.regs import OFFSET, Cause
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.native.build import Purpose
from sigbit_sim.rtl.native.model import Misbehaviour
from verify.configs import CONFIGS
from verify.part import Tally, cause, job

PART = "slaves"
KINDS = tuple(Misbehaviour)[1:]
TRIES = 25
"""Tries of a job, without those in which there was no occasion."""
AFTER = {
    Misbehaviour.EARLY_RESPONSE: 1,
    Misbehaviour.MISPLACED_RESPONSE: 1,
    Misbehaviour.STRAY_RESPONSE: 400,
    Misbehaviour.STRAY_BEAT: 400,
}
"""Fewer bursts, or cycles, pass before it may come; it comes when there is an occasion."""
NOTHING = "no occasion"


def jobs(first: int) -> Iterator[Job]:
    """Every kind on every port, then again with the next seed."""
    for seed in count(first):
        for name in ("nano", "four ports"):
            for port in range(CONFIGS[name].ports):
                for kind in KINDS:
                    yield job(
                        PART,
                        name,
                        f"{__name__}:misbehaviours",
                        {"which": name, "kind": kind.name, "port": port, "seed": seed},
                        seed=seed,
                    )


def misbehaviours(which: str, kind: str, port: int, seed: int, tell: Tell) -> list[Row]:
    """:data:`TRIES` tries of a kind on a port."""
    tally, wrong = Tally(PART, which, seed), Misbehaviour[kind]
    rng = np.random.default_rng([seed, port, wrong])
    device = opened(which, port, rng)
    tries = 0
    for _ in range(4 * TRIES):
        tell(f"{kind} on port {port} of {which}", tries, TRIES)
        model = device.model
        try:
            outcome = provoke(device, wrong, port, rng)
            assert device.model is model, "the bus did not become idle after a soft reset"
            assert model.violations == [], model.violations[0]
        except Exception as error:
            tally.failed(cause(error), f"{kind} on port {port}")
            device = opened(which, port, rng)
        else:
            if outcome == NOTHING:
                tally.reached(NOTHING)
                continue
            tally.fine(f"{kind}: {outcome}")
        tries += 1
        if tries == TRIES:
            break
    return tally.rows()


def opened(
    which: str, port: int, rng: np.random.Generator, purpose: Purpose = Purpose.RUN
) -> RtlDevice:
    """A device that has run a Program, which sets WATCHDOG, for which a reset waits."""
    config = CONFIGS[which]
    device = RtlDevice(
        config,
        memory=MemoryTiming(20),
        stalls=0.1,
        seed=int(rng.integers(1 << 32)),
        watchdog=1000,
        max_cycles=100_000,
        purpose=purpose,
    )
    program = random_program(config, rng, execs=1)
    device.run(program, random_inputs(program, rng))
    return device


def provoke(device: RtlDevice, kind: Misbehaviour, port: int, rng: np.random.Generator) -> str:
    """One misbehaviour in a random place of a random program, then the same program on the same
    device as if nothing had been; what came of it."""
    config, model = device.config, device.model
    program = random_program(config, rng, execs=int(rng.integers(1, 3)))
    inputs = random_inputs(program, rng)
    expected = Interp(config).run(program, inputs).outputs
    model.misbehave(kind, int(rng.integers(0, AFTER.get(kind, 4))), port=port)
    cause, outputs = None, {}
    try:
        outputs = device.run(program, inputs).outputs
    except DeviceError as error:
        cause = error.cause
    if cause is not None:
        assert model.misbehaved(port)
        assert cause is Cause.BUS_PROTOCOL
        outcome = "stopped"
    else:
        assert not compare(expected, outputs), f"{kind.name}: done with a wrong output"
        failed = model.read(OFFSET["STATUS"]) & regs.STATUS_ERROR
        assert bool(failed) == model.misbehaved(port)
        outcome = "stopped after it was done" if failed else NOTHING
        if failed:
            assert model.read(OFFSET["CAUSE"]) == Cause.BUS_PROTOCOL
    model.misbehave(Misbehaviour.NONE, 0, port=port)
    assert not compare(expected, device.run(program, inputs).outputs)
    return outcome
