"""Hostile Programs on the RTL: random ones with changes that no compiler makes.

A try is a Program: the accelerator stops by itself, with a cause if not at the end, within its
window and the rules of AXI; a soft reset leaves it ready. What the verifier of hazards and the
strict interpreter accept has the interpreter's outputs.
"""

from collections.abc import Iterator
from itertools import count

import numpy as np

from sigbit.campaigns import Job, Row, Tell
from sigbit.compiler.order.hazards import verify_hazards
from sigbit.errors import VerifyError
from sigbit.runtime import DeviceError, compare, unpack_outputs, window_of
from sigbit_hw.arch.program import Program, ProgramError
from sigbit_hw.arch.program_check import check_program
from sigbit_hw.arch.regs import Cause
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.native.build import Purpose
from verify.bare import start
from verify.configs import CONFIGS
from verify.mutations import MUTATIONS, Changed, hostile
from verify.part import Tally, cause, job

PART = "programs"
TRIES = 120
"""Programs of a job, as many of each mutation."""
LIMIT = 60_000
"""CYCLE_LIMIT of a run: random Programs take a tenth of it."""
SLACK = 40_000
"""Cycles after which a run that goes on in spite of its limit is a hang."""

Inputs = dict[str, np.ndarray]


def jobs(first: int) -> Iterator[Job]:
    """Both accelerators, then again with the next seed."""
    for seed in count(first):
        for name in ("nano", "four ports"):
            parameters = {"which": name, "seed": seed, "tries": TRIES}
            yield job(
                PART,
                name,
                f"{__name__}:programs",
                parameters,
                seed=seed,
                code=("sigbit.compiler.order", "verify.mutations", "verify.bare"),
            )


def opened(which: str, seed: int, purpose: Purpose = Purpose.RUN) -> RtlDevice:
    """A device with a bus that pauses."""
    memory = MemoryTiming(15)
    return RtlDevice(CONFIGS[which], memory=memory, stalls=0.1, seed=seed, purpose=purpose)


def programs(which: str, seed: int, tries: int, tell: Tell) -> list[Row]:
    """``tries`` hostile Programs."""
    tally, rng = Tally(PART, which, seed), np.random.default_rng(seed)
    device = opened(which, seed)
    kinds = [kind for _ in range(-(-tries // len(MUTATIONS))) for kind in MUTATIONS][:tries]
    for number, kind in enumerate(kinds):
        tell(f"hostile Programs on {which}", number, tries)
        program = random_program(CONFIGS[which], rng, execs=int(rng.integers(1, 4)))
        inputs = random_inputs(program, rng)
        try:
            changed = hostile(program, kind, rng)
            tally.fine(judged(device, changed, inputs))
            tally.reached(f"{kind} changed")
        except Exception as error:
            tally.failed(cause(error), f"{kind}, Program {number}")
            device = opened(which, seed)
    return tally.rows()


def judged(device: RtlDevice, changed: Changed, inputs: Inputs, limit: int = LIMIT) -> str:
    """Run a Program and say what came of it: done, or a cause; ``equal`` if it was accepted and
    its outputs are those of the interpreter."""
    program, model = changed.program, device.model
    other = changed.result()
    expected = None if changed.registers else accepted(other, inputs)
    before = window_of(other, inputs, 0)
    run = start(device, other, before, limit=limit, **changed.registers)
    assert run.clock(limit + SLACK), "a hang: neither done nor stopped"
    found = run.cause()
    after = run.window()
    assert model.violations == [], model.violations[0]
    if expected is not None:
        assert found is Cause.NONE, f"accepted, and stopped with {found.name}"
        assert not compare(expected, unpack_outputs(program, after)), "accepted, other outputs"
    assert device.soft_reset(), "the bus did not become idle"
    assert model.violations == [], model.violations[0]
    if expected is not None:
        return "accepted, outputs equal"
    return "done" if found is Cause.NONE else found.name


def accepted(program: Program, inputs: Inputs) -> dict[str, np.ndarray] | None:
    """The interpreter's outputs, if verifier and strict interpreter accept the Program."""
    try:
        check_program(program)
        verify_hazards(program)
        return Interp(program.config, strict=True).run(program, inputs).outputs
    except (VerifyError, ValueError, ProgramError, DeviceError):
        return None
