"""The cycle model against the RTL: starts and retirements of all instructions, and the cycles."""

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_sim.memory import PLAIN, Memory, MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.verification.networks import random_network

pytestmark = pytest.mark.sim

NANO = PRESETS["nano"]
CONFIGS = {
    "nano": NANO,
    "several drained pixels": replace(NANO, name="drain", pixels=8, post_lanes=16, act_slots=1024),
    "two ports": replace(NANO, name="two_ports", oc_lanes=8, bus_bits=128, ports=2),
    "wide beats": replace(NANO, name="wide_beats", pixels=8, oc_lanes=8, bus_bits=128),
    "short queue": replace(NANO, name="short", queue_depth=2, outstanding_reads=2, burst_beats=8),
}
EVERY_RUN = ("nano", "several drained pixels", "two ports")
"""Configurations of every run."""
START = 4
"""Cycles from the write of CONTROL, where the device's log begins, to the run's first."""


FAST, SLOW = MemoryTiming(1), MemoryTiming(133)
HALF = MemoryTiming(40, Fraction(1, 2))
REFRESHED = MemoryTiming(40, Fraction(1), 156, 17)


def check(
    device: RtlDevice, program: Program, rng: np.random.Generator, memory: Memory = PLAIN
) -> int:
    """Compare; the number of instructions that were."""
    result = device.run(program, random_inputs(program, rng, program.images))
    model = predict(program, memory)
    assert result.cycles is not None
    assert model.cycles == result.cycles[0]
    seen = np.full((2, len(program.listing)), -1)
    for event in result.timeline:
        seen[:, event.index] = event.start - START, event.end - 1 - START
    assert np.array_equal(model.starts, seen[0])
    assert np.array_equal(model.retires, seen[1])
    return len(result.timeline)


@pytest.mark.parametrize(
    "memory",
    [FAST, MemoryTiming(), SLOW, HALF, REFRESHED],
    ids=["fast", "plain", "slow", "half", "refreshed"],
)
@pytest.mark.parametrize(
    "which", [c if c in EVERY_RUN else pytest.param(c, marks=pytest.mark.long) for c in CONFIGS]
)
def test_random_programs(which: str, memory: MemoryTiming, rng: np.random.Generator) -> None:
    config = CONFIGS[which]
    device = RtlDevice(config, memory=memory)
    compared = 0
    for _ in range(6):
        compared += check(device, random_program(config, rng), rng, memory)
    assert compared > 60


@st.composite
def timings(draw: st.DrawFn) -> MemoryTiming:
    rate = Fraction(draw(st.integers(1, 9)), draw(st.integers(9, 12)))
    period = draw(st.sampled_from([0, 3, 64, 1001]))
    return MemoryTiming(
        draw(st.integers(1, 200)), rate, period, draw(st.integers(0, max(period // 2, 0)))
    )


@cache
def device_of(which: str) -> RtlDevice:
    return RtlDevice(CONFIGS[which])


@settings(max_examples=examples(40), deadline=None)
@given(
    which=st.sampled_from(EVERY_RUN),
    memories=st.lists(timings(), min_size=4, max_size=4),
    alike=st.booleans(),
    seed=st.integers(0, 1 << 16),
)
def test_any_memory(which: str, memories: list[MemoryTiming], alike: bool, seed: int) -> None:
    """Latency, bandwidth and refresh of every port are what they are."""
    config, rng = CONFIGS[which], np.random.default_rng(seed)
    device = device_of(which)
    behind = [memories[0 if alike else port] for port in range(config.ports)]
    for port, memory in enumerate(behind):
        device.model.timing(memory, port=port)
    assert check(device, random_program(config, rng), rng, behind) > 2


def test_a_second_run_takes_as_long(rng: np.random.Generator) -> None:
    """Bandwidth and refresh begin anew with every run."""
    program = random_program(NANO, rng)
    memory = MemoryTiming(17, Fraction(3, 7), 91, 13)
    device = RtlDevice(NANO, memory=memory)
    result = device.run(program, random_inputs(program, rng, 3 * program.images))
    assert result.cycles is not None
    assert result.cycles.tolist() == [predict(program, memory).cycles] * 3


@pytest.mark.parametrize("which", ["nano", "two ports"])
def test_random_networks(which: str, rng: np.random.Generator) -> None:
    config = CONFIGS[which]
    device = RtlDevice(config)
    compared = 0
    for _ in range(3):
        _, program = random_network(rng, config, 4)
        compared += check(device, program, rng)
    assert compared > 30
