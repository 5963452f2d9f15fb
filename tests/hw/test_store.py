"""The STORE engine alone: reads of slots, beats, errors, retirement, and the cycles that its
contract states."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from hw.blocks import EXOKAY, Event, always, simulate
from sigbit_hw.arch import images
from sigbit_hw.arch.addressing import block_slots
from sigbit_hw.arch.bus import Response
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import LoadKind, Store
from sigbit_hw.arch.regs import Cause
from sigbit_hw.arch.timing import READ_AHEAD, READ_LATENCY
from sigbit_hw.gateware.memory.store import SlotReader, StoreEngine

CONFIG = replace(PRESETS["micro"], bus_bits=128, burst_beats=4)
CONFIGS = {
    "a read to a beat": CONFIG,
    "two reads to a beat": replace(CONFIG, bus_bits=256),
    "a slot to a beat": replace(PRESETS["mid"], act_slots=4096, bus_bits=64, burst_beats=4),
}
WINDOW = (0x800, 0x4000)
"""Range that may be written; the DMA window ends later."""


@dataclass
class Stored:
    """What happened, each with its cycle."""

    taken: list[int] = field(default_factory=list)
    reads: list[Event] = field(default_factory=list)
    bursts: list[Event] = field(default_factory=list)
    beats: list[Event] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    retired: list[Event] = field(default_factory=list)
    errors: list[Event] = field(default_factory=list)


def content(slot: int, config: ArchConfig) -> int:
    """Of every slot another."""
    return int.from_bytes(np.random.default_rng(slot).bytes(config.slot_bytes), "little")


def stored(
    program: list[Store],
    *,
    config: ArchConfig = CONFIG,
    cycles: int = 60,
    reads: Callable[[int], bool] = always,
    grant: Callable[[int], bool] = always,
    ready: Callable[[int], bool] = always,
    answer: int = 1,
    responses: dict[int, int] | None = None,
) -> Stored:
    """Let an engine execute ``program``, instruction k with index 7 + k. Burst k is answered
    ``answer`` cycles after its last beat, with ``responses[k]``."""
    dut, seen = StoreEngine(config), Stored()

    async def bench(ctx: Any) -> None:
        waiting = list(enumerate(program))
        data: list[tuple[int, list[int]]] = []
        lengths: list[int] = []
        answers: list[int] = []
        sent = 0
        ctx.set(dut.window.size, 2 * WINDOW[1])
        ctx.set(dut.window.write_lo, WINDOW[0])
        ctx.set(dut.window.write_hi, WINDOW[1])
        for cycle in range(cycles):
            ctx.set(dut.i.valid, bool(waiting))
            if waiting:
                word = waiting[0][1].encode()
                ctx.set(dut.i.payload, {"word": word, "index": 7 + waiting[0][0]})
            ctx.set(dut.act_read.request.ready, reads(cycle))
            ctx.set(dut.bus.burst.ready, grant(cycle))
            ctx.set(dut.bus.beat.ready, ready(cycle) and sent < sum(lengths))
            here = bool(data) and data[0][0] == cycle
            ctx.set(dut.act_read.valid, here)
            if here:
                ctx.set(dut.act_read.data.slots, data.pop(0)[1])
            done = bool(answers) and answers[0] == cycle
            ctx.set(dut.bus.done, done)
            ctx.set(dut.bus.resp, (responses or {}).get(len(seen.answers), 0) if done else 0)
            if done:
                seen.answers.append(answers.pop(0))
            if waiting and ctx.get(dut.i.ready):
                seen.taken.append(cycle)
                waiting.pop(0)
            if ctx.get(dut.act_read.request.valid) and reads(cycle):
                request = ctx.get(dut.act_read.request.payload)
                seen.reads.append((cycle, request.slot, request.count))
                slots = [0] * config.slots_per_move
                for k in range(request.count):
                    slots[(request.lane + k) % len(slots)] = content(request.slot + k, config)
                data.append((cycle + READ_LATENCY, slots))
            if ctx.get(dut.bus.beat.valid) and ctx.get(dut.bus.beat.ready):
                beat = ctx.get(dut.bus.beat.payload)
                seen.beats.append((cycle, beat.data, beat.strobe))
                sent += 1
                if sent in np.cumsum(lengths):
                    answers.append(cycle + answer)
            if ctx.get(dut.bus.burst.valid) and grant(cycle):
                burst = ctx.get(dut.bus.burst.payload)
                seen.bursts.append((cycle, burst.beat, burst.length + 1))
                lengths.append(burst.length + 1)
            if ctx.get(dut.retire.valid):
                signal = ctx.get(dut.retire.signal)
                seen.retired.append((cycle, signal, ctx.get(dut.retire.index)))
            if ctx.get(dut.error.valid):
                seen.errors.append((cycle, ctx.get(dut.error.cause), ctx.get(dut.error.index)))
            await ctx.tick()

    simulate(dut, bench)
    return seen


def store(config: ArchConfig, beats: int = 0, **fields: int) -> Store:
    """A STORE with the ``beats`` that its slots fill, or so many more."""
    slots = fields.get("n0", 1) * fields.get("n1", 1) * fields.get("n2", 1)
    needed = images.beats(slots * config.slot_bytes, config)
    return Store(**{"address": 0x1000, "beats": needed + beats, **fields})


BLOCK = {"src": 40, "n0": 11, "n1": 3, "n2": 2, "d1": -12, "d2": 100}


def expected(config: ArchConfig, instr: Store, begin: int = 0) -> tuple[list[Event], list[Event]]:
    """Reads, the first in cycle ``begin``, to the ends of runs and beats, and beats: each seven
    cycles after the last read of its slots, of which it alone has strobes."""
    slots = block_slots(instr).tolist()
    per_beat = images.units_of_beat(LoadKind.ACTS, config)
    reads: list[Event] = []
    beats: list[Event] = []
    k = 0
    while k < len(slots):
        limits = config.slots_per_move, per_beat - k % per_beat, instr.n0 - k % instr.n0
        count = min(limits)
        reads.append((begin + len(reads), slots[k], count))
        k += count
        if k % per_beat == 0 or k == len(slots):
            mine = slots[(k - 1) // per_beat * per_beat : k]
            data = sum(content(s, config) << config.slot_bits * j for j, s in enumerate(mine))
            strobe = (1 << config.slot_bytes * len(mine)) - 1
            beats.append((reads[-1][0] + READ_LATENCY + 4, data, strobe))
    return reads, beats


def strobed(beat: Event, config: ArchConfig) -> Event:
    """A beat without the bytes that have no strobe."""
    cycle, data, strobe = beat
    kept = sum(255 << 8 * k for k in range(config.bus_bytes) if strobe >> k & 1)
    return cycle, data & kept, strobe


@pytest.mark.parametrize("name", CONFIGS)
def test_cycles(name: str) -> None:
    """The write is requested three cycles after the instruction was taken, the first slots are one
    later, then more in every cycle; the next instruction is taken after the retirement."""
    config = CONFIGS[name]
    program = [store(config, **BLOCK, signal=1), store(config, src=9, n0=1, signal=2)]
    first, second = program
    reads, beats = expected(config, first, begin=4)
    last = beats[-1][0]
    seen = stored(program, config=config, cycles=last + 20)
    done = last + 1  # it is answered a cycle after its last beat
    assert seen.taken == [0, done + 2]
    more_reads, more_beats = expected(config, second, begin=done + 6)
    assert seen.reads == reads + more_reads
    assert [strobed(beat, config) for beat in seen.beats] == beats + more_beats
    assert seen.retired == [(done + 1, 1, 7), (more_beats[0][0] + 2, 2, 8)]
    at, left = 0x1000 // config.bus_bytes, first.beats
    bursts = [(5 + k // 2, at + k, min(4, left - k)) for k in range(0, left, 4)]
    assert seen.bursts == [*bursts, (done + 7, at, 1)]
    assert not seen.errors


@pytest.mark.parametrize("name", CONFIGS)
def test_waits(name: str, rng: np.random.Generator) -> None:
    """Whenever memory and bus accept, the same is stored; an instruction retires a cycle after
    the last answer to its writes, however late that is."""
    config = CONFIGS[name]
    often = (rng.random((3, 500)) < 0.5).tolist()
    program = [store(config, **BLOCK, signal=1), store(config, **BLOCK | {"src": 300}, signal=2)]
    seen = stored(
        program,
        config=config,
        cycles=500,
        reads=lambda cycle: often[0][cycle],
        grant=lambda cycle: often[1][cycle],
        ready=lambda cycle: often[2][cycle],
        answer=20,
    )
    beats = [beat[1:] for instr in program for beat in expected(config, instr)[1]]
    assert [strobed(beat, config)[1:] for beat in seen.beats] == beats
    middle = len(seen.bursts) // 2 - 1
    assert [event[1:] for event in seen.retired] == [(1, 7), (2, 8)]
    assert [event[0] for event in seen.retired] == [seen.answers[middle] + 1, seen.answers[-1] + 1]
    assert not seen.errors


def test_reads_ahead() -> None:
    """While nothing is taken, it reads ``READ_AHEAD`` times and fills the two places of its output;
    then once for each that leaves."""
    dut, reads = SlotReader(CONFIG), []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.block, {"start": 0, "n0": 400, "n1": 1, "n2": 1, "d1": 0, "d2": 0})
        ctx.set(dut.act_read.request.ready, 1)
        for cycle in range(60):
            ctx.set(dut.start, cycle == 0)
            ctx.set(dut.o.ready, cycle in (40, 41))
            ctx.set(dut.act_read.valid, cycle - READ_LATENCY in reads)
            if ctx.get(dut.act_read.request.valid):
                reads.append(cycle)
            await ctx.tick()

    simulate(dut, bench)
    assert len([cycle for cycle in reads if cycle < 40]) == READ_AHEAD + 2
    assert len(reads) == READ_AHEAD + 4


def test_refused() -> None:
    """Misaligned addresses are illegal, wherever they are; no other may leave the range that may be
    written, or the window. Nothing is requested or read."""
    low, high = WINDOW
    good = store(CONFIG, **BLOCK)
    size = good.beats * CONFIG.bus_bytes
    limits = [replace(good, address=low), replace(good, address=high - size)]
    seen = stored(limits, cycles=70)
    assert [event[2] for event in seen.retired] == [7, 8]
    assert not seen.errors
    for address, cause in (
        (low + 8, Cause.ILLEGAL),
        (high + 8, Cause.ILLEGAL),
        (low - CONFIG.bus_bytes, Cause.WINDOW),
        (high - size + CONFIG.bus_bytes, Cause.WINDOW),
        (2 * high, Cause.WINDOW),
    ):
        seen = stored([replace(good, address=address)], cycles=12)
        assert not seen.bursts
        assert not seen.reads
        assert seen.errors[0] == (3, cause, 7)


def test_beats_and_slots() -> None:
    """Beats that the slots do not fill, or do not suffice for, are illegal: those before are
    written, the last one is not."""
    one = store(CONFIG, src=3, n0=1)
    for n0 in (5, 8):
        good = store(CONFIG, src=40, n0=n0)
        for beats in (good.beats - 1, good.beats + 1):
            seen = stored([one, replace(good, beats=beats)], cycles=35)
            assert len(seen.beats) == 1 + min(beats, good.beats) - 1
            assert {error[1:] for error in seen.errors} == {(Cause.ILLEGAL, 8)}
            assert [event[2] for event in seen.retired] == [7]


def test_write_errors() -> None:
    """An answer that is an error is reported at once, with the cause that it names, also where the
    slots do not fit the beats."""
    good = store(CONFIG, **BLOCK)
    for responses, instr, cause in (
        ({1: Response.SLVERR}, good, Cause.WRITE_SLVERR),
        ({3: Response.DECERR}, good, Cause.WRITE_DECERR),
        ({1: Response.SLVERR}, replace(good, beats=6), Cause.WRITE_SLVERR),
    ):
        seen = stored([store(CONFIG, src=3, n0=1), instr], responses=responses, answer=9)
        (burst,) = responses
        assert (seen.answers[burst], cause, 8) in seen.errors
    assert not stored([good], responses={1: EXOKAY}).errors
