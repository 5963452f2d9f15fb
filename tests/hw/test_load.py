"""The LOAD engine's front and back end, each alone: commands, requests, writes, errors, and the
cycles that their contracts state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from sigbit_hw.arch import images
from sigbit_hw.arch.addressing import block_slots
from sigbit_hw.arch.bus import Response
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import Fill, Instr, Load, LoadKind
from sigbit_hw.arch.regs import Cause
from sigbit_hw.gateware.memory.load import LoadEngine
from sigbit_hw.gateware.memory.load_back import LoadBack
from sigbit_hw.gateware.memory.load_front import LoadFront

CONFIG = replace(PRESETS["micro"], bus_bits=128)
CONFIGS = {
    "two beats to a weight word": CONFIG,
    "a slot to a beat": replace(PRESETS["mid"], act_slots=4096, bus_bits=64),
    "two moves to a beat of slots": replace(PRESETS["micro"], bus_bits=256),
    "two parameter groups to a beat": replace(PRESETS["nano"], oc_lanes=64, bus_bits=512),
    "lanes wider than codes": replace(PRESETS["nano"], act_format=EsbFormat(6, 4)),
}
MEMORY = 1 << 16
EXOKAY = 1


def simulate(dut: Any, bench: Callable[[Any], Any]) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def always(cycle: int) -> bool:
    return True


Event = tuple[int, ...]
"""A cycle and what happened in it."""


@dataclass
class Passed:
    """What the front end passed on, each with its cycle."""

    taken: list[int] = field(default_factory=list)
    commands: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    requests: list[Event] = field(default_factory=list)
    errors: list[Event] = field(default_factory=list)


def passed(
    program: list[Instr],
    *,
    cycles: int = 40,
    ready: Callable[[int], bool] = always,
    grant: Callable[[int], bool] = always,
    size: int = MEMORY,
) -> Passed:
    """Offer ``program``, instruction k with index 7 + k, to a front end."""
    dut, seen = LoadFront(CONFIG), Passed()

    async def bench(ctx: Any) -> None:
        ctx.set(dut.window.size, size)
        waiting = list(enumerate(program))
        for cycle in range(cycles):
            ctx.set(dut.i.valid, bool(waiting))
            if waiting:
                word = waiting[0][1].encode()
                ctx.set(dut.i.payload, {"word": word, "index": 7 + waiting[0][0]})
            ctx.set(dut.o.ready, ready(cycle))
            ctx.set(dut.request.ready, grant(cycle))
            if ctx.get(dut.o.valid) and ready(cycle):
                command = ctx.get(dut.o.payload)
                fields = ("kind", "fill", "code", "beats", "signal", "index")
                values = {name: getattr(command, name) for name in fields}
                block = ("start", "n0", "n1", "n2", "d1", "d2")
                values |= {name: getattr(command.block, name) for name in block}
                seen.commands.append((cycle, values))
            if ctx.get(dut.request.valid) and grant(cycle):
                request = ctx.get(dut.request.payload)
                seen.requests.append((cycle, request.offset, request.beats))
            if ctx.get(dut.error.valid):
                seen.errors.append((cycle, ctx.get(dut.error.cause), ctx.get(dut.error.index)))
            if waiting and ctx.get(dut.i.ready):
                seen.taken.append(cycle)
                waiting.pop(0)
            await ctx.tick()

    simulate(dut, bench)
    return seen


LOAD = Load(
    kind=LoadKind.TABLE, address=0x1230, beats=77, dst=5, n0=9, n1=8, n2=7, d1=-6, d2=5, signal=2
)
FILL = Fill(code=200, dst=6, n0=5, n1=4, n2=3, d1=2, d2=-1, signal=4)


def command_of(instr: Load | Fill, index: int) -> dict[str, int]:
    """The command of an instruction; of a FILL, ``beats`` mean nothing."""
    block = {name: getattr(instr, name) for name in ("n0", "n1", "n2", "d1", "d2")}
    own: dict[str, int] = (
        {"kind": instr.kind, "fill": 0, "beats": instr.beats}
        if isinstance(instr, Load)
        else {"kind": LoadKind.ACTS, "fill": 1, "code": instr.code}
    )
    return {**block, **own, "start": instr.dst, "signal": instr.signal, "index": index}


def test_front() -> None:
    """A LOAD is passed on three cycles after it was taken, with its request, a FILL in two; the
    next instruction is taken one cycle later."""
    program = [LOAD, FILL, replace(LOAD, kind=LoadKind.WEIGHTS, address=0), FILL]
    seen = passed(program)
    assert seen.taken == [0, 4, 7, 11]
    assert [cycle for cycle, _ in seen.commands] == [3, 6, 10, 13]
    assert seen.requests == [(3, 0x1230, 77), (10, 0, 77)]
    for k, (instr, (_, command)) in enumerate(zip(program, seen.commands, strict=True)):
        expected = command_of(instr, 7 + k)
        assert {name: command[name] for name in expected} == expected
    assert not seen.errors


def test_front_waits(rng: np.random.Generator) -> None:
    """Request and command leave together, when both can."""
    often = (rng.random((2, 400)) < 0.5).tolist()
    program = [LOAD, FILL, LOAD, LOAD] * 5
    seen = passed(
        program,
        cycles=400,
        ready=lambda cycle: often[0][cycle],
        grant=lambda cycle: often[1][cycle],
    )
    assert [command["index"] for _, command in seen.commands] == list(range(7, 27))
    together = [cycle for cycle, command in seen.commands if not command["fill"]]
    assert [cycle for cycle, *_ in seen.requests] == together
    assert (
        len({cycle - taken for (cycle, _), taken in zip(seen.commands, seen.taken, strict=True)})
        > 3
    )


def test_front_refuses() -> None:
    """Misaligned addresses are illegal, whether or not they are outside; nothing is passed on."""
    last = replace(LOAD, address=MEMORY - 77 * CONFIG.bus_bytes)
    assert not passed([last]).errors
    for instr, cause in (
        (replace(last, beats=78), Cause.WINDOW),
        (replace(last, address=last.address + 8), Cause.ILLEGAL),
        (replace(last, address=0xFFFF_FFF0), Cause.WINDOW),
    ):
        seen = passed([FILL, instr])
        assert [command["index"] for _, command in seen.commands] == [7]
        assert not seen.requests
        assert seen.errors[0] == (6, cause, 8)


def test_front_does_not_look_at_write_limits() -> None:
    """Those of the window are of STORE: as they are 0 here, LOADs would not pass."""
    assert passed([LOAD]).requests


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


def moves_of(instr: Load | Fill, config: ArchConfig, memory: bytes) -> list[tuple[int, list]]:
    """What an instruction moves in each cycle, and how many beats of ``memory`` it has needed by
    then: slots to the end of run and beat, at most ``slots_per_move``, or one step of an item."""
    width, targets, moves = config.slots_per_move, block_slots(instr).tolist(), []
    if isinstance(instr, Fill):
        lane = instr.code & (1 << config.act_format.bits) - 1
        slot = sum(lane << config.act_format.lane_bits * k for k in range(config.ic_lanes))
        for first in range(0, len(targets), instr.n0):
            run = targets[first : first + instr.n0]
            pairs = [(LoadKind.ACTS, target, slot) for target in run]
            moves += [(0, pairs[k : k + width]) for k in range(0, len(run), width)]
        return moves
    kind, size = LoadKind(instr.kind), images.item_bytes(LoadKind(instr.kind), config)
    if kind == LoadKind.ACTS:
        per_beat, k = images.units_of_beat(kind, config), 0
        while k < len(targets):
            count = min(width, per_beat - k % per_beat, instr.n0 - k % instr.n0)
            slots = [
                int.from_bytes(memory[j * size : (j + 1) * size], "little")
                for j in range(k, k + count)
            ]
            pairs = zip(targets[k : k + count], slots, strict=True)
            moves.append((k // per_beat + 1, [(kind, *pair) for pair in pairs]))
            k += count
        return moves
    steps = images.steps_of_item(kind, config)
    for k, target in enumerate(targets):
        item = memory[k * size : (k + 1) * size]
        if kind == LoadKind.TABLE:
            values = images.unpack_table(np.frombuffer(item, np.uint8), config)[0].tolist()
            values = [value & (1 << config.act_format.bits) - 1 for value in values]
        else:
            unit = size // steps
            parts = (item[j * unit : (j + 1) * unit] for j in range(steps))
            values = [int.from_bytes(part, "little") for part in parts]
        for j, value in enumerate(values):
            beat = (k * size + j * size // steps) // config.bus_bytes + 1
            moves.append((beat, [(kind, target, j, value)]))
    return moves


def load(kind: LoadKind, config: ArchConfig, beats: int = 0, **fields: int) -> Load:
    """A LOAD with the ``beats`` that its items fill, or so many more."""
    items = fields.get("n0", 1) * fields.get("n1", 1) * fields.get("n2", 1)
    needed = images.beats(items * images.item_bytes(kind, config), config)
    return Load(kind=kind, address=0, beats=needed + beats, **fields)


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
