"""Every error cause: raised with its index, the machine stopped cleanly, recovered by soft
reset."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sigbit_hw.arch import isa, regs
from sigbit_hw.arch.bus import Response
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import Instr, LoadKind
from sigbit_hw.arch.regs import Cause
from sigbit_sim.verification.machine import BASE, Machine

CONFIG = PRESETS["nano"]
SIZE = 1 << 15
HALT = isa.Halt()
GOOD = [
    isa.Load(kind=LoadKind.ACTS, address=0x1000, dst=0, n0=64, beats=16, signal=4),
    isa.Store(address=0x6000, src=0, n0=64, beats=16, wait=1),
    HALT,
]
LOAD, STORE = replace(GOOD[0], signal=0), replace(GOOD[1], wait=0)
EXEC = isa.Exec(run=10, n_seg=1)


def raw(program: list[Instr], index: int, change: Callable[[int], int]) -> np.ndarray:
    """The program's bytes with one instruction word changed."""
    words = [i.encode() for i in program]
    words[index] = change(words[index])
    return np.frombuffer(b"".join(w.to_bytes(isa.WORD_BYTES, "little") for w in words), np.uint8)


@pytest.fixture
def machine(rng: np.random.Generator) -> Machine:
    memory = rng.integers(0, 256, SIZE).astype(np.uint8)
    return Machine(CONFIG, memory, rng, latency=(3, 30), stall=0.2)


async def recover(machine: Machine, ctx: Any) -> None:
    """Start is refused until a soft reset; then a good program runs, and the registers have kept
    their values."""
    await machine.write(ctx, "CONTROL", regs.CONTROL_START)
    assert await machine.read(ctx, "STATUS") & ~regs.STATUS_BUS_IDLE == regs.STATUS_ERROR
    assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_ERROR | regs.IRQ_REFUSED
    await machine.reset(ctx)
    assert await machine.read(ctx, "STATUS") == regs.STATUS_BUS_IDLE
    assert not machine.bus.busy
    assert await machine.read(ctx, "MEM_SIZE") == SIZE
    for name in ("CAUSE", "CAUSE_INDEX", "IRQ_STATUS", "CYCLES", "RETIRED"):
        assert await machine.read(ctx, name) == 0, name
    assert ctx.get(machine.dut.irq) == 0
    machine.bus.faults.clear()
    machine.window[0x6000:0x6080] = 0
    assert await machine.run(ctx, GOOD) == (regs.STATUS_DONE, 0, 0)
    assert (machine.window[0x6000:0x6080] == machine.window[0x1000:0x1080]).all()
    assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_DONE


def expect(
    machine: Machine, program: list[Instr] | np.ndarray, cause: Cause, index: int, **registers: int
) -> None:
    async def test(ctx: Any) -> None:
        result = await machine.run(ctx, program, **registers)
        assert result == (regs.STATUS_ERROR, cause, index)
        await recover(machine, ctx)

    machine.simulate(test)


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (1, lambda w: w & ~15),  # opcode 0
        (0, lambda w: w & ~15 | 12),
        (1, lambda w: w | 1 << 255),  # spare bit
        (0, lambda w: w | 1 << 4),  # LOAD waits for LOAD
        (1, lambda w: w | 1 << 9),  # STORE signals STORE
        (2, lambda w: w | 1 << 4),  # HALT waits
        (2, lambda w: w | 1 << 8),  # HALT signals
    ],
)
def test_illegal_words(machine: Machine, index: int, change: Callable[[int], int]) -> None:
    expect(machine, raw([LOAD, STORE, HALT], index, change), Cause.ILLEGAL, index)


@pytest.mark.parametrize(
    ("program", "index"),
    [
        ([LOAD, replace(LOAD, address=0x1004), HALT], 1),
        ([LOAD, replace(STORE, address=0x6001), HALT], 1),
        ([LOAD, replace(LOAD, beats=15), HALT], 1),
        ([replace(LOAD, beats=17), HALT], 0),
        ([replace(STORE, beats=15), HALT], 0),
        ([replace(STORE, beats=17), HALT], 0),
        ([LOAD, LOAD], 1),  # no HALT
    ],
)
def test_illegal_uses(machine: Machine, program: list[Instr], index: int) -> None:
    expect(machine, program, Cause.ILLEGAL, index)


@pytest.mark.parametrize(
    "registers", [{"PROGRAM_COUNT": 0}, {"PROGRAM_COUNT": 1 << 24}, {"PROGRAM_OFFSET": 32}]
)
def test_illegal_registers(machine: Machine, registers: dict[str, int]) -> None:
    expect(machine, GOOD, Cause.ILLEGAL, 0, **registers)


@pytest.mark.parametrize(
    ("program", "index", "registers"),
    [
        ([LOAD, replace(LOAD, address=SIZE - 0x78), HALT], 1, {}),
        ([replace(LOAD, address=0xFFFF_FFF8), HALT], 0, {}),
        ([replace(STORE, address=SIZE - 0x78), HALT], 0, {}),
        ([STORE, HALT], 0, {"WRITE_LO": 0x6001}),
        ([STORE, HALT], 0, {"WRITE_HI": 0x607F}),
        (GOOD, 0, {"MEM_SIZE": 95}),
    ],
)
def test_window(
    machine: Machine, program: list[Instr], index: int, registers: dict[str, int]
) -> None:
    async def test(ctx: Any) -> None:
        result = await machine.run(ctx, program, **registers)
        assert result == (regs.STATUS_ERROR, Cause.WINDOW, index)
        assert not machine.bus.strobed
        limit = BASE + registers.get("MEM_SIZE", SIZE)
        assert all(address + 8 * beats <= limit for address, beats in machine.bus.read_bursts)
        while not await machine.read(ctx, "STATUS") & regs.STATUS_BUS_IDLE:
            pass
        await machine.write(ctx, "MEM_SIZE", SIZE)
        await recover(machine, ctx)

    machine.simulate(test)


@pytest.mark.parametrize(
    ("resp", "read", "write"),
    [
        (Response.SLVERR, Cause.READ_SLVERR, Cause.WRITE_SLVERR),
        (Response.DECERR, Cause.READ_DECERR, Cause.WRITE_DECERR),
    ],
)
@pytest.mark.parametrize("where", ["fetch", "fetch_first", "load", "store"])
def test_bus_errors(machine: Machine, where: str, resp: int, read: Cause, write: Cause) -> None:
    program = [replace(LOAD, address=0x2000), *GOOD]
    address = {
        "fetch": 2 * isa.WORD_BYTES + 8,
        "fetch_first": 2 * isa.WORD_BYTES,
        "load": 0x1040,
        "store": 0x6078,
    }[where]
    machine.bus.faults[BASE + address] = resp
    expect(machine, program, write if where == "store" else read, 1 if where == "load" else 2)


def test_token_underflow(machine: Machine) -> None:
    expect(machine, [LOAD, replace(EXEC, wait=4), STORE, HALT], Cause.TOKEN_UNDERFLOW, 1)


def test_token_underflow_with_a_full_queue(machine: Machine) -> None:
    """The giver comes behind more instructions than the queue holds: it can never be dispatched."""
    waiting = [replace(EXEC, wait=1)] * (CONFIG.queue_depth + 1)
    expect(machine, [LOAD, *waiting, replace(LOAD, signal=2), HALT], Cause.TOKEN_UNDERFLOW, 1)


def test_token_overflow(machine: Machine) -> None:
    fills = [isa.Fill(dst=0, n0=2, signal=2)] * (isa.TOKEN_MAX + 2)
    expect(machine, [*fills, HALT], Cause.TOKEN_OVERFLOW, isa.TOKEN_MAX)


@pytest.mark.parametrize("where", ["fetch", "load", "store"])
def test_watchdog_and_hung_bus(machine: Machine, where: str) -> None:
    """The bus stops in the middle; it is reported as not idle until it answers; then the machine
    recovers."""

    async def test(ctx: Any) -> None:
        machine.bus.hung = where == "fetch"
        await machine.start(ctx, GOOD, WATCHDOG=200)
        bursts = machine.bus.write_bursts if where == "store" else machine.bus.read_bursts
        while where != "fetch" and not (bursts and bursts[-1][0] >= BASE + 0x1000):
            await ctx.tick()
        machine.bus.hung = True
        result = await machine.finish(ctx)
        assert result == (regs.STATUS_ERROR, Cause.WATCHDOG, int(where == "store"))
        await machine.write(ctx, "CONTROL", regs.CONTROL_SOFT_RESET)
        await ctx.tick().repeat(300)
        assert await machine.read(ctx, "STATUS") == 0
        await machine.write(ctx, "CONTROL", regs.CONTROL_START)
        assert await machine.read(ctx, "STATUS") == 0, "started on a bus that was not idle"
        strobed = len(machine.bus.strobed)
        machine.bus.hung = False
        while not await machine.read(ctx, "STATUS") & regs.STATUS_BUS_IDLE:
            pass
        assert not machine.bus.busy
        # One beat may have waited on the bus with its strobes; the others came with none.
        assert len(machine.bus.strobed) <= strobed + CONFIG.bus_bytes
        assert await machine.run(ctx, GOOD) == (regs.STATUS_DONE, 0, 0)
        assert (machine.window[0x6000:0x6080] == machine.window[0x1000:0x1080]).all()

    machine.simulate(test)


def test_soft_reset_while_running(machine: Machine) -> None:
    async def test(ctx: Any) -> None:
        for cycles in (10, 60, 110, 160, 210):
            await machine.start(ctx, [LOAD, STORE, LOAD, STORE, HALT])
            await ctx.tick().repeat(cycles)
            await machine.reset(ctx)
            assert await machine.read(ctx, "STATUS") == regs.STATUS_BUS_IDLE
            assert not machine.bus.busy
        assert await machine.run(ctx, GOOD) == (regs.STATUS_DONE, 0, 0)

    machine.simulate(test)
