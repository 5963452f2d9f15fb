"""LOAD, FILL and STORE through the whole memory side, against an AXI memory that checks the
protocol."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sigbit_hw.arch import images, isa, regs
from sigbit_hw.arch.addressing import block_slots
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import Instr, LoadKind, Opcode
from sigbit_hw.arch.numerics import TABLE_ENTRIES
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.verification.machine import BASE, Machine

PROGRAM = 0xE000
CONFIGS = {
    "nano": PRESETS["nano"],
    "zcu102": replace(PRESETS["zcu102"], act_slots=4096),
    "bus256": replace(PRESETS["mid"], act_slots=4096, bus_bits=256, burst_beats=4),
    "bus512": replace(PRESETS["mid"], act_slots=4096, bus_bits=512, outstanding_reads=2),
    "long_bursts": replace(PRESETS["nano"], burst_beats=256, outstanding_reads=1),
    "bus128": replace(PRESETS["micro"], bus_bits=128),
    "bytes": replace(PRESETS["nano"], act_format=EsbFormat(6, 4)),
    "ports2": replace(PRESETS["nano"], bus_bits=128, oc_lanes=8, ports=2),
    "ports4": replace(PRESETS["mid"], act_slots=4096, bus_bits=256, ports=4, burst_beats=2),
}
EVERY_RUN = ("nano", "long_bursts", "bytes", "ports2", "ports4")
"""Configurations whose random programs are part of every run."""


def block(rng: np.random.Generator, slots: int) -> dict[str, int]:
    """A random block whose slots are distinct, positive and below ``slots``."""
    n0, n1, n2 = (int(rng.integers(1, limit)) for limit in (30, 5, 4))
    d1 = n0 + int(rng.integers(0, 9))
    d2 = n1 * d1 + int(rng.integers(0, 9))
    if rng.random() < 0.3:
        d1 = -d1
    reach = (n2 - 1) * d2 + (n1 - 1) * abs(d1) + n0
    low = (n1 - 1) * -d1 if d1 < 0 else 0
    return {
        "n0": n0,
        "n1": n1,
        "n2": n2,
        "d1": d1,
        "d2": d2,
        "start": low + int(rng.integers(0, slots - reach - low)),
    }


class Model:
    """What the memories hold after the instructions so far."""

    def __init__(self, config: ArchConfig, memory: np.ndarray) -> None:
        self.config, self.memory = config, memory.copy()
        self.slots: dict[int, int] = {}
        self.weights: dict[int, bytes] = {}
        self.params: dict[int, bytes] = {}
        self.tables: dict[int, int] = {}

    def run(self, instr: Instr) -> None:
        config, memory = self.config, self.memory
        if instr.opcode == Opcode.FILL:
            bits = config.act_format.bits
            slot = sum(
                (instr.code & (1 << bits) - 1) << (config.act_format.lane_bits * k)
                for k in range(config.ic_lanes)
            )
            self.slots.update(dict.fromkeys(block_slots(instr).tolist(), slot))
            return
        item = {
            LoadKind.WEIGHTS: config.weight_word_bytes,
            LoadKind.ACTS: config.slot_bytes,
            LoadKind.PARAMS: 8 * config.param_lanes,
            LoadKind.TABLE: images.item_bytes(LoadKind.TABLE, config),
        }
        if instr.opcode == Opcode.STORE:
            for k, slot in enumerate(block_slots(instr).tolist()):
                at = instr.address + k * config.slot_bytes
                value = self.slots.get(slot, 0).to_bytes(config.slot_bytes, "little")
                memory[at : at + config.slot_bytes] = np.frombuffer(value, np.uint8)
            return
        size = item[LoadKind(instr.kind)]
        for k, target in enumerate(block_slots(instr).tolist()):
            data = memory[instr.address + k * size : instr.address + (k + 1) * size].tobytes()
            if instr.kind == LoadKind.ACTS:
                self.slots[target] = int.from_bytes(data, "little")
            elif instr.kind == LoadKind.WEIGHTS:
                self.weights[target] = data
            elif instr.kind == LoadKind.PARAMS:
                for lane in range(config.param_lanes):
                    self.params[target * config.param_lanes + lane] = data[8 * lane : 8 * lane + 8]
            else:
                codes = images.unpack_table(np.frombuffer(data, np.uint8), config)[0]
                mask = (1 << config.act_format.bits) - 1
                for entry in range(TABLE_ENTRIES):
                    self.tables[target * TABLE_ENTRIES + entry] = int(codes[entry]) & mask


def random_program(rng: np.random.Generator, config: ArchConfig, length: int) -> list[Instr]:
    """LOADs and FILLs of all kinds and STOREs into the second half of the window, one after
    another by tokens."""

    def address(size: int, low: int, high: int) -> int:
        return int(rng.integers(low, high - size)) // config.bus_bytes * config.bus_bytes

    program: list[Instr] = []
    for _ in range(length):
        kind = rng.choice(
            ["acts", "weights", "params", "table", "fill", "store"],
            p=[0.3, 0.15, 0.1, 0.05, 0.15, 0.25],
        )
        b = block(rng, config.act_slots)
        start = b.pop("start")
        wait = {"wait": 0}
        if program:
            before = 2 if program[-1].opcode == Opcode.STORE else 0
            mine = 2 if kind == "store" else 0
            if before != mine:
                program[-1] = replace(program[-1], signal=1 << mine)
                wait = {"wait": 1 << before}
        if kind == "fill":
            program.append(isa.Fill(code=int(rng.integers(256)), dst=start, **b, **wait))
            continue
        if kind in ("acts", "store"):
            size = b["n0"] * b["n1"] * b["n2"] * config.slot_bytes
        else:
            items = {
                "weights": (config.weight_words, config.weight_word_bytes),
                "params": (config.param_groups, 8 * config.param_lanes),
                "table": (config.tables, images.item_bytes(LoadKind.TABLE, config)),
            }[str(kind)]
            n0 = int(rng.integers(1, 4))
            b = {"n0": n0}
            start = int(rng.integers(0, items[0] - n0))
            size = n0 * items[1]
        beats = images.beats(size, config)
        if kind == "store":
            program.append(
                isa.Store(
                    address=address(size, 0x8000, PROGRAM),
                    src=start,
                    beats=beats,
                    **b,
                    **wait,
                )
            )
        else:
            name = {
                "acts": LoadKind.ACTS,
                "weights": LoadKind.WEIGHTS,
                "params": LoadKind.PARAMS,
                "table": LoadKind.TABLE,
            }[str(kind)]
            program.append(
                isa.Load(
                    kind=name,
                    address=address(size + 64, 0, PROGRAM),
                    dst=start,
                    beats=beats,
                    **b,
                    **wait,
                )
            )
    return [*program, isa.Halt()]


def compare(machine: Machine, ctx: Any, model: Model) -> None:
    compute = machine.compute
    assert model.slots
    assert {s: ctx.get(compute.acts[s]) for s in model.slots} == model.slots
    for word, value in model.weights.items():
        parts = [ctx.get(compute.weights[word * compute.parts + k]) for k in range(compute.parts)]
        size = machine.config.bus_bytes
        assert b"".join(part.to_bytes(size, "little") for part in parts) == value
    for item, value in model.params.items():
        assert ctx.get(compute.params[item]).to_bytes(8, "little") == value
    assert {e: ctx.get(compute.tables[e]) for e in model.tables} == model.tables
    assert (machine.window == model.memory).all()
    assert (machine.store[: machine.margin] == 0xA5).all()
    assert (machine.store[-machine.margin :] == 0xA5).all()


@pytest.mark.parametrize(
    ("name", "latency", "stall"),
    [
        ("nano", (1, 1), 0.0),
        *(
            pytest.param(name, (5, 60), 0.3, marks=[] if name in EVERY_RUN else pytest.mark.long)
            for name in CONFIGS
        ),
    ],
)
def test_random_programs(
    name: str, latency: tuple[int, int], stall: float, rng: np.random.Generator
) -> None:
    config = CONFIGS[name]
    program = random_program(rng, config, 14)
    memory = rng.integers(0, 256, 1 << 16).astype(np.uint8)
    machine = Machine(config, memory, rng, latency=latency, stall=stall)
    for bus in machine.buses[1:]:
        bus.latency = (1, int(rng.integers(1, 100)))
        bus.stall = float(rng.random() * 0.7)
    for bus in machine.buses:
        bus.pace = MemoryTiming(1, Fraction(int(rng.integers(2, 6)), 5), 50, int(rng.integers(9)))

    async def test(ctx: Any) -> None:
        result = await machine.run(ctx, program, offset=PROGRAM, WRITE_LO=0x8000, WRITE_HI=PROGRAM)
        assert result == (regs.STATUS_DONE, 0, 0)
        model = Model(config, machine.window)
        # The window already holds the stores: take everything but them from the original.
        model.memory[:PROGRAM] = memory[:PROGRAM]
        for instr in program[:-1]:
            model.run(instr)
        compare(machine, ctx, model)
        assert await machine.read(ctx, "RETIRED") == len(program) - 1
        stored = sum(i.n0 * i.n1 * i.n2 for i in program if i.opcode == Opcode.STORE)
        assert sum(len(bus.strobed) for bus in machine.buses) == stored * config.slot_bytes
        longest = max(beats for bus in machine.buses for _, beats in bus.read_bursts)
        assert longest <= config.burst_beats
        assert not any(bus.busy for bus in machine.buses)

    machine.simulate(test, limit=100_000)


def test_store_keeps_the_bytes_after_an_unaligned_tail(rng: np.random.Generator) -> None:
    config = PRESETS["nano"]
    machine = Machine(config, np.zeros(1 << 13, np.uint8), rng)
    program = [
        isa.Fill(code=5, dst=0, n0=5, signal=4),
        isa.Store(address=0xFF8, beats=2, src=0, n0=5, wait=1),
        isa.Halt(),
    ]

    async def test(ctx: Any) -> None:
        assert await machine.run(ctx, program) == (regs.STATUS_DONE, 0, 0)
        assert (machine.window[0xFF8:0x1002] == 0x55).all()
        assert (machine.window[0x1002:] == 0).all()
        assert machine.bus.write_bursts == [(BASE + 0xFF8, 1), (BASE + 0x1000, 1)]

    machine.simulate(test)


def test_consecutive_loads_keep_the_bus_busy(rng: np.random.Generator) -> None:
    """With 40 cycles of latency, ten LOADs of weights take little more than one beat a cycle."""
    config = replace(PRESETS["nano"], outstanding_reads=8)
    machine = Machine(config, rng.integers(0, 256, 1 << 16).astype(np.uint8), rng, latency=(40, 40))
    beats = 100
    loads = [
        isa.Load(
            kind=LoadKind.WEIGHTS,
            address=0x1000 + 0x400 * k,
            dst=k * beats,
            n0=beats,
            beats=beats,
        )
        for k in range(10)
    ]

    async def test(ctx: Any) -> None:
        assert (await machine.run(ctx, [*loads, isa.Halt()]))[0] == regs.STATUS_DONE
        assert await machine.read(ctx, "LOAD_BUSY") < 1.15 * beats * len(loads) + 60

    machine.simulate(test)


@pytest.mark.parametrize("name", ["nano", "ports2"])
def test_load_after_store(name: str, rng: np.random.Generator) -> None:
    """A LOAD that waits for a STORE reads what it wrote, although memory takes writes no sooner
    than it answers them, on one port much later than on the other."""
    config = CONFIGS[name]
    machine = Machine(config, rng.integers(0, 256, 1 << 14).astype(np.uint8), rng)
    machine.buses[-1].response = (200, 300)
    beats = 2 * config.burst_beats + 1
    n0 = beats * config.bus_bits // config.slot_bits
    program = [
        isa.Load(kind=LoadKind.ACTS, address=0x1000, n0=n0, beats=beats, signal=4),
        isa.Store(address=0x2000, n0=n0, beats=beats, wait=1, signal=1),
        isa.Load(kind=LoadKind.ACTS, address=0x2000, n0=n0, beats=beats, dst=n0, wait=4),
        isa.Halt(),
    ]

    async def test(ctx: Any) -> None:
        machine.window[0x2000:] = 0
        assert await machine.run(ctx, program) == (regs.STATUS_DONE, 0, 0)
        acts = machine.compute.acts
        first, second = ([ctx.get(acts[base + k]) for k in range(n0)] for base in (0, n0))
        assert any(first)
        assert second == first

    machine.simulate(test)


def test_slots_are_written_before_the_retirement(rng: np.random.Generator) -> None:
    """A STORE that waits for a FILL reads what it filled, however long the memory is busy."""
    machine = Machine(PRESETS["nano"], np.zeros(1 << 13, np.uint8), rng)
    program = [
        isa.Fill(code=5, dst=6, n0=1, signal=4),
        isa.Store(address=0x1000, beats=1, src=6, n0=1, wait=1),
        isa.Halt(),
    ]

    async def test(ctx: Any) -> None:
        ctx.set(machine.compute.stall_write, 1)
        await machine.start(ctx, program)
        await ctx.tick().repeat(200)
        ctx.set(machine.compute.stall_write, 0)
        assert await machine.finish(ctx) == (regs.STATUS_DONE, 0, 0)
        assert (machine.window[0x1000:0x1002] == 0x55).all()

    machine.simulate(test)


@pytest.mark.parametrize("name", ["nano", pytest.param("zcu102", marks=pytest.mark.long)])
def test_slots_a_cycle(name: str, rng: np.random.Generator) -> None:
    """Aligned LOADs take a beat, and FILLs as many slots, in as many cycles as banks and beat
    demand; runs of one slot take a cycle each."""
    config = CONFIGS[name]
    per_beat = config.bus_bits // config.slot_bits
    width = config.slots_per_move
    beats = 100
    n0 = beats * per_beat
    load = isa.Load(kind=LoadKind.ACTS, address=0x1000, n0=n0, beats=beats)
    fill = isa.Fill(n0=n0)
    cycles = []

    async def test(ctx: Any) -> None:
        for instr in (load, fill, replace(load, n0=1, n1=n0, d1=2)):
            assert await machine.run(ctx, [instr, isa.Halt()]) == (regs.STATUS_DONE, 0, 0)
            cycles.append(await machine.read(ctx, "LOAD_BUSY"))

    machine = Machine(config, rng.integers(0, 256, 1 << 15).astype(np.uint8), rng)
    machine.simulate(test)
    for taken, least in zip(cycles, (n0 // width, n0 // width, n0), strict=True):
        assert least <= taken <= least + 40


@pytest.mark.parametrize("name", ["nano", "bus512", "bytes"])
def test_tables(name: str, rng: np.random.Generator) -> None:
    """Entries lie as densely as codes in slots."""
    config = CONFIGS[name]
    bits = config.act_format.bits
    codes = rng.integers(0, 1 << bits, (3, TABLE_ENTRIES))
    machine = Machine(config, np.zeros(1 << 13, np.uint8), rng)
    data = images.pack_table(codes, config)
    machine.window[0x1000 : 0x1000 + data.size] = data
    load = isa.Load(
        kind=LoadKind.TABLE, address=0x1000, dst=1, n0=3, beats=images.beats(data.size, config)
    )

    async def test(ctx: Any) -> None:
        assert await machine.run(ctx, [load, isa.Halt()]) == (regs.STATUS_DONE, 0, 0)
        tables = machine.compute.tables
        found = [ctx.get(tables[TABLE_ENTRIES + k]) for k in range(codes.size)]
        assert found == codes.ravel().tolist()

    machine.simulate(test)


def test_store_waits_for_a_bus_that_pauses(rng: np.random.Generator) -> None:
    """Reads of slots stop when the beats do not leave: nothing is lost in between."""
    config = PRESETS["nano"]
    machine = Machine(config, rng.integers(0, 256, 1 << 14).astype(np.uint8), rng)
    program = [
        isa.Load(kind=LoadKind.ACTS, address=0x1000, n0=400, beats=100, signal=4),
        isa.Store(address=0x2000, n0=400, beats=100, wait=1),
        isa.Halt(),
    ]

    async def test(ctx: Any) -> None:
        await machine.start(ctx, program)
        while not ctx.get(machine.dut.irq):
            machine.bus.hung = not machine.bus.hung
            await ctx.tick().repeat(50)
        assert await machine.finish(ctx) == (regs.STATUS_DONE, 0, 0)
        assert (machine.window[0x2000:0x2320] == machine.window[0x1000:0x1320]).all()

    machine.simulate(test)
