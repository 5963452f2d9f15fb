"""Several bus ports: errors and standstills of one of them, and no port that waits for another."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hw.blocks import simulate
from hw.copies import copy
from sigbit_hw.arch import regs
from sigbit_hw.arch.bus import Response
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.regs import Cause
from sigbit_hw.arch.timing import BURSTS_AHEAD, WRITES_MAX
from sigbit_hw.gateware import ports
from sigbit_hw.gateware.bus.join import PortJoin
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


def parts_of(beat: int, config: ArchConfig) -> list[int]:
    """The data of a beat that each port carries."""
    bits = 8 * config.port_bytes
    return [beat >> k * bits & (1 << bits) - 1 for k in range(config.ports)]


def test_writes_of_all_ports() -> None:
    """Every port gets its part of every beat, and a burst two cycles after its last beat. As many
    bursts as may wait for a response are accepted, and one more when every port has answered."""
    dut = PortJoin(TWO)
    data = [k << 64 | 1000 + k for k in range(2 * WRITES_MAX + 10)]
    accepted: list[int] = []
    beats: list[int] = []
    bursts: list[list[int]] = [[], []]
    parts: list[list[tuple[int, int]]] = [[], []]
    done: list[int] = []
    answers = {100: (0,), 105: (1,), 110: (0, 1), 120: (1,), 121: (1,), 126: (0,), 130: (0,)}

    async def test(ctx: Any) -> None:
        write = dut.write
        for port in dut.port_writes:
            ctx.set(port.burst.ready, 1)
            ctx.set(port.beat.ready, 1)
        ctx.set(write.burst.valid, 1)
        ctx.set(write.beat.valid, 1)
        for cycle in range(140):
            ctx.set(write.burst.payload, {"beat": 2 * len(accepted), "length": 1})
            ctx.set(write.beat.payload, {"data": data[len(beats)], "strobe": 0x1234})
            for k, port in enumerate(dut.port_writes):
                ctx.set(port.done, k in answers.get(cycle, ()))
                ctx.set(port.resp, 2 * (k in answers.get(cycle, ())) + (cycle == 120))
                if ctx.get(port.burst.valid):
                    bursts[k].append(cycle)
                    burst = ctx.get(port.burst.payload)
                    assert (burst.beat, burst.length) == (2 * len(bursts[k]) - 2, 1)
                if ctx.get(port.beat.valid):
                    beat = ctx.get(port.beat.payload)
                    parts[k].append((beat.data, beat.strobe))
            assert ctx.get(write.resp) == 2 * (cycle in answers) + (cycle == 120)
            if ctx.get(write.done):
                done.append(cycle)
            if ctx.get(write.beat.ready):
                beats.append(cycle)
            if ctx.get(write.burst.ready):
                accepted.append(cycle)
            await ctx.tick()

    simulate(dut, test)
    assert len([cycle for cycle in accepted if cycle < 100]) == WRITES_MAX
    assert done == [106, 111, 127, 131]
    assert accepted[WRITES_MAX:] == [cycle + 1 for cycle in done]
    assert [cycle - 1 for cycle in beats[::2]] == accepted
    for k in (0, 1):
        assert bursts[k] == [cycle + 2 for cycle in beats[1::2]]
        strobe = (0x34, 0x12)[k]
        assert parts[k] == [(parts_of(beat, TWO)[k], strobe) for beat in data[: len(beats)]]


@pytest.mark.parametrize(("length", "beats"), [(16, BURSTS_AHEAD * 16), (1, 2 * BURSTS_AHEAD)])
def test_a_port_may_lag(length: int, beats: int) -> None:
    """Behind the others, by ``BURSTS_AHEAD`` whole bursts; of short ones, by as many as may wait to
    be announced."""
    dut, taken = PortJoin(TWO), []
    assert TWO.burst_beats == 16

    async def test(ctx: Any) -> None:
        ahead, _ = dut.port_writes
        for signal in (ahead.burst.ready, ahead.beat.ready):
            ctx.set(signal, 1)
        ctx.set(dut.write.burst.payload, {"beat": 0, "length": length - 1})
        ctx.set(dut.write.burst.valid, 1)
        ctx.set(dut.write.beat.valid, 1)
        for cycle in range(60):
            if ctx.get(dut.write.beat.ready):
                taken.append(cycle)
            await ctx.tick()

    simulate(dut, test)
    assert len(taken) == beats


def test_room_for_all_that_is_requested() -> None:
    """Beats of every burst in flight are taken from a port, whether or not the others deliver."""
    config = replace(TWO, burst_beats=4, outstanding_reads=2)
    dut, taken = PortJoin(config), []

    async def test(ctx: Any) -> None:
        first, second = dut.port_reads
        ctx.set(first.beat.valid, 1)
        for _ in range(20):
            taken.append(ctx.get(first.beat.ready))
            await ctx.tick()
        assert not ctx.get(dut.read.beat.valid)
        ctx.set(second.beat.valid, 1)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.read.beat.valid)

    simulate(dut, test)
    assert sum(taken) == config.outstanding_reads * config.burst_beats


def test_reads_of_all_ports(rng: np.random.Generator) -> None:
    """A burst goes to all ports at once, when all accept it. A beat leaves two cycles after its
    last part came, with the worst of their responses."""
    dut = PortJoin(TWO)
    often = rng.random((5, 300)) < 0.5
    requested: list[int] = []
    arrived: list[list[int]] = [[], []]
    beats: list[tuple[int, int, int, int]] = []

    async def test(ctx: Any) -> None:
        read = dut.read
        for cycle in range(300):
            ready = [bool(often[k][cycle]) for k in (0, 1)]
            for port, free in zip(dut.port_reads, ready, strict=True):
                ctx.set(port.burst.ready, free)
            ctx.set(read.burst.payload, {"beat": 2 * len(requested), "length": 1})
            wanted = len(requested) < 20 and 2 * len(requested) - len(beats) < 4
            ctx.set(read.burst.valid, wanted)
            assert ctx.get(read.burst.ready) == all(ready)
            for k, port in enumerate(dut.port_reads):
                assert ctx.get(port.burst.valid) == (wanted and all(ready))
                number = len(arrived[k])
                here = number < 2 * len(requested) and bool(often[2 + k][cycle])
                ctx.set(port.beat.valid, here)
                resp = 2 * (number % 3 == k) + (number % 6 == k)
                ctx.set(
                    port.beat.payload, {"data": number + 7 * k, "resp": resp, "last": number % 2}
                )
                if here:
                    assert ctx.get(port.beat.ready), "no room for a requested beat"
                    arrived[k].append(cycle)
            if wanted and all(ready):
                requested.append(cycle)
            ctx.set(read.beat.ready, bool(often[4][cycle]))
            if ctx.get(read.beat.valid) and often[4][cycle]:
                beat = ctx.get(read.beat.payload)
                beats.append((cycle, beat.data, beat.resp, beat.last))
            await ctx.tick()

    simulate(dut, test)
    assert [beat[1:] for beat in beats] == [
        ((n + 7) << 64 | n, 2 * (n % 3 < 2) + (n % 6 < 2), n % 2) for n in range(40)
    ]
    least = [max(arrived[0][n], arrived[1][n]) + 2 for n in range(40)]
    assert all(beat[0] >= cycle for beat, cycle in zip(beats, least, strict=True))
    assert beats[0][0] == next(cycle for cycle in range(least[0], 300) if often[4][cycle])


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
