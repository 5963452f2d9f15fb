"""The bus shell: what it accepts, what it reports, and the promises of an engine that is gone."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Signal
from amaranth.sim import Simulator

from sigbit_hw.arch.bus import ADDRESS_BITS, PAGE_BITS
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.timing import WRITES_MAX
from sigbit_hw.gateware.bus.axi import AxiShell
from sigbit_sim.verification.axi_memory import AxiMemory

CONFIG = PRESETS["nano"]
BASE = 0xF_EDCB_A000


def test_pulled_plug(rng: np.random.Generator) -> None:
    """Bursts are accepted; ``enable`` falls while the engines' side goes on offering beats and
    takes none: the remaining beats carry no strobes, the read data is swallowed, and only then is
    the shell idle."""
    shell = AxiShell(CONFIG)
    memory = np.zeros(1 << 14, np.uint8)
    bus = AxiMemory(
        shell,
        memory.reshape(-1, CONFIG.bus_bytes),
        rng,
        base=BASE,
        prefix="",
        latency=(3, 20),
        stall=0.3,
    )
    cut = []

    async def test(ctx: Any) -> None:
        ctx.set(shell.base, BASE >> PAGE_BITS)
        for case in range(20):
            before = len(bus.strobed)
            ctx.set(shell.enable, 1)
            ctx.set(shell.read.beat.ready, int(rng.integers(2)))
            ctx.set(shell.write.beat.valid, 1)
            ctx.set(shell.write.beat.payload, {"data": 0x0123456789ABCDEF, "strobe": 0xFF})
            for channel in (shell.read, shell.write):
                ctx.set(channel.burst.payload, {"beat": 0x20 * case, "length": 15})
                ctx.set(channel.burst.valid, 1)
                await ctx.tick().until(channel.burst.ready)
                ctx.set(channel.burst.valid, 0)
            assert not ctx.get(shell.idle)
            sent = 0
            for _ in range(int(rng.integers(0, 20))):
                *_, ready = await ctx.tick().sample(shell.write.beat.ready)
                sent += ready
            ctx.set(shell.enable, 0)
            ctx.set(shell.read.beat.ready, 0)
            await ctx.tick().until(shell.idle)
            assert not bus.busy
            strobed = len(bus.strobed) - before
            assert strobed == sent * CONFIG.bus_bytes
            cut.append(sent)
            await ctx.tick().repeat(3)
            assert ctx.get(shell.idle)

    async def watch(ctx: Any) -> None:
        cycles = 0
        async for _ in ctx.tick():
            cycles += 1
            assert cycles < 10_000, "the shell never became idle"

    simulator = Simulator(shell)
    simulator.add_clock(1e-8)
    for process in (bus.run, watch):
        simulator.add_testbench(process, background=True)
    simulator.add_testbench(test)
    simulator.run()
    assert len(set(cut)) > 3
    assert max(cut) > 0
    assert min(cut) < 16


def simulate(shell: AxiShell, test: Callable[[Any], Awaitable[None]]) -> None:
    simulator = Simulator(shell)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()


def test_as_many_writes_wait_as_may() -> None:
    """Without responses exactly ``WRITES_MAX`` bursts are accepted, and one more after each
    response."""
    shell = AxiShell(CONFIG)
    accepted = 0

    async def count(ctx: Any, cycles: int) -> None:
        nonlocal accepted
        for _ in range(cycles):
            *_, ready = await ctx.tick().sample(shell.write.burst.ready)
            accepted += ready

    async def test(ctx: Any) -> None:
        for signal in (shell.enable, shell.awready, shell.wready):
            ctx.set(signal, 1)
        ctx.set(shell.write.burst.valid, 1)
        ctx.set(shell.write.beat.valid, 1)
        await count(ctx, 8 * WRITES_MAX)
        assert accepted == WRITES_MAX
        for answers in range(1, 4):
            ctx.set(shell.bvalid, 1)
            await count(ctx, 1)
            ctx.set(shell.bvalid, 0)
            await count(ctx, 8)
            assert accepted == WRITES_MAX + answers
        assert not ctx.get(shell.violated)

    simulate(shell, test)


@pytest.mark.parametrize("ports", [1, 4])
def test_windows_that_leave_the_addresses(ports: int, rng: np.random.Generator) -> None:
    """A port's part of the window ends at the last bus address, or before."""
    config = replace(PRESETS["mid"], bus_bits=256, ports=ports, burst_beats=4)
    shell, page = AxiShell(config), 1 << PAGE_BITS
    most = (1 << ADDRESS_BITS) - page
    seen = set()

    async def test(ctx: Any) -> None:
        for _ in range(200):
            size = int(rng.integers(1 << int(rng.integers(1, 33))))
            pages = -(-size // (ports * page))
            base = most - (pages + int(rng.integers(-2, 3))) * page
            base = min(max(base, 0), most)
            ctx.set(shell.base, base >> PAGE_BITS)
            ctx.set(shell.size, size)
            await ctx.tick().repeat(2)
            wraps = base + pages * page > most + page
            assert ctx.get(shell.wraps) == wraps, (base, size)
            seen.add(wraps)

    simulate(shell, test)
    assert seen == {False, True}


def test_beats_wait_for_their_burst() -> None:
    """A beat is taken when its burst has been accepted and the bus took the one before; data,
    strobes and WLAST arrive with it."""
    shell = AxiShell(CONFIG)
    bursts = {5: 1, 6: 4, 20: 2}  # cycle from which a burst is offered, and its beats
    sent: list[tuple[int, int, int]] = []

    async def test(ctx: Any) -> None:
        beats = accepted = 0
        waiting = list(bursts.items())
        ctx.set(shell.enable, 1)
        await ctx.tick()
        for cycle in range(40):
            offered = bool(waiting) and waiting[0][0] <= cycle
            ctx.set(shell.awready, cycle % 2)
            ctx.set(shell.wready, cycle % 3 != 0)
            ctx.set(shell.write.burst.valid, offered)
            if offered:
                ctx.set(shell.write.burst.payload, {"beat": 0, "length": waiting[0][1] - 1})
            ctx.set(shell.write.beat.valid, 1)
            ctx.set(shell.write.beat.payload, {"data": beats, "strobe": beats + 1})
            if ctx.get(shell.wvalid) and ctx.get(shell.wready):
                sent.append(tuple(map(ctx.get, (shell.wdata, shell.wstrb, shell.wlast))))
            if ctx.get(shell.write.beat.ready):
                beats += 1
                assert beats <= accepted, "a beat without a burst"
            if offered and ctx.get(shell.write.burst.ready):
                accepted += waiting.pop(0)[1]
            await ctx.tick()

    simulate(shell, test)
    assert sent == [(k, k + 1, int(k in (0, 4, 6))) for k in range(7)]


def test_every_channel_is_progress() -> None:
    """``progress`` is high in the cycle after a transfer on each channel alone, and in no other."""
    shell = AxiShell(CONFIG)

    async def test(ctx: Any) -> None:
        async def silent(cycles: int) -> None:
            for _ in range(cycles):
                assert not ctx.get(shell.progress)
                await ctx.tick()

        async def moves(signal: Signal) -> None:
            """``signal`` is all that its channel waits for."""
            ctx.set(signal, 1)
            await ctx.tick()
            ctx.set(signal, 0)
            assert ctx.get(shell.progress)
            await ctx.tick()
            await silent(4)

        ctx.set(shell.enable, 1)
        ctx.set(shell.read.beat.ready, 1)
        ctx.set(shell.rlast, 1)
        for burst in (shell.read.burst, shell.write.burst):
            ctx.set(burst.valid, 1)
            await ctx.tick()
            ctx.set(burst.valid, 0)
        ctx.set(shell.write.beat.valid, 1)
        await ctx.tick()
        ctx.set(shell.write.beat.valid, 0)
        await silent(4)
        for signal in (shell.arready, shell.rvalid, shell.awready, shell.wready, shell.bvalid):
            assert not ctx.get(shell.idle)
            await moves(signal)
        assert ctx.get(shell.idle)

    simulate(shell, test)
