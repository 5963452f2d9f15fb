"""The memories alone: activations under traffic from all sides; parts of weight words."""

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.timing import READ_LATENCY
from sigbit_hw.gateware.compute.buffers import ActMemory, WeightMemory
from sigbit_sim.verification.compute import offer_read

CONFIG = ArchConfig(
    name="parts",
    weight_format=EsbFormat(4, 1),
    act_format=EsbFormat(4, 2),
    pixels=2,
    oc_lanes=8,
    ic_lanes=8,
    post_lanes=8,
    acc_bits=20,
    term_radix_bits=3,
    act_slots=64,
    weight_words=8,
    param_groups=4,
    tables=2,
    bus_bits=64,
)


def test_parts_of_weights(rng: np.random.Generator) -> None:
    """Random writes of single parts beside a read every cycle; a read beside a write of its word
    is not asked for."""
    dut = WeightMemory(CONFIG)
    parts = len(dut.parts)
    assert parts == 4
    memory = np.zeros((CONFIG.weight_words, parts), np.uint64)
    expected: list[bytes] = []
    compared = 0

    async def test(ctx: Any) -> None:
        nonlocal compared
        for _ in range(400):
            word, part = int(rng.integers(CONFIG.weight_words)), int(rng.integers(parts))
            value, valid = int(rng.integers(1 << 63)), bool(rng.random() < 0.5)
            read = (word + int(rng.integers(1, CONFIG.weight_words))) % CONFIG.weight_words
            ctx.set(dut.write.word, word)
            ctx.set(dut.write.part, part)
            ctx.set(dut.write.data, value)
            ctx.set(dut.write.valid, int(valid))
            ctx.set(dut.word, read)
            if len(expected) == dut.read_latency:
                assert ctx.get(dut.weights).to_bytes(8 * parts, "little") == expected.pop(0)
                compared += 1
            expected.append(memory[read].tobytes())
            if valid:
                memory[word, part] = value
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()
    assert compared > 300
    assert memory.all()


def act_config(pixels: int, ic_lanes: int, bus_bits: int) -> ArchConfig:
    return ArchConfig(
        name=f"{pixels}x{ic_lanes}-{bus_bits}",
        weight_format=EsbFormat(4, 1),
        act_format=EsbFormat(4, 2),
        pixels=pixels,
        oc_lanes=16,
        ic_lanes=ic_lanes,
        post_lanes=ic_lanes,
        acc_bits=20,
        term_radix_bits=3,
        act_slots=16 * pixels,
        weight_words=64,
        param_groups=4,
        tables=2,
        bus_bits=bus_bits,
    )


class Traffic:
    """Random drain writes, slot writes and slot reads of an activation memory, followed in a model
    of its contents."""

    def __init__(self, config: ArchConfig, rng: np.random.Generator) -> None:
        self.config, self.rng, self.dut = config, rng, ActMemory(config)
        self.memory = [0] * config.act_slots
        self.waiting: dict[int, int] | None = None  # accepted, not written yet
        self.offer: dict[int, int] = {}
        self.read: dict[int, int] = {}  # offered: slots by element
        self.reading: dict[int, int] = {}  # accepted, not read yet
        self.due: list[tuple[int, dict[int, int]]] = []  # cycles and data of slot reads
        self.transfers = self.full = self.held = self.crossing = self.reads = self.wide = 0

    def value(self) -> int:
        return int(self.rng.integers(1 << min(self.config.slot_bits, 62)))

    def drive(self, ctx: Any, drain: float) -> set[int]:
        """Inputs of a cycle; returns the banks that the drain writes."""
        config, rng, dut = self.config, self.rng, self.dut
        drained = {b for b in range(config.pixels) if rng.random() < drain}
        for b, port in enumerate(dut.drain):
            ctx.set(port.valid, int(b in drained))
            ctx.set(port.word, int(rng.integers(config.act_slots // config.pixels)))
            ctx.set(port.data, self.value())
        if not self.offer and rng.random() < 0.7:
            count = int(rng.integers(1, config.slots_per_move + 1))
            first = int(rng.integers(config.act_slots - count + 1))
            self.offer = {first + k: self.value() for k in range(count)}
            ctx.set(dut.write.stream.p.slot, first)
            ctx.set(dut.write.stream.p.count, count)
            for k in range(config.slots_per_move):
                ctx.set(dut.write.stream.p.data[k], self.offer.get(first + k, self.value()))
        ctx.set(dut.write.stream.valid, int(bool(self.offer)))
        if not self.read and rng.random() < 0.5:
            self.read = offer_read(ctx, dut.read, config, rng)
        ctx.set(dut.read.request.valid, int(bool(self.read)))
        return drained

    def cycle(self, ctx: Any, now: int, drained: set[int]) -> None:
        """Compares and follows a cycle."""
        dut, pixels = self.dut, self.config.pixels
        if self.due and self.due[0][0] == now:
            assert ctx.get(dut.read.valid)
            slots = self.due.pop(0)[1]
            assert {k: ctx.get(dut.read.data.slots[k]) for k in slots} == slots
            self.reads += 1
        else:
            assert not ctx.get(dut.read.valid)
        assert ctx.get(dut.write.busy) == (self.waiting is not None)

        banks = {slot % pixels for slot in self.waiting or self.reading.values()}
        ready = ctx.get(dut.write.stream.ready)
        assert ready == (not banks & drained)
        assert ctx.get(dut.read.request.ready) == (ready and not self.offer)
        if ready:
            if self.reading:
                slots = {k: self.memory[slot] for k, slot in self.reading.items()}
                self.due.append((now + READ_LATENCY, slots))
            self.wide += len(self.reading) == self.config.slots_per_move
            self.reading = {}
            if self.read and not self.offer:
                self.reading, self.read = self.read, {}
        writes = {
            ctx.get(port.word) * pixels + b: ctx.get(port.data)
            for b, port in enumerate(dut.drain)
            if b in drained
        }
        self.held += not ready
        if ready:
            writes |= self.waiting or {}
            self.waiting = self.offer or None
            self.transfers += bool(self.offer)
            self.full += len(self.offer) == self.config.slots_per_move
            self.crossing += len({slot // pixels for slot in self.offer}) > 1
            self.offer = {}
        traced = {}
        for b in range(pixels):
            trace = getattr(dut.trace, f"bank_{b}")
            if ctx.get(trace.valid):
                traced[ctx.get(trace.word) * pixels + b] = ctx.get(trace.data)
        assert traced == writes
        for slot, value in writes.items():
            self.memory[slot] = value


@pytest.mark.parametrize(
    "config",
    [
        act_config(2, 2, 64),
        act_config(4, 8, 64),
        act_config(8, 2, 64),
        act_config(16, 16, 512),
    ],
    ids=lambda c: c.name,
)
def test_activations(config: ArchConfig, rng: np.random.Generator) -> None:
    """Every write takes place in the first cycle in which the drain leaves all its banks alone, and
    changes nothing else; reads beside it give what is in the memory."""
    traffic = Traffic(config, rng)
    dut, words = traffic.dut, config.act_slots // config.pixels

    async def test(ctx: Any) -> None:
        expected: list[list[int]] = []
        for now in range(900):
            drained = traffic.drive(ctx, (0.0, 0.3, 0.8 / config.pixels)[now // 300])
            at = [int(rng.integers(words)) for _ in range(config.pixels)]
            for word, address in zip(at, dut.words, strict=True):
                ctx.set(address, word)
            if len(expected) == dut.read_latency:
                assert [ctx.get(slot) for slot in dut.slots] == expected.pop(0)
            expected.append([traffic.memory[word * config.pixels + b] for b, word in enumerate(at)])
            traffic.cycle(ctx, now, drained)
            await ctx.tick()
        for slot, value in enumerate(traffic.memory):
            assert ctx.get(dut.banks[slot % config.pixels][slot // config.pixels]) == value

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()
    assert traffic.transfers > 150
    assert min(traffic.full, traffic.held, traffic.crossing) > 10
    assert traffic.reads > 60
    assert traffic.wide > 4
