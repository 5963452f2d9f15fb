"""Memories that break AXI, in the native harness: never done with a wrong output, always a cause,
always recovered by a soft reset."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sigbit.runtime import DeviceError, compare
from sigbit_hw.arch import regs
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.regs import OFFSET, Cause
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.native.model import Misbehaviour

pytestmark = pytest.mark.sim

NANO = PRESETS["nano"]
FOUR = replace(NANO, name="four_ports", oc_lanes=16, bus_bits=256, ports=4, burst_beats=4)
CASES = {"nano": (NANO, 25), "four_ports": (FOUR, 8)}
"""Accelerators, and tries of every kind on every port."""
AFTER = {
    Misbehaviour.EARLY_RESPONSE: 1,
    Misbehaviour.MISPLACED_RESPONSE: 1,
    Misbehaviour.STRAY_RESPONSE: 400,
    Misbehaviour.STRAY_BEAT: 400,
}
"""Fewer bursts, or cycles, pass before it may come; it comes when there is an occasion."""


@pytest.mark.parametrize("kind", list(Misbehaviour)[1:], ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", CASES)
def test_misbehaviour(name: str, kind: Misbehaviour, rng: np.random.Generator, seed: int) -> None:
    config, tries = CASES[name]
    outcomes: Counter[str] = Counter()
    for port in range(config.ports):
        device = RtlDevice(
            config,
            memory=MemoryTiming(20),
            stalls=0.1,
            seed=seed + port,
            watchdog=1000,
            max_cycles=100_000,
        )
        model = device.model
        program = random_program(config, rng, execs=1)
        device.run(program, random_inputs(program, rng))  # sets WATCHDOG, for which a reset waits
        for _ in range(tries):
            outcomes[provoke(device, kind, port, rng)] += 1
        assert device.model is model, "the bus did not become idle after a soft reset"
        assert model.violations == []
    assert outcomes["stopped"] > 2, outcomes


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
        outcome = "stopped after it was done" if failed else "no occasion"
        if failed:
            assert model.read(OFFSET["CAUSE"]) == Cause.BUS_PROTOCOL
    model.misbehave(Misbehaviour.NONE, 0, port=port)
    assert not compare(expected, device.run(program, inputs).outputs)
    return outcome
