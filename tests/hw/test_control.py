"""Control and register file alone: which error counts, for how long, and what clears it."""

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from amaranth.lib import wiring
from amaranth.sim import Simulator

from sigbit_hw.arch import regs
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.regs import Cause
from sigbit_hw.gateware.control.csr import Csr
from sigbit_hw.gateware.control.state import ERROR_SOURCES, Control


def simulate(dut: wiring.Component, test: Callable[[Any], Awaitable[None]]) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()


async def command(ctx: Any, dut: Control, value: int) -> None:
    ctx.set(dut.control, value)
    await ctx.tick()
    ctx.set(dut.control, 0)


def test_first_error_counts(rng: np.random.Generator) -> None:
    """Of errors in one cycle the first source's; it stays, whatever follows, until soft reset."""
    dut = Control()
    ports = [getattr(dut, f"error_{source}") for source in ERROR_SOURCES]

    async def report(ctx: Any) -> tuple[int, int]:
        causes = [int(c) for c in rng.integers(1, len(Cause), len(ports))]
        indices = [int(i) for i in rng.permutation(100)[: len(ports)]]
        valid = rng.random(len(ports)) < 0.5
        valid[rng.integers(len(ports))] = True
        for port, cause, index, present in zip(ports, causes, indices, valid, strict=True):
            ctx.set(port.cause, cause)
            ctx.set(port.index, index)
            ctx.set(port.valid, int(present))
        await ctx.tick()
        for port in ports:
            ctx.set(port.valid, 0)
        first = int(valid.argmax())
        return causes[first], indices[first]

    async def test(ctx: Any) -> None:
        ctx.set(dut.bus_idle, 1)
        for _ in range(40):
            await command(ctx, dut, regs.CONTROL_START)
            assert ctx.get(dut.running)
            expected = await report(ctx)
            for again in (False, True):
                await (command(ctx, dut, regs.CONTROL_START) if again else report(ctx))
                assert not ctx.get(dut.running)
                assert ctx.get(dut.status) == regs.STATUS_ERROR | regs.STATUS_BUS_IDLE
                assert (ctx.get(dut.cause), ctx.get(dut.cause_index)) == expected
            await command(ctx, dut, regs.CONTROL_SOFT_RESET)
            assert ctx.get(dut.status) == regs.STATUS_BUS_IDLE
            assert (ctx.get(dut.cause), ctx.get(dut.cause_index)) == (Cause.NONE, 0)

    simulate(dut, test)


@pytest.mark.parametrize("limit", [0, 20, 1 << 31 | 20])
def test_watchdog(limit: int) -> None:
    """Nothing for WATCHDOG cycles, a number of 32 bits, is an error of the oldest instruction; 0
    disables it; any movement starts it anew."""
    dut = Control()

    async def test(ctx: Any) -> None:
        ctx.set(dut.bus_idle, 1)
        ctx.set(dut.watchdog, limit)
        ctx.set(dut.oldest, 7)
        await command(ctx, dut, regs.CONTROL_START)
        for movement in (
            "bus_progress",
            "compute_feeding",
            "act_written",
            "table_written",
            "setup_retired",
            "started",
            "retired",
        ):
            await ctx.tick().repeat(15)
            ctx.set(getattr(dut, movement), 1)
            await ctx.tick()
            ctx.set(getattr(dut, movement), 0)
        await ctx.tick().repeat(15)
        assert ctx.get(dut.running)
        await ctx.tick().repeat(100)
        assert ctx.get(dut.running) == (limit != 20)
        expected = (Cause.WATCHDOG, 7) if limit == 20 else (Cause.NONE, 0)
        assert (ctx.get(dut.cause), ctx.get(dut.cause_index)) == expected

    simulate(dut, test)


def test_watchdog_that_is_lowered_below_what_has_passed() -> None:
    """It fires at once."""
    dut = Control()

    async def test(ctx: Any) -> None:
        ctx.set(dut.bus_idle, 1)
        ctx.set(dut.watchdog, 1000)
        await command(ctx, dut, regs.CONTROL_START)
        await ctx.tick().repeat(50)
        assert ctx.get(dut.running)
        ctx.set(dut.watchdog, 20)
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.running)
        assert ctx.get(dut.cause) == Cause.WATCHDOG

    simulate(dut, test)


def test_setting_wins_over_clearing() -> None:
    """An interrupt raised in the cycle in which its bit is cleared is kept. The write takes effect
    at the end of the third cycle; what is raised before that is cleared."""
    dut = Csr(PRESETS["nano"])

    async def clear(ctx: Any, raised: int | None = None) -> None:
        """Clears the bit; raises it in one cycle, counted from that of the write."""
        ctx.set(dut.awaddr, regs.OFFSET["IRQ_STATUS"])
        ctx.set(dut.wdata, regs.IRQ_DONE)
        for signal, value in ((dut.wstrb, 15), (dut.bready, 1), (dut.awvalid, 1), (dut.wvalid, 1)):
            ctx.set(signal, value)
        for cycle in range(6):
            ctx.set(dut.irq_status, regs.IRQ_DONE if cycle == raised else 0)
            *_, taken = await ctx.tick().sample(dut.awready & dut.wready)
            if taken:
                ctx.set(dut.awvalid, 0)
                ctx.set(dut.wvalid, 0)

    async def status(ctx: Any) -> int:
        ctx.set(dut.araddr, regs.OFFSET["IRQ_STATUS"])
        ctx.set(dut.arvalid, 1)
        ctx.set(dut.rready, 1)
        await ctx.tick().until(dut.arready)
        ctx.set(dut.arvalid, 0)
        (value,) = await ctx.tick().sample(dut.rdata).until(dut.rvalid)
        return int(value)

    async def test(ctx: Any) -> None:
        for raised, kept in enumerate((0, 0, 1, 1, 1)):
            await clear(ctx, raised)
            assert await status(ctx) == kept * regs.IRQ_DONE
            await clear(ctx)
            assert await status(ctx) == 0

    simulate(dut, test)


def test_every_address_reads_its_register(rng: np.random.Generator) -> None:
    """Constants, values of the machine, and what software owns after a reset; elsewhere 0. The
    value is that of the second cycle after the address was offered, and comes one later."""
    config = PRESETS["nano"]
    dut = Csr(config)
    values = dict(dut.constants)
    expected = {}
    for register in dut.registers:
        if register.access is regs.Access.RO and register.name not in dut.constants:
            values[register.name] = int(rng.integers(1 << 32)) & register.mask
        value = values.get(register.name, regs.RW_RESET.get(register.name, 0))
        expected[register.offset] = value

    async def test(ctx: Any) -> None:
        for name in values.keys() - dut.constants.keys():
            ctx.set(getattr(dut, name.lower()), values[name])
        ctx.set(dut.rready, 1)
        for offset in range(0, 1 << regs.ADDRESS_BITS, 4):
            ctx.set(dut.araddr, offset | int(rng.integers(4)))
            ctx.set(dut.arvalid, 1)
            assert ctx.get(dut.arready)
            await ctx.tick()
            ctx.set(dut.arvalid, 0)
            await ctx.tick().repeat(2)
            assert ctx.get(dut.rvalid)
            assert ctx.get(dut.rdata) == expected.get(offset, 0), hex(offset)
            assert ctx.get(dut.rresp) == 0
            await ctx.tick()

    simulate(dut, test)


def test_one_write_at_a_time() -> None:
    """A second write is taken after the response of the first, however long that waits, and each
    has one response."""
    dut = Csr(PRESETS["nano"])

    async def test(ctx: Any) -> None:
        ctx.set(dut.awaddr, regs.OFFSET["WATCHDOG"])
        ctx.set(dut.wstrb, 15)
        for signal in (dut.awvalid, dut.wvalid):
            ctx.set(signal, 1)
        for number in (1, 2, 3):
            ctx.set(dut.wdata, number)
            await ctx.tick().until(dut.awready & dut.wready)
            await ctx.tick().until(dut.bvalid)
            for _ in range(8):
                assert ctx.get(dut.bvalid)
                assert not ctx.get(dut.awready | dut.wready)
                assert ctx.get(dut.watchdog) == number
                await ctx.tick()
            if number == 3:
                ctx.set(dut.awvalid, 0)
                ctx.set(dut.wvalid, 0)
            ctx.set(dut.bready, 1)
            await ctx.tick()
            ctx.set(dut.bready, 0)
            assert not ctx.get(dut.bvalid)
        for _ in range(8):
            await ctx.tick()
            assert not ctx.get(dut.bvalid)

    simulate(dut, test)
