"""The back end of LOAD alone: writes, errors, and the cycles that its contract states; and what the
engine adds to both ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from hw.blocks import EXOKAY, Event, always, simulate
from hw.loads import FILL, command_of, load, moves_of
from sigbit_hw.arch import images
from sigbit_hw.arch.bus import Response
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import Fill, Load, LoadKind
from sigbit_hw.arch.regs import Cause
from sigbit_hw.gateware.memory.load import LoadEngine
from sigbit_hw.gateware.memory.load_back import LoadBack

CONFIG = replace(PRESETS["micro"], bus_bits=128)
CONFIGS = {
    "two beats to a weight word": CONFIG,
    "a slot to a beat": replace(PRESETS["mid"], act_slots=4096, bus_bits=64),
    "two moves to a beat of slots": replace(PRESETS["micro"], bus_bits=256),
    "two parameter groups to a beat": replace(PRESETS["nano"], oc_lanes=64, bus_bits=512),
    "lanes wider than codes": replace(PRESETS["nano"], act_format=EsbFormat(6, 4)),
}
MEMORY = 1 << 16


@dataclass
class Moved:
    """What the back end did, each with its cycle."""

    accepted: list[int] = field(default_factory=list)
    beats: list[int] = field(default_factory=list)
    writes: list[tuple[int, ...]] = field(default_factory=list)
    retired: list[Event] = field(default_factory=list)
    errors: list[Event] = field(default_factory=list)


def moved(
    program: list[Load | Fill],
    data: list[int],
    *,
    config: ArchConfig = CONFIG,
    cycles: int = 60,
    ready: Callable[[int], bool] = always,
    arrives: Callable[[int], bool] = always,
    busy: Callable[[int], bool] = lambda cycle: False,
    faults: Mapping[int, int] | None = None,
) -> Moved:
    """Let a back end execute ``program``, instruction k with index 7 + k, with the beats ``data``,
    beat k with the response ``faults[k]``. Writes are of (slot, data), (weight word, part, data),
    (group, lane, item) or (table, entry, code); first the cycle and the kind."""
    dut, seen = LoadBack(config), Moved()
    others = {
        LoadKind.WEIGHTS: (dut.weight_write, "word", "part", "data"),
        LoadKind.PARAMS: (dut.param_write, "group", "lane", "item"),
        LoadKind.TABLE: (dut.table_write, "table", "entry", "code"),
    }

    async def bench(ctx: Any) -> None:
        commands = [command_of(instr, 7 + k) for k, instr in enumerate(program)]
        beats = [(value, (faults or {}).get(k, 0)) for k, value in enumerate(data)]
        for cycle in range(cycles):
            ctx.set(dut.i.valid, bool(commands))
            if commands:
                block = {n: commands[0][n] for n in ("start", "n0", "n1", "n2", "d1", "d2")}
                rest = {n: v for n, v in commands[0].items() if n not in block}
                ctx.set(dut.i.payload, {**rest, "block": block})
            here = bool(beats) and arrives(cycle)
            ctx.set(dut.beat.valid, here)
            if here:
                ctx.set(dut.beat.payload, dict(zip(("data", "resp"), beats[0], strict=True)))
            slots = dut.act_write.stream
            ctx.set(slots.ready, ready(cycle))
            ctx.set(dut.act_write.busy, busy(cycle))
            if commands and ctx.get(dut.i.ready):
                seen.accepted.append(cycle)
                commands.pop(0)
            if here and ctx.get(dut.beat.ready):
                seen.beats.append(cycle)
                beats.pop(0)
            if ctx.get(slots.valid) and ready(cycle):
                payload = ctx.get(slots.payload)
                seen.writes += [
                    (cycle, LoadKind.ACTS, payload.slot + k, payload.data[k])
                    for k in range(payload.count)
                ]
            for kind, (port, *names) in others.items():
                if ctx.get(port.valid):
                    what = (ctx.get(getattr(port, name)) for name in names)
                    seen.writes.append((cycle, kind, *what))
            if ctx.get(dut.retire.valid):
                signal = ctx.get(dut.retire.signal)
                seen.retired.append((cycle, signal, ctx.get(dut.retire.index)))
            if ctx.get(dut.error.valid):
                seen.errors.append((cycle, ctx.get(dut.error.cause), ctx.get(dut.error.index)))
            await ctx.tick()

    simulate(dut, bench)
    return seen


PROGRAMS = {
    "slots": [
        (LoadKind.ACTS, {"dst": 40, "n0": 11, "n1": 3, "n2": 2, "d1": -12, "d2": 60, "signal": 4}),
        (LoadKind.ACTS, {"dst": 100, "n0": 1, "n1": 9, "d1": 2, "signal": 2}),
    ],
    "weights": [
        (LoadKind.WEIGHTS, {"dst": 3, "n0": 3, "signal": 4}),
        (LoadKind.WEIGHTS, {"dst": 9, "n0": 1, "n1": 2, "d1": 4, "signal": 2}),
    ],
    "parameters": [
        (LoadKind.PARAMS, {"dst": 3, "n0": 3, "signal": 4}),
        (LoadKind.PARAMS, {"dst": 9, "n0": 1, "n1": 2, "d1": 4, "signal": 2}),
    ],
    "table": [(LoadKind.TABLE, {"dst": 2, "n0": 1, "signal": 2})],
}


def test_fill() -> None:
    """A FILL moves its first slots two cycles after it was accepted, then up to ``slots_per_move``
    of a run in every cycle."""
    for config in CONFIGS.values():
        moves = moves_of(FILL, config, b"")
        seen = moved([FILL, FILL], [], config=config, cycles=2 * len(moves) + 9)
        last = len(moves) + 1
        assert seen.accepted == [0, last + 1]
        assert seen.retired == [(last + 1, 4, 7), (2 * last + 2, 4, 8)]
        assert seen.writes == [
            (start + k, *write)
            for start in (2, last + 3)
            for k, (_, writes) in enumerate(moves)
            for write in writes
        ]
        assert not seen.errors


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("name", CONFIGS)
def test_beats_move(name: str, kind: str, rng: np.random.Generator) -> None:
    """With beats that wait, one is taken two cycles after its command or with the last move out of
    the one before; its content moves from the next cycle on, one move per cycle."""
    config = CONFIGS[name]
    program = [load(kind, config, **fields) for kind, fields in PROGRAMS[kind]]
    data = [rng.bytes(config.bus_bytes) for _ in range(sum(instr.beats for instr in program))]
    accepted, beats, writes, retired = [0], [], [], []
    used = 0
    for k, instr in enumerate(program):
        memory = b"".join(data[used : used + instr.beats])
        used += instr.beats
        had = 0
        for cycle, (beat, what) in enumerate(moves_of(instr, config, memory), accepted[-1] + 3):
            if beat != had:
                beats.append(cycle - 1)
                had = beat
            late = int(instr.kind != LoadKind.ACTS)
            writes += [(cycle + late, *write) for write in what]
        accepted.append(cycle + 1)
        retired.append((cycle + 1, instr.signal, 7 + k))
    numbers = [int.from_bytes(beat, "little") for beat in data]
    seen = moved(program, numbers, config=config, cycles=accepted[-1] + 5)
    assert seen.accepted == accepted[:-1]
    assert seen.beats == beats
    assert seen.writes == writes
    assert seen.retired == retired
    assert not seen.errors


@pytest.mark.parametrize("name", CONFIGS)
def test_back_waits(name: str, rng: np.random.Generator) -> None:
    """Whenever beats arrive and slots are accepted, the same is written, and retired after it; a
    move of slots waits until those before it were written."""
    config = CONFIGS[name]
    program = [load(kind, config, **fields) for kind, fields in PROGRAMS["slots"]]
    program[1:1] = [FILL, *(load(kind, config, **fields) for kind, fields in PROGRAMS["weights"])]
    data = [
        rng.bytes(config.bus_bytes)
        for instr in program
        if isinstance(instr, Load)
        for _ in range(instr.beats)
    ]
    often = (rng.random((3, 600)) < 0.5).tolist()
    seen = moved(
        program,
        [int.from_bytes(beat, "little") for beat in data],
        config=config,
        cycles=600,
        arrives=lambda cycle: often[0][cycle],
        ready=lambda cycle: often[1][cycle],
        busy=lambda cycle: often[2][cycle],
    )
    used, expected = 0, []
    for k, instr in enumerate(program):
        beats = instr.beats if isinstance(instr, Load) else 0
        memory = b"".join(data[used : used + beats])
        used += beats
        writes = [write for _, what in moves_of(instr, config, memory) for write in what]
        expected += writes
        done, signal, index = seen.retired[k]
        assert (signal, index) == (instr.signal, 7 + k)
        mine = [write[0] for write in seen.writes[len(expected) - len(writes) : len(expected)]]
        of_slots = isinstance(instr, Fill) or instr.kind == LoadKind.ACTS
        if of_slots:
            assert not often[2][done]
            assert all(often[2][cycle] for cycle in range(mine[-1] + 1, done))
        else:
            assert done == mine[-1]
        assert all(write[0] > done for write in seen.writes[len(expected) :])
    assert [write[1:] for write in seen.writes] == expected
    assert not seen.errors


@pytest.mark.parametrize("kind", LoadKind)
def test_beats_and_items(kind: LoadKind) -> None:
    """Beats that the items do not fill, or do not suffice for, are illegal."""
    n0 = {LoadKind.ACTS: 9, LoadKind.WEIGHTS: 2}.get(kind, 1)
    good = load(kind, CONFIG, n0=n0)
    steps = n0 * images.steps_of_item(kind, CONFIG)
    for more in (-1, 1):
        program = [good, load(kind, CONFIG, more, n0=n0)]
        seen = moved(program, [0] * 2 * good.beats, cycles=2 * steps + 10)
        assert seen.errors[0][1:] == (Cause.ILLEGAL, 8)


def test_read_errors() -> None:
    """A failed beat is reported a cycle after it was taken, with the cause that its response names,
    also when beats are missing as well."""
    program = [load(LoadKind.WEIGHTS, CONFIG, n0=2), load(LoadKind.WEIGHTS, CONFIG, n0=3)]
    short = replace(program[1], beats=5)
    slave, decode = (
        (Response.SLVERR, Cause.READ_SLVERR),
        (Response.DECERR, Cause.READ_DECERR),
    )
    for instr, beat, (response, cause) in (
        (program[1], 4, decode),
        (program[1], 9, slave),
        (short, 8, slave),
        (short, 8, decode),
    ):
        seen = moved([program[0], instr], [0] * 10, cycles=25, faults={beat: response})
        assert seen.errors[0] == (seen.beats[beat] + 1, cause, 8)
    assert not moved(program, [0] * 10, cycles=25, faults={3: EXOKAY}).errors


def test_engine(rng: np.random.Generator) -> None:
    """Front to back takes two cycles, a beat one, slots one; of two errors in one cycle, that of
    the earlier instruction is reported."""
    data = [int.from_bytes(rng.bytes(CONFIG.bus_bytes), "little") for _ in range(2)]
    good = load(LoadKind.ACTS, CONFIG, dst=8, n0=8)
    misaligned = replace(good, address=8)

    def run(second: Load, responses: list[int], at: int) -> tuple[list, list]:
        """Slots that were written, and errors, with their cycles: the beats arrive from cycle
        ``at`` on."""
        dut, program = LoadEngine(CONFIG), [good, second]
        beats = list(zip(data, responses, strict=True))
        writes: list[Event] = []
        errors: list[Event] = []

        async def bench(ctx: Any) -> None:
            ctx.set(dut.window.size, MEMORY)
            ctx.set(dut.read.request.ready, 1)
            ctx.set(dut.act_write.stream.ready, 1)
            for cycle in range(20):
                ctx.set(dut.i.valid, bool(program))
                if program:
                    word = program[0].encode()
                    ctx.set(dut.i.payload, {"word": word, "index": 9 - len(program)})
                here = bool(beats) and cycle >= at
                ctx.set(dut.read.beat.valid, here)
                if here:
                    names = ("data", "resp")
                    ctx.set(dut.read.beat.payload, dict(zip(names, beats[0], strict=True)))
                if program and ctx.get(dut.i.ready):
                    program.pop(0)
                if here and ctx.get(dut.read.beat.ready):
                    beats.pop(0)
                if ctx.get(dut.act_write.stream.valid):
                    slots = ctx.get(dut.act_write.stream.payload)
                    writes.append((cycle, slots.slot, slots.count))
                if ctx.get(dut.error.valid):
                    errors.append((cycle, ctx.get(dut.error.cause), ctx.get(dut.error.index)))
                await ctx.tick()

        simulate(dut, bench)
        return writes, errors

    # The command is passed on in cycle 3 and arrives in 5; beats that came earlier are taken in 7,
    # moved in 8 and written in 9.
    writes, errors = run(replace(good, address=0x1000), [0, 0], at=4)
    assert writes == [(9, 8, 4), (10, 12, 4)]
    assert not errors
    # The second command is refused from cycle 7 on.
    refused = (Cause.ILLEGAL, 8)
    for response, cause in (
        (Response.SLVERR, Cause.READ_SLVERR),
        (Response.DECERR, Cause.READ_DECERR),
    ):
        # A beat that arrives in cycle 10 is taken in 11 and reported in 12.
        _, errors = run(misaligned, [response, 0], at=10)
        assert errors == [(c, *(refused if c != 12 else (cause, 7))) for c in range(7, 20)]


@pytest.mark.parametrize("busy", [range(0), range(16, 19)])
def test_slots_leave_before_the_retirement(busy: range) -> None:
    """An instruction retires in the first cycle after its last slots have left the engine in which
    the memory is not busy with them."""
    dut, retired = LoadEngine(CONFIG), []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.i.payload, {"word": replace(FILL, n0=1, n1=1, n2=1).encode(), "index": 7})
        for cycle in range(30):
            ctx.set(dut.i.valid, cycle == 0)
            ctx.set(dut.act_write.stream.ready, cycle >= 15)
            ctx.set(dut.act_write.busy, cycle in busy)
            if ctx.get(dut.retire.valid):
                retired.append((cycle, ctx.get(dut.retire.signal), ctx.get(dut.retire.index)))
            await ctx.tick()

    simulate(dut, bench)
    assert retired == [(16 + len(busy), FILL.signal, 7)]
