"""The cycle model against the RTL: starts and retirements of all instructions, and the cycles."""

from dataclasses import replace

import numpy as np
import pytest

from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.verification.networks import random_network

pytestmark = pytest.mark.sim

NANO = PRESETS["nano"]
CONFIGS = {
    "nano": NANO,
    "several drained pixels": replace(NANO, name="drain", pixels=8, post_lanes=16, act_slots=1024),
    "two ports": replace(NANO, name="two_ports", oc_lanes=8, bus_bits=128, ports=2),
    "short queue": replace(NANO, name="short", queue_depth=2, outstanding_reads=2, burst_beats=8),
}
START = 4
"""Cycles from the write of CONTROL, where the device's log begins, to the run's first."""


def check(device: RtlDevice, program: Program, rng: np.random.Generator, latency: int) -> int:
    """Compare; the number of instructions that were."""
    result = device.run(program, random_inputs(program, rng, program.images))
    model = predict(program, latency=latency)
    assert result.cycles is not None
    assert model.cycles == result.cycles[0]
    seen = np.full((2, len(program.listing)), -1)
    for event in result.timeline:
        seen[:, event.index] = event.start - START, event.end - 1 - START
    assert np.array_equal(model.starts, seen[0])
    assert np.array_equal(model.retires, seen[1])
    return len(result.timeline)


@pytest.mark.parametrize("latency", [1, 40, 133])
@pytest.mark.parametrize("which", CONFIGS)
def test_random_programs(which: str, latency: int, rng: np.random.Generator) -> None:
    config = CONFIGS[which]
    device = RtlDevice(config, latency=latency)
    compared = 0
    for _ in range(6):
        compared += check(device, random_program(config, rng), rng, latency)
    assert compared > 60


@pytest.mark.parametrize("which", ["nano", "two ports"])
def test_random_networks(which: str, rng: np.random.Generator) -> None:
    config = CONFIGS[which]
    device = RtlDevice(config)
    compared = 0
    for _ in range(3):
        _, program = random_network(rng, config, 4)
        compared += check(device, program, rng, 40)
    assert compared > 30
