"""The bus shell against slaves that break AXI: what is wrong is seen at once and goes no further,
and the port begins anew when no more can come."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.copies import copy
from sigbit_hw.arch import regs
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.regs import Cause
from sigbit_hw.gateware.bus.axi import AxiShell
from sigbit_sim.verification.machine import Machine

NANO = PRESETS["nano"]
CONFIGS = {
    "nano": NANO,
    "short": replace(NANO, outstanding_reads=1, burst_beats=1),
    "long": replace(NANO, outstanding_reads=16, burst_beats=256),
}
FOUR = replace(PRESETS["mid"], act_slots=4096, bus_bits=256, ports=4, burst_beats=4)


def simulate(
    shell: AxiShell, *tests: Callable[[Any], Awaitable[None]], limit: int = 40_000
) -> None:
    simulator = Simulator(shell)
    simulator.add_clock(1e-8)
    *background, test = tests

    async def watch(ctx: Any) -> None:
        for _ in range(limit):
            await ctx.tick()
        raise AssertionError(f"the test did not end within {limit} cycles")

    for process in (*background, watch):
        simulator.add_testbench(process, background=True)
    simulator.add_testbench(test)
    simulator.run()


class Reads:
    """A slave's read side by script: takes addresses, gives the beats that it is told."""

    def __init__(self, shell: AxiShell, rng: np.random.Generator) -> None:
        self.shell, self.rng = shell, rng
        self.passed = self.violations = 0

    async def watch(self, ctx: Any) -> None:
        """Counts what the engines get and what is reported."""
        beat = self.shell.read.beat
        sampled = ctx.tick().sample(beat.valid & beat.ready, self.shell.violated)
        async for _, _, passed, violated in sampled:
            self.passed += passed
            self.violations += violated

    async def pause(self, ctx: Any) -> None:
        await ctx.tick().repeat(int(self.rng.integers(1, 4)) if self.rng.random() < 0.5 else 1)

    async def request(self, ctx: Any, beats: int, *, accept: bool = True) -> None:
        """A burst; its address is left waiting unless ``accept``."""
        burst, shell = self.shell.read.burst, self.shell
        ctx.set(burst.payload, {"beat": 0, "length": beats - 1})
        ctx.set(burst.valid, 1)
        await ctx.tick().until(burst.ready)
        ctx.set(burst.valid, 0)
        if accept:
            ctx.set(shell.arready, 1)
            await ctx.tick().until(shell.arvalid)
            ctx.set(shell.arready, 0)

    async def give(self, ctx: Any, last: int, identifier: int = 0) -> None:
        shell = self.shell
        ctx.set(shell.rlast, last)
        ctx.set(shell.rid, identifier)
        ctx.set(shell.rvalid, 1)
        await ctx.tick().until(shell.rready)
        ctx.set(shell.rvalid, 0)

    async def good(self, ctx: Any) -> int:
        """As many bursts as may be outstanding, all beats as they are due; how many there were."""
        config = self.shell.config
        lengths = self.rng.integers(1, config.burst_beats + 1, config.outstanding_reads)
        if config.burst_beats > 1:
            lengths[0] = int(self.rng.choice([1, config.burst_beats]))
        for beats in lengths:
            await self.request(ctx, int(beats))
            if self.rng.random() < 0.3:
                await self.pause(ctx)
        for beats in lengths:
            for left in reversed(range(int(beats))):
                await self.give(ctx, left == 0)
                await self.pause(ctx)
        await ctx.tick().repeat(5)
        return int(lengths.sum())


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_due_passes(name: str, rng: np.random.Generator) -> None:
    shell = AxiShell(CONFIGS[name])
    slave = Reads(shell, rng)

    async def test(ctx: Any) -> None:
        ctx.set(shell.enable, 1)
        ctx.set(shell.read.beat.ready, 1)
        due = 0
        for _ in range(4):
            due += await slave.good(ctx)
            assert (slave.passed, slave.violations) == (due, 0)
            assert ctx.get(shell.idle)

    simulate(shell, slave.watch, test)


READS = ["early", "late", "nothing", "after", "before_the_address", "identifier"]


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("kind", READS)
def test_read_beats_are_counted(kind: str, enabled: bool, rng: np.random.Generator) -> None:
    """The wrong beat is reported in the next cycle, whether the engines run or not, and neither it
    nor what follows reaches them; the port is idle again after ``forget``, and good traffic
    passes."""
    shell = AxiShell(NANO)
    slave = Reads(shell, rng)

    async def wrong(ctx: Any) -> int:
        """One wrong beat; how many good ones came before it."""
        if kind == "nothing":
            await slave.give(ctx, int(rng.integers(2)))
            return 0
        beats = int(rng.integers(2, 8))
        await slave.request(ctx, beats)
        await slave.request(ctx, beats, accept=kind != "before_the_address")
        at = beats - 1 if kind == "late" else int(rng.integers(0, beats - 1))
        if kind in ("after", "before_the_address"):
            at = 2 * beats if kind == "after" else beats
        for k in range(at):
            await slave.give(ctx, k % beats == beats - 1)
        await slave.give(ctx, int(kind in ("early", "after")), int(kind == "identifier"))
        return at

    async def test(ctx: Any) -> None:
        ctx.set(shell.read.beat.ready, 1)
        for _ in range(5):
            ctx.set(shell.enable, 1)
            due = slave.passed + await slave.good(ctx)
            assert (slave.passed, slave.violations) == (due, 0)
            if kind in ("nothing", "after"):
                ctx.set(shell.enable, int(enabled))
            before = slave.passed
            good = await wrong(ctx) if enabled or kind != "after" else 0
            if not enabled and kind == "after":
                await slave.give(ctx, 1)
            assert slave.violations == 0
            assert ctx.get(shell.violated)
            await ctx.tick()
            assert not ctx.get(shell.violated)
            for _ in range(int(rng.integers(1, 20))):  # in whatever way it goes on
                await slave.give(ctx, int(rng.integers(2)), int(rng.integers(2)))
            assert slave.violations == 1
            assert before <= slave.passed <= before + good
            ctx.set(shell.enable, 0)
            ctx.set(shell.forget, int(kind == "before_the_address"))
            await ctx.tick().repeat(10)
            assert not ctx.get(shell.idle)
            if kind == "before_the_address":  # the promise of ARVALID is kept
                assert ctx.get(shell.arvalid)
                ctx.set(shell.arready, 1)
                await ctx.tick()
                ctx.set(shell.arready, 0)
            ctx.set(shell.forget, 1)
            await ctx.tick()
            ctx.set(shell.forget, 0)
            await ctx.tick()
            assert ctx.get(shell.idle)
            assert slave.violations == 1
            slave.violations = 0

    simulate(shell, slave.watch, test)


WRITES = ["before_the_data", "before_the_address", "nothing", "after", "identifier"]


@pytest.mark.parametrize("kind", WRITES)
def test_responses_are_counted(kind: str, rng: np.random.Generator) -> None:
    """A wrong response is reported and does not count; beats that were promised are supplied."""
    shell = AxiShell(NANO)
    done: list[int] = []
    violations: list[int] = []

    async def watch(ctx: Any) -> None:
        sampled = ctx.tick().sample(shell.write.done, shell.violated)
        async for _, _, answered, violated in sampled:
            done.extend([1] * answered)
            violations.extend([1] * violated)

    async def burst(ctx: Any, beats: int, *, address: bool = True, data: int = -1) -> None:
        """Offers a burst; the slave takes its address, and ``data`` beats, by default all."""
        write = shell.write
        ctx.set(write.burst.payload, {"beat": 0, "length": beats - 1})
        ctx.set(write.burst.valid, 1)
        await ctx.tick().until(write.burst.ready)
        ctx.set(write.burst.valid, 0)
        if address:
            ctx.set(shell.awready, 1)
            await ctx.tick().until(shell.awvalid)
            ctx.set(shell.awready, 0)
        ctx.set(write.beat.valid, 1)
        ctx.set(shell.wready, 1)
        for _ in range(beats if data < 0 else data):
            await ctx.tick().until(shell.wvalid & shell.wready)
        ctx.set(shell.wready, 0)
        ctx.set(write.beat.valid, 0)

    async def answer(ctx: Any, identifier: int = 0) -> None:
        ctx.set(shell.bid, identifier)
        ctx.set(shell.bvalid, 1)
        await ctx.tick()
        ctx.set(shell.bvalid, 0)

    async def test(ctx: Any) -> None:
        for _ in range(5):
            ctx.set(shell.enable, 1)
            done.clear()
            for _ in range(3):
                await burst(ctx, int(rng.integers(1, 17)))
            for _ in range(3):
                await answer(ctx)
            await ctx.tick().repeat(3)
            assert (len(done), len(violations)) == (3, 0)
            assert ctx.get(shell.idle)
            beats = int(rng.integers(2, 8))
            if kind == "before_the_data":
                await burst(ctx, beats, data=int(rng.integers(0, beats)))
            elif kind == "before_the_address":
                await burst(ctx, beats, address=False)
            elif kind in ("after", "identifier"):
                await burst(ctx, beats)
            if kind == "after":
                await answer(ctx)
            good = len(done)
            await answer(ctx, int(kind == "identifier"))
            assert ctx.get(shell.violated)
            await ctx.tick().repeat(2)
            assert (len(done) - good, len(violations)) == (int(kind == "after"), 1)
            for _ in range(int(rng.integers(0, 4))):
                await answer(ctx, int(rng.integers(2)))
            ctx.set(shell.enable, 0)
            ctx.set(shell.forget, 1)
            await ctx.tick().repeat(20)
            assert ctx.get(shell.idle) == (kind not in ("before_the_data", "before_the_address"))
            for ready in (shell.awready, shell.wready):
                ctx.set(ready, 1)
            await ctx.tick().repeat(20)
            assert not ctx.get(shell.awvalid)
            assert not ctx.get(shell.wvalid)
            assert ctx.get(shell.idle)
            for signal in (shell.awready, shell.wready, shell.forget):
                ctx.set(signal, 0)
            violations.clear()

    simulate(shell, watch, test)


@pytest.mark.parametrize("name", ["nano", pytest.param("four", marks=pytest.mark.long)])
def test_a_response_out_of_nothing_stops_the_machine(name: str, rng: np.random.Generator) -> None:
    """On any port, while it runs and while it does not: cause, interrupt, no bus idle until
    WATCHDOG cycles without movement have passed since, then all is well."""
    config = FOUR if name == "four" else NANO
    machine = Machine(
        config, rng.integers(0, 256, 1 << 15).astype(np.uint8), rng, latency=(1, 30), stall=0.2
    )
    limit = 200

    async def test(ctx: Any) -> None:
        size = 24 * config.bus_bytes
        for port in range(config.ports):
            for running in (True, False):
                if running:
                    await machine.start(ctx, copy(config, 24), WATCHDOG=limit)
                else:
                    assert await machine.run(ctx, copy(config, 24), WATCHDOG=limit) == (2, 0, 0)
                    await machine.write(ctx, "IRQ_STATUS", regs.IRQ_DONE)
                machine.buses[port].answer_nothing()
                done = 0 if running else regs.STATUS_DONE
                assert await machine.finish(ctx) == (
                    regs.STATUS_ERROR | done,
                    Cause.BUS_PROTOCOL,
                    0,
                )
                assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_ERROR
                await machine.write(ctx, "CONTROL", regs.CONTROL_SOFT_RESET)
                assert await machine.read(ctx, "STATUS") == 0
                await machine.write(ctx, "CONTROL", regs.CONTROL_START)
                assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_REFUSED
                await machine.reset(ctx)
                machine.window[0x6000 : 0x6000 + size] = 0
                assert await machine.run(ctx, copy(config, 24), WATCHDOG=limit) == (2, 0, 0)
                window = machine.window
                assert (window[0x6000 : 0x6000 + size] == window[0x1000 : 0x1000 + size]).all()
                await machine.write(ctx, "IRQ_STATUS", regs.IRQ_DONE)

    machine.simulate(test)
