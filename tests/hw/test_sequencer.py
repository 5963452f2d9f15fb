"""Decode against ``isa.decode``; dispatch, queues and tokens; the register file."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from sigbit_hw.arch import isa, regs
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import Engine, Instr, LoadKind, Opcode
from sigbit_hw.arch.regs import Cause
from sigbit_hw.arch.timing import IN_FLIGHT, SETTLE
from sigbit_hw.gateware.control.csr import registers
from sigbit_hw.gateware.control.decode import Decode
from sigbit_hw.gateware.control.sequencer import EngineQueue, Sequencer, Tokens
from sigbit_sim.verification.machine import Machine

CONFIG = PRESETS["nano"]
HALT = isa.Halt()


def random_word(rng: np.random.Generator) -> int:
    """Legal words, words that break one rule, and noise."""
    opcode = list(Opcode)[rng.integers(len(Opcode))]
    fields = isa.fields_of(opcode)
    size = sum(f.width for f in fields)
    word = int.from_bytes(rng.bytes(isa.WORD_BYTES), "little") & (1 << size) - 1
    word = word & ~0x3FF | opcode
    if opcode in isa.ENGINE_OF:
        others = 7 & ~(1 << isa.ENGINE_OF[opcode])
        word |= (int(rng.integers(8)) & others) << 4
        if opcode in isa.SIGNALLING:
            word |= (int(rng.integers(8)) & others) << 7
    if rng.random() < 0.5:
        fault = rng.integers(5)
        position = np.cumsum([0] + [f.width for f in fields])
        if fault == 0 and size < isa.WORD_BITS:
            word |= 1 << int(rng.integers(size, isa.WORD_BITS))
        elif fault == 1:
            word ^= 1 << int(rng.integers(10))
        elif fault == 2:
            word = word & ~15 | int(rng.integers(16))
        elif bounded := [k for k, f in enumerate(fields) if f.least is not None]:
            k = int(rng.choice(bounded))
            word &= ~(((1 << fields[k].width) - 1) << int(position[k]))
    return word


def legal(word: int, last: bool) -> bool:
    try:
        instr = isa.decode(word)
    except ValueError:
        return False
    return instr.opcode == Opcode.HALT or not last


def test_decode_agrees_with_isa(rng: np.random.Generator) -> None:
    words = [(random_word(rng), bool(rng.random() < 0.2)) for _ in range(1500)]
    verdicts = [legal(*word) for word in words]
    assert 200 < sum(verdicts) < 1300
    dut = Decode()
    seen = []

    async def feed(ctx: Any) -> None:
        for index, (word, last) in enumerate(words):
            ctx.set(dut.i.payload, {"word": word, "index": index, "last": last})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(int(rng.integers(0, 2)) + 1)

    async def drain(ctx: Any) -> None:
        while len(seen) < len(words):
            ctx.set(dut.o.ready, 1)
            (item,) = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
            seen.append((item.word, item.index, item.engine, item.halt, item.legal))
            ctx.set(dut.o.ready, 0)
            await ctx.tick().repeat(int(rng.integers(0, 3)) + 1)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(feed, background=True)
    simulator.add_testbench(drain)
    simulator.run()
    assert [s[4] for s in seen] == verdicts
    assert [s[0] for s in seen] == [word for word, _ in words]
    assert [s[1] for s in seen] == list(range(len(words)))
    for word, _, engine, halt, ok in seen:
        opcode = word & 15
        if ok:
            assert halt == (opcode == Opcode.HALT)
            assert engine == (0 if halt else 1 << isa.ENGINE_OF[Opcode(opcode)])


@pytest.mark.parametrize("giver", Engine)
def test_token_counters(giver: Engine, rng: np.random.Generator) -> None:
    """A taker sees a token from the cycle after it was given until it has taken the last one. One
    more than ``TOKEN_MAX`` is an error a cycle later, of the instruction that gave it."""
    dut = Tokens()
    takers = [taker for taker in Engine if taker != giver]
    retire = getattr(dut, f"retire_{giver.name.lower()}")
    given = dict.fromkeys(takers, 0)
    most = 0

    async def bench(ctx: Any) -> None:
        nonlocal most
        exceeded = None
        for cycle in range(1000):
            error = dut.error
            ctx.set(retire.index, cycle)
            if exceeded is not None:
                assert ctx.get(error.valid)
                assert ctx.get(error.cause) == Cause.TOKEN_OVERFLOW
                assert ctx.get(error.index) == exceeded
                return
            assert not ctx.get(error.valid)
            valid, signal = int(rng.integers(2)), int(rng.integers(8)) & ~(1 << giver)
            ctx.set(retire.valid, valid)
            ctx.set(retire.signal, signal)
            for taker in takers:
                name = taker.name.lower()
                assert ctx.get(getattr(dut, f"tokens_{name}")) == (given[taker] > 0) << giver
                give = valid & signal >> taker & 1
                # First as many as are given, then fewer.
                take = bool(given[taker]) and rng.random() < (0.4 if cycle < 200 else 0.1)
                ctx.set(getattr(dut, f"take_{name}"), take << giver)
                given[taker] += give - take
                if given[taker] > isa.TOKEN_MAX:
                    exceeded = cycle
            most = max(most, *given.values())
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert most == isa.TOKEN_MAX + 1


def test_instructions_in_flight() -> None:
    """An engine gets ``IN_FLIGHT`` signalling instructions, then one for each that has finished,
    whether or not another one enters in that cycle; others are not counted."""
    dut = EngineQueue(CONFIG, Engine.COMPUTE)
    program = [isa.Seg(), *[isa.Exec(run=1)] * 20]
    entered: list[int] = []
    started: list[tuple[int, int]] = []
    # In cycle 61 one enters while another finishes.
    finish = (50, 60, 61, 62, 70)

    async def bench(ctx: Any) -> None:
        in_flight = 0
        waiting = list(enumerate(instr.encode() for instr in program))
        ctx.set(dut.o.ready, 1)
        for cycle in range(100):
            assert ctx.get(dut.executing) == (in_flight > 0)
            ctx.set(dut.i.valid, bool(waiting))
            if waiting:
                word = waiting[0][1] & (1 << len(dut.i.p.word)) - 1
                ctx.set(dut.i.payload, {"word": word, "index": waiting[0][0]})
            ctx.set(dut.retired, cycle in finish or (cycle >= 80 and in_flight > 0))
            if waiting and ctx.get(dut.i.ready):
                waiting.pop(0)
            if ctx.get(dut.o.valid):
                entered.append(ctx.get(dut.o.p.index))
            if ctx.get(dut.start.valid):
                started.append((cycle, ctx.get(dut.start.index)))
                assert started[-1][1] == entered[-1]
            in_flight += ctx.get(dut.start.valid) - ctx.get(dut.retired)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert entered[: IN_FLIGHT + 1] == list(range(IN_FLIGHT + 1))
    assert [index for _, index in started] == entered[1:]
    later = [cycle for cycle, _ in started[IN_FLIGHT:]]
    assert later[:5] == [cycle + 1 for cycle in finish]
    assert len(started) == 20


@pytest.mark.parametrize(
    ("program", "ended"),
    [
        ([HALT], None),
        ([isa.Exec(run=1), HALT], None),
        # The giver cannot be dispatched, as the queue is full, or as there is none.
        ([isa.Exec(run=1, wait=1)] * (CONFIG.queue_depth + 3), Cause.TOKEN_UNDERFLOW),
        ([isa.Exec(run=1, wait=1), HALT], Cause.TOKEN_UNDERFLOW),
    ],
)
def test_standstill(program: list[Instr], ended: Cause | None) -> None:
    """It is the end after HALT, and an error if a head waits for a token. With room in the queue,
    the giver may still come."""
    dut = Sequencer(CONFIG)
    happened: list[tuple[bool, bool, int, int]] = []
    last_taken = 0

    async def bench(ctx: Any) -> None:
        nonlocal last_taken
        ctx.set(dut.fetch_quiet, 1)
        ctx.set(dut.o_compute.ready, 1)
        waiting = list(enumerate(program))
        retiring: list[tuple[int, int]] = []
        for cycle in range(70):
            # The last instruction arrives late.
            here = bool(waiting) and (len(waiting) > 1 or cycle >= 40)
            ctx.set(dut.i.valid, here)
            if here:
                index, instr = waiting[0]
                halt = instr.opcode == Opcode.HALT
                engine = 0 if halt else 1 << isa.ENGINE_OF[instr.opcode]
                decoded = {"word": instr.encode(), "index": index, "engine": engine}
                ctx.set(dut.i.payload, {**decoded, "halt": halt, "legal": 1})
            retires = bool(retiring) and retiring[0][0] == cycle
            ctx.set(dut.retire_compute.valid, retires)
            if retires:
                ctx.set(dut.retire_compute.index, retiring.pop(0)[1])
            if here and ctx.get(dut.i.ready):
                waiting.pop(0)
                last_taken = cycle
            if ctx.get(dut.o_compute.valid):
                retiring.append((cycle + 6, ctx.get(dut.o_compute.p.index)))
            done, error = ctx.get(dut.done), ctx.get(dut.error.valid)
            if done or error:
                cause, index = ctx.get(dut.error.cause), ctx.get(dut.error.index)
                happened.append((cycle, done, cause, index))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    first, done, cause, index = happened[0]
    assert done == (ended is None)
    if ended is not None:
        assert (cause, index) == (ended, 0)
    full = len(program) > CONFIG.queue_depth
    begin = last_taken + 1 if full else 40
    assert begin + SETTLE <= first <= begin + SETTLE + 3


def machine_of(rng: np.random.Generator) -> Machine:
    return Machine(CONFIG, np.zeros(1 << 15, np.uint8), rng, latency=(1, 20), stall=0.1)


def random_program(rng: np.random.Generator, length: int) -> list[Instr]:
    """FILL, SEG, EXEC and STORE with random tokens that are given before they are taken."""
    body = {
        Engine.LOAD: [isa.Fill(dst=8, n0=3)],
        Engine.COMPUTE: [isa.Seg(), isa.Exec(run=7), isa.Exec(run=40)],
        Engine.STORE: [isa.Store(address=0x4000, src=0, n0=8, beats=2)],
    }
    given = {(g, t): 0 for g in Engine for t in Engine}
    program = []
    for _ in range(length):
        engine = list(Engine)[rng.integers(3)]
        choices = body[engine]
        instr = choices[rng.integers(len(choices))]
        wait = sum(1 << g for g in Engine if given[g, engine] and rng.random() < 0.7)
        for g in Engine:
            given[g, engine] -= wait >> g & 1
        signal = 0
        if instr.opcode in isa.SIGNALLING:
            targets = [t for t in Engine if t != engine and given[engine, t] < isa.TOKEN_MAX - 1]
            signal = sum(1 << t for t in targets if rng.random() < 0.4)
            for t in Engine:
                given[engine, t] += signal >> t & 1
        program.append(replace(instr, wait=wait, signal=signal))
    return [*program, HALT]


@pytest.mark.parametrize("case", range(4))
def test_tokens_order_engines(case: int, rng: np.random.Generator) -> None:
    """Engines start and finish in program order, and never before the giver of each token has
    finished."""
    program = random_program(rng, 60)
    machine = machine_of(rng)

    async def test(ctx: Any) -> None:
        assert await machine.run(ctx, program) == (regs.STATUS_DONE, 0, 0)
        assert await machine.read(ctx, "RETIRED") == len(program) - 1

    machine.simulate(test)
    starts = {index: cycle for cycle, event, _, index in machine.events if event == "start"}
    retires = {index: cycle for cycle, event, _, index in machine.events if event == "retire"}
    tracked = [i for i, instr in enumerate(program) if instr.opcode in isa.SIGNALLING]
    assert sorted(starts) == sorted(retires) == tracked
    given: dict[tuple[Engine, Engine], list[int]] = {(g, t): [] for g in Engine for t in Engine}
    edges = 0
    after: dict[Engine, int] = dict.fromkeys(Engine, 0)
    for index, instr in enumerate(program[:-1]):
        engine = isa.ENGINE_OF[instr.opcode]
        for giver in Engine:
            if instr.wait >> giver & 1:
                # A SEG's start is not traced; what follows it in its engine starts later still.
                after[engine] = max(after[engine], retires[given[giver, engine].pop(0)])
                edges += 1
        if index in starts:
            assert starts[index] > after[engine]
            for taker in Engine:
                if instr.signal >> taker & 1:
                    given[engine, taker].append(index)
    for engine in Engine:
        order = [i for i in tracked if isa.ENGINE_OF[program[i].opcode] == engine]
        for times in (starts, retires):
            assert [times[i] for i in order] == sorted(times[i] for i in order)
    assert edges > 5


def test_tokens_fill_to_the_brim(rng: np.random.Generator) -> None:
    """A counter holds TOKEN_MAX while the taker is busy with something long, and nothing is left
    over."""
    fills = [isa.Fill(n0=2, signal=2)] * isa.TOKEN_MAX
    takers = [isa.Exec(run=2, wait=1)] * isa.TOKEN_MAX
    program = [isa.Exec(run=600), *fills, *takers, HALT]
    machine = machine_of(rng)

    async def test(ctx: Any) -> None:
        assert await machine.run(ctx, program) == (regs.STATUS_DONE, 0, 0)
        result = await machine.run(ctx, [*program[:-1], takers[0], HALT])
        assert result == (regs.STATUS_ERROR, Cause.TOKEN_UNDERFLOW, len(program) - 1)

    machine.simulate(test)


@pytest.mark.parametrize("bus_bits", [64, 512])
def test_early_halt_ignores_what_was_prefetched(bus_bits: int, rng: np.random.Generator) -> None:
    config = replace(PRESETS["mid"], act_slots=4096, bus_bits=bus_bits)
    machine = Machine(config, np.zeros(1 << 13, np.uint8), rng)

    async def test(ctx: Any) -> None:
        code = isa.pack([isa.Fill(), HALT] + [isa.Fill()] * 40 + [HALT])
        assert await machine.run(ctx, code) == (regs.STATUS_DONE, 0, 0)
        assert await machine.read(ctx, "STATUS") & regs.STATUS_BUS_IDLE
        assert await machine.read(ctx, "RETIRED") == 1

    machine.simulate(test)


def test_prefetch_never_holds_up_loads(rng: np.random.Generator) -> None:
    """More instructions than queue and prefetch buffer hold wait for a LOAD whose data come behind
    them."""
    program = [
        isa.Load(kind=LoadKind.ACTS, address=0x4000, n0=400, beats=100, signal=2),
        isa.Exec(run=4, wait=1),
        *[isa.Exec(run=4)] * 100,
        HALT,
    ]
    machine = machine_of(rng)

    async def test(ctx: Any) -> None:
        assert await machine.run(ctx, program) == (regs.STATUS_DONE, 0, 0)

    machine.simulate(test)


def test_registers(rng: np.random.Generator) -> None:
    machine = machine_of(rng)
    read, write = machine.read, machine.write

    async def test(ctx: Any) -> None:
        assert await read(ctx, "MAGIC") == regs.MAGIC
        assert await read(ctx, "VERSION") == regs.VERSION
        digest = f"{await read(ctx, 'DIGEST_LO'):08x}{await read(ctx, 'DIGEST_HI'):08x}"
        assert digest == CONFIG.digest[:16]
        model = {
            r.name: regs.RW_RESET.get(r.name, 0)
            for r in registers(CONFIG)
            if r.access in regs.OWNED
        }
        masks = {r.name: r.mask for r in registers(CONFIG)}
        assert len(model) > 8
        for name, value in model.items():
            assert await read(ctx, name) == value
        for _ in range(40):
            name = str(rng.choice(list(model)))
            value, strobe = int(rng.integers(1 << 32)), int(rng.integers(16))
            mask = sum(0xFF << 8 * k for k in range(4) if strobe >> k & 1) & masks[name]
            await write(ctx, name, value, strobe)
            model[name] = model[name] & ~mask | value & mask
        for name, value in model.items():
            assert await read(ctx, name) == value
        for register in regs.REGISTERS:
            if register.access is regs.Access.RO:
                before = await read(ctx, register.name)
                await write(ctx, register.name, 0xFFFF_FFFF)
                assert await read(ctx, register.name) == before
        present = {r.offset for r in registers(CONFIG)}
        for offset in sorted(set(range(0, 1 << regs.ADDRESS_BITS, 4)) - present):
            await write(ctx, offset, 0xFFFF_FFFF)
            assert await read(ctx, offset) == 0
        assert await read(ctx, "CONTROL") == 0
        await write(ctx, "CONTROL", regs.CONTROL_START, strobe=14)
        assert await read(ctx, "STATUS") == regs.STATUS_BUS_IDLE
        assert {n: await read(ctx, n) for n in model} == model

    machine.simulate(test)


def test_interrupt(rng: np.random.Generator) -> None:
    machine = machine_of(rng)

    async def test(ctx: Any) -> None:
        await machine.start(ctx, [isa.Fill(), HALT], IRQ_ENABLE=regs.IRQ_ERROR)
        while not await machine.read(ctx, "STATUS") & regs.STATUS_DONE:
            pass
        assert await machine.read(ctx, "IRQ_STATUS") == regs.IRQ_DONE
        assert ctx.get(machine.dut.irq) == 0
        await machine.write(ctx, "IRQ_ENABLE", regs.IRQ_DONE)
        assert ctx.get(machine.dut.irq) == 1
        await machine.write(ctx, "IRQ_STATUS", regs.IRQ_ERROR)
        assert ctx.get(machine.dut.irq) == 1
        await machine.write(ctx, "IRQ_STATUS", regs.IRQ_DONE)
        assert ctx.get(machine.dut.irq) == 0, "the line is late"
        assert await machine.read(ctx, "IRQ_STATUS") == 0

    machine.simulate(test)
