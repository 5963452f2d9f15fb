"""Several bus ports: errors and standstills of one of them, and no port that waits for another."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hw.copies import copy
from sigbit_hw.arch import regs
from sigbit_hw.arch.bus import Response
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.regs import Cause
from sigbit_hw.gateware import ports
from sigbit_sim.verification.machine import BASES, Machine

TWO = replace(PRESETS["nano"], bus_bits=128, oc_lanes=8, ports=2)
FOUR = replace(PRESETS["mid"], act_slots=4096, bus_bits=256, ports=4, burst_beats=4)
CONFIGS = {"two": TWO, "four": FOUR}
MANY_RUNS = ["two", pytest.param("four", marks=pytest.mark.long)]
"""Configurations of the tests that run once for every port, or more often."""


def machine_of(config: ArchConfig, rng: np.random.Generator, **timing: Any) -> Machine:
    return Machine(config, rng.integers(0, 256, 1 << 15).astype(np.uint8), rng, **timing)


def copied(machine: Machine, beats: int = 40) -> bool:
    size, window = beats * machine.config.bus_bytes, machine.window
    return bool((window[0x6000 : 0x6000 + size] == window[0x1000 : 0x1000 + size]).all())


def test_names() -> None:
    assert ports.axi_prefixes(PRESETS["nano"]) == ("m_axi_",)
    assert ports.axi_prefixes(TWO) == ("m_axi0_", "m_axi1_")
    members = ports.accelerator(FOUR)
    assert len(members["m_axi3_rdata"].shape and range(members["m_axi3_rdata"].shape)) == 64
    assert "m_axi_rdata" not in members


@pytest.mark.parametrize("what", ["read", "write"])
@pytest.mark.parametrize("name", MANY_RUNS)
def test_error_on_one_port(name: str, what: str, rng: np.random.Generator) -> None:
    """Whichever port answers with an error: it is reported, the bus becomes idle, and after a soft
    reset the machine runs."""
    config = CONFIGS[name]
    machine = machine_of(config, rng, latency=(2, 40), stall=0.2)
    address = (0x1000 if what == "read" else 0x6000) // config.ports

    async def test(ctx: Any) -> None:
        for port, bus in enumerate(machine.buses):
            for resp in (Response.SLVERR, Response.DECERR):
                bus.faults[BASES[port] + address + 5 * config.port_bytes] = resp
                cause = Cause[f"{what.upper()}_{resp.name}"]
                result = await machine.run(ctx, copy(config, 40))
                assert result == (regs.STATUS_ERROR, cause, int(what == "write"))
                bus.faults.clear()
                await machine.reset(ctx)
                assert not any(bus.busy for bus in machine.buses)
                assert await machine.run(ctx, copy(config, 40)) == (regs.STATUS_DONE, 0, 0)
                assert copied(machine)

    machine.simulate(test)


@pytest.mark.parametrize("name", MANY_RUNS)
def test_one_port_hangs(name: str, rng: np.random.Generator) -> None:
    """The watchdog sees it, the bus is not idle until that port answers."""
    config = CONFIGS[name]
    machine = machine_of(config, rng, latency=(2, 20), stall=0.1)

    async def test(ctx: Any) -> None:
        for bus in machine.buses:
            for cycles in (20, 50, 80):
                await machine.start(ctx, copy(config, 40), WATCHDOG=300)
                await ctx.tick().repeat(cycles)
                bus.hung = True
                status, cause, _ = await machine.finish(ctx)
                assert (status, cause) == (regs.STATUS_ERROR, Cause.WATCHDOG)
                await machine.write(ctx, "CONTROL", regs.CONTROL_SOFT_RESET)
                await ctx.tick().repeat(300)
                assert not await machine.read(ctx, "STATUS") & regs.STATUS_BUS_IDLE
                bus.hung = False
                while not await machine.read(ctx, "STATUS") & regs.STATUS_BUS_IDLE:
                    pass
                assert not any(bus.busy for bus in machine.buses)
            assert await machine.run(ctx, copy(config, 40)) == (regs.STATUS_DONE, 0, 0)
            assert copied(machine)

    machine.simulate(test)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_port_waits_for_another(name: str, rng: np.random.Generator) -> None:
    """All ports end in an interconnect that moves data for one port as long as it has bursts open:
    what one port has begun must end without the others."""
    config = CONFIGS[name]
    machine = machine_of(config, rng, latency=(1, 5), stall=0.1)
    turn = list(machine.buses)
    for bus in machine.buses:
        bus.turn = turn
    beats = 5 * config.burst_beats + 3

    async def test(ctx: Any) -> None:
        assert await machine.run(ctx, copy(config, beats)) == (regs.STATUS_DONE, 0, 0)
        assert copied(machine, beats)

    machine.simulate(test)


def test_soft_reset_while_running(rng: np.random.Generator) -> None:
    machine = machine_of(FOUR, rng, latency=(1, 30), stall=0.3)

    async def test(ctx: Any) -> None:
        for cycles in range(20, 300, 35):
            await machine.start(ctx, copy(FOUR, 40))
            await ctx.tick().repeat(cycles)
            await machine.reset(ctx)
            assert not any(bus.busy for bus in machine.buses)
        assert await machine.run(ctx, copy(FOUR, 40)) == (regs.STATUS_DONE, 0, 0)
        assert copied(machine)

    machine.simulate(test)
