"""Random Programs with one field changed: what the verifier and the strict interpreter accept has
one meaning, and the RTL's is the same."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sigbit.compiler.order.hazards import verify_hazards
from sigbit.errors import VerifyError
from sigbit.runtime import DeviceError, compare
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import Opcode
from sigbit_hw.arch.program import Program, ProgramError
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice

NANO = PRESETS["nano"]
CHANGED = (Opcode.SEG, Opcode.OUT, Opcode.EXEC)


def changed(program: Program, rng: np.random.Generator) -> Program | None:
    """The Program with another value in a field after the header of a SEG, OUT or EXEC; None if
    that is not legal in itself."""
    code = list(program.listing)
    at = int(rng.choice([i for i, instr in enumerate(code) if instr.opcode in CHANGED]))
    field = isa.LAYOUTS[code[at].opcode][rng.integers(len(isa.LAYOUTS[code[at].opcode]))]
    value = int(getattr(code[at], field.name))
    near = (value + 1, value - 1, value + 2, 2 * value, -value, 0, 1, 2, 3, 4, 8)
    other = int(rng.choice(near))
    if other == value or not field.min <= other <= field.max:
        return None
    code[at] = replace(code[at], **{field.name: field.kind(other)})
    return replace(program, instructions=isa.pack(code), layers=(), execs=())


@pytest.mark.sim
def test_what_is_accepted_means_the_same(rng: np.random.Generator, seed: int) -> None:
    device = RtlDevice(NANO, memory=MemoryTiming(10), stalls=0.1, seed=seed, max_cycles=200_000)
    outcomes: Counter[str] = Counter()
    while outcomes["equal"] < 80 or outcomes["twice"] < 3:
        assert outcomes.total() < 5000, outcomes
        program = random_program(NANO, rng, execs=int(rng.integers(1, 4)))
        inputs = random_inputs(program, rng)
        for _ in range(10):
            if (other := changed(program, rng)) is None:
                continue
            try:
                verify_hazards(other)
            except (VerifyError, ValueError) as error:
                outcomes["refused by the verifier"] += 1
                if "one of them twice" in str(error):
                    outcomes["twice"] += 1
                    with pytest.raises((ProgramError, DeviceError)):
                        Interp(NANO).run(other, inputs)
                continue
            try:
                expected = Interp(NANO, strict=True).run(other, inputs).outputs
            except (ProgramError, DeviceError):
                outcomes["refused by the interpreter"] += 1
                continue
            assert not compare(expected, device.run(other, inputs).outputs)
            outcomes["equal"] += 1
