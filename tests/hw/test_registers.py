"""What registers promise to a driver that errs: bits that do not exist, writes at the wrong time,
starts that are refused, interrupts of the run before."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.copies import copy
from sigbit_hw.arch import bus, launch, regs
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.regs import Access, Cause
from sigbit_hw.gateware.control.counters import Counters, CycleLimit
from sigbit_hw.gateware.control.csr import Csr, registers
from sigbit_sim.verification.machine import BASES, Machine

NANO = PRESETS["nano"]
TWO = replace(NANO, bus_bits=128, oc_lanes=8, ports=2)
CONFIGS = {"nano": NANO, "two": TWO}
SIZE = 1 << 15
IDLE = regs.STATUS_BUS_IDLE


def machine_of(config: ArchConfig, rng: np.random.Generator, **timing: Any) -> Machine:
    return Machine(config, rng.integers(0, 256, SIZE).astype(np.uint8), rng, **timing)


async def runs_well(machine: Machine, ctx: Any) -> None:
    size = 16 * machine.config.bus_bytes
    machine.window[0x6000 : 0x6000 + size] = 0
    assert await machine.run(ctx, copy(machine.config, 16)) == (regs.STATUS_DONE, 0, 0)
    window = machine.window
    assert (window[0x6000 : 0x6000 + size] == window[0x1000 : 0x1000 + size]).all()


@pytest.mark.parametrize("name", CONFIGS)
def test_bases_have_no_other_bits(name: str, rng: np.random.Generator) -> None:
    """A base is read as it is used, whatever is written to bits below its page and beyond the
    bus."""
    machine = machine_of(CONFIGS[name], rng)

    async def test(ctx: Any) -> None:
        noise = {}
        for port in range(machine.config.ports):
            low, high = regs.base_names(port)
            noise |= {low: 0xABC, high: 0xABCDEF00}
            noise[low] |= BASES[port] & regs.WORD_MAX
            noise[high] |= BASES[port] >> regs.WORD_BITS
        assert await machine.run(ctx, copy(machine.config, 16), **noise) == (regs.STATUS_DONE, 0, 0)
        for port in range(machine.config.ports):
            low, high = [await machine.read(ctx, n) for n in regs.base_names(port)]
            assert high << regs.WORD_BITS | low == BASES[port]
        await runs_well(machine, ctx)

    machine.simulate(test)


@pytest.mark.parametrize("name", CONFIGS)
def test_windows_end_where_the_bus_ends(name: str, rng: np.random.Generator) -> None:
    """A start fails, before anything is on the bus, if the window of some port wraps; at the very
    end of the addresses it is used."""
    config = CONFIGS[name]
    machine = machine_of(config, rng)
    top = (1 << bus.ADDRESS_BITS) - SIZE // config.ports

    async def test(ctx: Any) -> None:
        for port, memory in enumerate(machine.buses):
            low, high = regs.base_names(port)
            for base in (top + bus.PAGE_BYTES, (1 << bus.ADDRESS_BITS) - bus.PAGE_BYTES):
                moved = {low: base & regs.WORD_MAX, high: base >> regs.WORD_BITS}
                result = await machine.run(ctx, copy(config, 16), **moved)
                assert result == (regs.STATUS_ERROR, Cause.BASE, 0)
                assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_ERROR
                assert await machine.read(ctx, "CYCLES") == 0
                assert not memory.read_bursts
                await machine.reset(ctx)
            moved = {low: top & regs.WORD_MAX, high: top >> regs.WORD_BITS}
            result = await machine.run(ctx, copy(config, 16), **moved)
            assert result == (regs.STATUS_ERROR, Cause.READ_DECERR, 0)
            assert memory.read_bursts[-1][0] >= top
            await machine.reset(ctx)
            for each in machine.buses:
                each.read_bursts.clear()
        size = SIZE + config.bus_bytes
        moved = {low: top & regs.WORD_MAX, high: top >> regs.WORD_BITS, "MEM_SIZE": size}
        result = await machine.run(ctx, copy(config, 16), **moved)
        assert result == (regs.STATUS_ERROR, Cause.BASE, 0)
        await machine.reset(ctx)
        await runs_well(machine, ctx)

    machine.simulate(test)


def test_registers_of_a_run_are_locked(rng: np.random.Generator) -> None:
    """While it runs, and while the bus is not idle, they keep their values and the refusal has a
    sign; the interrupt's own registers can be written at any time."""
    machine = machine_of(NANO, rng, latency=(20, 40), stall=0.2)
    names = [r.name for r in registers(NANO) if r.access is Access.SETUP]
    assert len(names) > 6

    async def refused(ctx: Any) -> None:
        for name in names:
            before = await machine.read(ctx, name)
            await machine.write(ctx, name, before ^ regs.WORD_MAX)
            assert await machine.read(ctx, name) == before, name
            assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_REFUSED, name
            assert ctx.get(machine.dut.irq)
            await machine.write(ctx, "IRQ_STATUS", regs.IRQ_REFUSED)
            assert not ctx.get(machine.dut.irq)
        await machine.write(ctx, "IRQ_ENABLE", 0)
        assert await machine.read(ctx, "IRQ_ENABLE") == 0
        await machine.write(ctx, "IRQ_ENABLE", launch.INTERRUPTS)

    async def test(ctx: Any) -> None:
        machine.bus.hung = True
        await machine.start(ctx, copy(NANO, 16), WATCHDOG=1 << 20)
        await refused(ctx)
        machine.bus.hung = False
        assert await machine.finish(ctx) == (regs.STATUS_DONE, 0, 0)
        assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_DONE
        await machine.start(ctx, copy(NANO, 16))
        while not machine.bus.busy:
            await ctx.tick()
        machine.bus.hung = True
        await machine.write(ctx, "CONTROL", regs.CONTROL_SOFT_RESET)
        assert await machine.read(ctx, "STATUS") == 0
        await refused(ctx)
        machine.bus.hung = False
        while not await machine.read(ctx, "STATUS") & IDLE:
            pass
        await runs_well(machine, ctx)

    machine.simulate(test)


def test_a_start_is_refused_with_a_sign(rng: np.random.Generator) -> None:
    """Busy, in error, or with a bus that is not idle; a soft reset in the same write wins."""
    machine = machine_of(NANO, rng, latency=(20, 40))

    async def refused(ctx: Any, status: int) -> None:
        for _ in range(2):
            await machine.write(ctx, "IRQ_STATUS", launch.INTERRUPTS)
            await machine.write(ctx, "CONTROL", regs.CONTROL_START)
            assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_REFUSED
            assert await machine.read(ctx, "STATUS") == status

    async def test(ctx: Any) -> None:
        machine.bus.hung = True
        await machine.start(ctx, copy(NANO, 16), WATCHDOG=600)
        await refused(ctx, regs.STATUS_BUSY)
        while await machine.read(ctx, "STATUS") & regs.STATUS_BUSY:
            pass
        await refused(ctx, regs.STATUS_ERROR)
        await machine.write(ctx, "CONTROL", regs.CONTROL_SOFT_RESET)
        assert await machine.read(ctx, "IRQ_STATUS") == 0
        await refused(ctx, 0)
        machine.bus.hung = False
        while not await machine.read(ctx, "STATUS") & IDLE:
            pass
        await machine.write(ctx, "IRQ_STATUS", launch.INTERRUPTS)
        await machine.write(ctx, "CONTROL", regs.CONTROL_START | regs.CONTROL_SOFT_RESET)
        assert await machine.read(ctx, "STATUS") == IDLE
        assert await machine.read(ctx, "IRQ_STATUS") == 0
        await runs_well(machine, ctx)

    machine.simulate(test)


def test_a_start_ends_the_interrupts_before_it(rng: np.random.Generator) -> None:
    """Whoever waits for the interrupt waits for the run that was started."""
    machine = machine_of(NANO, rng, latency=(10, 20))

    async def test(ctx: Any) -> None:
        await machine.start(ctx, copy(NANO, 16))
        assert await machine.finish(ctx) == (regs.STATUS_DONE, 0, 0)
        assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_DONE
        await machine.write(ctx, "CONTROL", regs.CONTROL_START)
        assert not ctx.get(machine.dut.irq), "the line is still that of the run before"
        assert await machine.read(ctx, "IRQ_STATUS") == 0
        assert await machine.finish(ctx) == (regs.STATUS_DONE, 0, 0)
        await machine.write(ctx, "CONTROL", regs.CONTROL_START)
        await machine.write(ctx, "MEM_SIZE", 0)
        assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_REFUSED
        while await machine.read(ctx, "STATUS") & regs.STATUS_BUSY:
            pass
        await machine.write(ctx, "CONTROL", regs.CONTROL_START)
        assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_REFUSED, "forgotten by the start"

    machine.simulate(test)


def test_a_write_that_is_answered_has_its_effect(rng: np.random.Generator) -> None:
    """On the interrupt line too, in the cycle of the answer: whoever enables interrupts again after
    it sees no old one."""
    dut = Csr(NANO)

    async def write(ctx: Any, name: str, value: int) -> int:
        """The interrupt line when the write is answered."""
        ctx.set(dut.awaddr, regs.OFFSET[name])
        ctx.set(dut.wdata, value)
        for signal, bits in ((dut.wstrb, 15), (dut.awvalid, 1), (dut.wvalid, 1)):
            ctx.set(signal, bits)
        await ctx.tick().until(dut.awready & dut.wready)
        ctx.set(dut.awvalid, 0)
        ctx.set(dut.wvalid, 0)
        ctx.set(dut.bready, 1)
        (line,) = await ctx.tick().sample(dut.irq).until(dut.bvalid)
        ctx.set(dut.bready, 0)
        return int(line)

    async def test(ctx: Any) -> None:
        for _ in range(5):
            ctx.set(dut.irq_status, regs.IRQ_DONE)
            await ctx.tick()
            ctx.set(dut.irq_status, 0)
            await ctx.tick().repeat(int(rng.integers(1, 5)))
            assert await write(ctx, "IRQ_ENABLE", regs.IRQ_ERROR) == 0
            assert await write(ctx, "IRQ_ENABLE", launch.INTERRUPTS) == 1
            assert await write(ctx, "IRQ_STATUS", regs.IRQ_ERROR) == 1
            assert await write(ctx, "IRQ_STATUS", regs.IRQ_DONE) == 0

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()


def test_a_second_write_waits_for_the_first_ones_answer(rng: np.random.Generator) -> None:
    """Whatever is offered while an answer waits is accepted after it was taken; every write has an
    answer of its own."""
    dut = Csr(NANO)
    values = [int(v) for v in rng.integers(0, 1 << 32, 8)]

    async def test(ctx: Any) -> None:
        ctx.set(dut.awaddr, regs.OFFSET["WRITE_LO"])
        ctx.set(dut.wstrb, 15)
        for before, value in zip([0, *values], values, strict=False):
            for signal in (dut.awvalid, dut.wvalid):
                ctx.set(signal, 1)
            ctx.set(dut.wdata, value)
            await ctx.tick().until(dut.awready & dut.wready)
            assert ctx.get(dut.write_lo) == before
            ctx.set(dut.wdata, value ^ regs.WORD_MAX)
            await ctx.tick().until(dut.bvalid)
            for _ in range(int(rng.integers(1, 9))):
                assert (ctx.get(dut.awready), ctx.get(dut.bvalid)) == (0, 1)
                assert ctx.get(dut.write_lo) == value
                await ctx.tick()
            for signal in (dut.awvalid, dut.wvalid):
                ctx.set(signal, 0)
            ctx.set(dut.bready, 1)
            await ctx.tick()
            ctx.set(dut.bready, 0)
            for _ in range(6):
                assert (ctx.get(dut.awready), ctx.get(dut.bvalid)) == (0, 0)
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()


def test_attributes_are_on_every_transfer(rng: np.random.Generator) -> None:
    """AxCACHE, AxPROT and AxQOS of both directions and all ports are those of the register, and
    nothing else is ever offered while the accelerator is not idle."""
    machine = machine_of(TWO, rng, latency=(2, 10), stall=0.2)
    seen: set[tuple[int, ...]] = set()

    async def watch(ctx: Any) -> None:
        names = [
            f"m_axi{port}_{way}{name}"
            for port in (0, 1)
            for way in ("ar", "aw")
            for name in ("valid", *bus.ATTRIBUTES)
        ]
        sampled = ctx.tick().sample(*(getattr(machine.dut, name) for name in names))
        async for _, _, *values in sampled:
            for k in range(0, len(values), 4):
                if values[k]:
                    seen.add(tuple(values[k + 1 : k + 4]))

    async def test(ctx: Any) -> None:
        assert await machine.read(ctx, "BUS_ATTRIBUTES") == bus.NOT_COHERENT.word
        assert await machine.run(ctx, copy(TWO, 16)) == (regs.STATUS_DONE, 0, 0)
        assert seen == {(bus.NOT_COHERENT.cache, 0, 0)}
        for _ in range(3):
            chosen = bus.Attributes(*(int(rng.integers(1 << bits)) for bits in (4, 3, 4)))
            seen.clear()
            result = await machine.run(ctx, copy(TWO, 16), BUS_ATTRIBUTES=chosen.word)
            assert result == (regs.STATUS_DONE, 0, 0)
            assert seen == {(chosen.cache, chosen.prot, chosen.qos)}

    machine.simulate(test, watch)


def test_capabilities(rng: np.random.Generator) -> None:
    machine = machine_of(TWO, rng)

    async def test(ctx: Any) -> None:
        for name, value in launch.capabilities(TWO).items():
            assert await machine.read(ctx, name) == value, name
            await machine.write(ctx, name, ~value & regs.WORD_MAX)
            assert await machine.read(ctx, name) == value, name

    machine.simulate(test)


def test_a_run_ends_at_its_limit(rng: np.random.Generator) -> None:
    """Not before, and not much later; a run before it, however long, does not count."""
    machine = machine_of(NANO, rng, latency=(20, 40))

    async def test(ctx: Any) -> None:
        assert await machine.run(ctx, copy(NANO, 16)) == (regs.STATUS_DONE, 0, 0)
        cycles = await machine.read(ctx, "CYCLES")
        for limit in (1, 2, cycles // 2, cycles - 100):
            result = await machine.run(ctx, copy(NANO, 16), CYCLE_LIMIT_LO=limit)
            assert result[:2] == (regs.STATUS_ERROR, Cause.CYCLE_LIMIT)
            assert limit <= await machine.read(ctx, "CYCLES") <= limit + 8
            await machine.reset(ctx)
            long = {"CYCLE_LIMIT_LO": 5 * cycles}
            assert await machine.run(ctx, copy(NANO, 16), **long) == (regs.STATUS_DONE, 0, 0)
        for high in (1, 1 << 31):
            words = {"CYCLE_LIMIT_LO": 0, "CYCLE_LIMIT_HI": high}
            assert await machine.run(ctx, copy(NANO, 16), **words) == (regs.STATUS_DONE, 0, 0)
        await runs_well(machine, ctx)

    machine.simulate(test)


def test_limits_of_two_words(rng: np.random.Generator) -> None:
    dut = CycleLimit()
    cases = [(0, 0, 0), (7, 0, 0), (1 << 40, 0, 0)]
    for _ in range(60):
        limit = int(rng.integers(1, 1 << 63)) >> int(rng.integers(0, 62))
        for cycles in {limit, limit - 1, limit + 1, limit ^ 1 << 32, limit ^ 1 << 3}:
            if limit:
                cases.append((cycles, limit, int(cycles >= limit)))

    async def test(ctx: Any) -> None:
        for cycles, limit, reached in cases:
            ctx.set(dut.cycles, cycles)
            ctx.set(dut.limit, limit)
            await ctx.tick().repeat(2)
            assert ctx.get(dut.reached) == reached, (cycles, limit)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            assert ctx.get(dut.reached) == 0

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()


def test_counters_say_that_they_have_wrapped(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With counters of six bits: CYCLES has a high word, the others a bit each in OVERFLOW."""
    monkeypatch.setattr("sigbit_hw.gateware.control.counters._WORD", 6)
    dut = Counters()
    names = [name.lower() for name, _ in regs.COUNTERS]

    async def test(ctx: Any) -> None:
        for cycles in (63, 64, 65, 400, 3000):
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            ctx.set(dut.enable, 1)
            total = dict.fromkeys(names, 0)
            rates = {name: float(rng.random() ** 4) for name in names} | {"cycles": 2.0}
            for _ in range(cycles):
                for name in names:
                    more = int(rng.random() < rates[name])
                    ctx.set(getattr(dut, f"add_{name}"), more)
                    total[name] += more
                await ctx.tick()
            ctx.set(dut.enable, 0)
            await ctx.tick()
            assert ctx.get(dut.cycles) | ctx.get(dut.cycles_hi) << 6 == total["cycles"] == cycles
            for i, name in enumerate(names[1:], 1):
                assert ctx.get(getattr(dut, name)) == total[name] % 64, name
                assert ctx.get(dut.overflow) >> i & 1 == (total[name] >= 64), name
            assert ctx.get(dut.overflow) & 1 == 0

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()
