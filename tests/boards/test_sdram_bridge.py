"""The bridge between AXI4 and the SDRAM controller's words, in two clocks."""

import random
from collections import deque
from collections.abc import Callable

import pytest

from boards.native import Controller, clocked
from sigbit_boards.memory.async_queue import AsyncQueue
from sigbit_boards.memory.bridge import SIZE
from sigbit_boards.memory.sdram import DOMAIN, Crossing
from sigbit_hw.arch.bus import Response

BEAT = 8
REGION = 1 << 10
CLOCKS = [7, 11, 23]
"""Periods of the memory's clock in ns; the bus has 10."""


class Bench:
    """Reads, writes and a host's accesses at the same time, each in its own part of the memory."""

    def __init__(self, seed: int, period: int, stall: float) -> None:
        self.rng, self.stall = random.Random(seed), stall
        self.period = period
        self.dut = Crossing(8 * BEAT)
        self.memory = Controller(self.dut.port, random.Random(seed + 1), stall)
        self.reference: dict[int, int] = {}
        self.compared = 0

    def run(self, *tests: Callable, limit: int = 60_000) -> None:
        simulator = clocked(self.dut, self.period)

        async def watch(ctx) -> None:
            for _ in range(limit):
                await ctx.tick()
            raise AssertionError(f"not done within {limit} cycles")

        for process in (self.memory.run, self.check_answers, watch):
            simulator.add_testbench(process, background=True)
        for test in tests:
            simulator.add_testbench(test)
        simulator.run()

    async def check_answers(self, ctx) -> None:
        """A waiting item does not change."""
        bus, before = self.dut.access.bus, {}
        names = ("rvalid", "rready", "rdata", "rlast", "rresp", "bvalid", "bready", "bresp")
        async for _, _, *values in ctx.tick().sample(*(getattr(bus, n) for n in names)):
            now = dict(zip(names, values, strict=True))
            for channel, payload in (("r", ("rdata", "rlast", "rresp")), ("b", ("bresp",))):
                if before.get(f"{channel}valid") and not before[f"{channel}ready"]:
                    assert now[f"{channel}valid"]
                    assert all(now[name] == before[name] for name in payload)
            before = now

    async def pause(self, ctx) -> None:
        while self.rng.random() < self.stall:
            await ctx.tick()

    # Writes

    async def write(self, ctx, address: int, beats: list[tuple[int, int]]) -> int:
        """A burst of (data, strobe); its response."""
        bus = self.dut.access.bus
        ctx.set(bus.awaddr, address)
        ctx.set(bus.awlen, len(beats) - 1)
        ctx.set(bus.awvalid, 1)
        await ctx.tick().until(bus.awready)
        ctx.set(bus.awvalid, 0)
        for k, (data, strobe) in enumerate(beats):
            await self.pause(ctx)
            ctx.set(bus.wdata, data)
            ctx.set(bus.wstrb, strobe)
            ctx.set(bus.wlast, k == len(beats) - 1)
            ctx.set(bus.wvalid, 1)
            await ctx.tick().until(bus.wready)
            ctx.set(bus.wvalid, 0)
        await self.pause(ctx)
        ctx.set(bus.bready, 1)
        (response,) = await ctx.tick().sample(bus.bresp).until(bus.bvalid)
        ctx.set(bus.bready, 0)
        return response

    def random_burst(self, first: int) -> tuple[int, list[tuple[int, int]]]:
        count = self.rng.choice([1, 2, self.rng.randrange(1, 17), 16])
        begin = self.rng.randrange((REGION // BEAT) - count)
        full = self.rng.random() < 0.5
        beats = [
            (self.rng.randrange(1 << 64), 0xFF if full else self.rng.randrange(256))
            for _ in range(count)
        ]
        return first + begin * BEAT, beats

    def note(self, address: int, beats: list[tuple[int, int]]) -> None:
        for k, (data, strobe) in enumerate(beats):
            for lane in range(BEAT):
                if strobe >> lane & 1:
                    self.reference[address + k * BEAT + lane] = data >> 8 * lane & 0xFF

    # Reads

    async def read(self, ctx, bursts: list[tuple[int, int]], in_flight: int = 8) -> None:
        """Bursts of (address, beats), several in flight; every beat is compared."""
        bus = self.dut.access.bus
        waiting, flying, beat = deque(bursts), deque(), 0
        signals = (bus.arready, bus.rvalid, bus.rdata, bus.rlast, bus.rresp)
        while waiting or flying:
            asks = bool(waiting) and len(flying) < in_flight and self.rng.random() >= self.stall
            asks = asks or bool(ctx.get(bus.arvalid))
            if asks:
                ctx.set(bus.araddr, waiting[0][0])
                ctx.set(bus.arlen, waiting[0][1] - 1)
            ctx.set(bus.arvalid, asks)
            takes = self.rng.random() >= self.stall
            ctx.set(bus.rready, takes)
            _, _, ready, valid, data, last, response = await ctx.tick().sample(*signals)
            if asks and ready:
                flying.append(waiting.popleft())
                ctx.set(bus.arvalid, 0)
            if takes and valid:
                address, beats = flying[0]
                assert last == (beat == beats - 1)
                inside = address < SIZE
                assert response == (Response.OKAY if inside else Response.DECERR)
                if inside:
                    self._compare(address + beat * BEAT, data)
                beat += 1
                if last:
                    flying.popleft()
                    beat = 0
        ctx.set(bus.rready, 0)

    def _compare(self, address: int, data: int) -> None:
        for lane in range(BEAT):
            assert data >> 8 * lane & 0xFF == self.reference.get(address + lane, 0), hex(address)
        self.compared += 1

    # The host

    async def host(self, ctx, index: int, data: int | None = None) -> int:
        """Write ``data`` to word ``index``, or read it."""
        access = self.dut.access
        ctx.set(access.host_index, index)
        ctx.set(access.host_data, data or 0)
        asked = access.host_read if data is None else access.host_write
        ctx.set(asked, 1)
        (word,) = await ctx.tick().sample(access.host_word).until(access.host_done)
        ctx.set(asked, 0)
        return word


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("period", CLOCKS)
def test_everything_at_once(period: int, stall: float) -> None:
    bench = Bench(round(100 * stall) + period, period, stall)
    rng = random.Random(period)
    places = [0, SIZE // 2, SIZE - 2 * REGION]
    done = {"written": 0}

    async def writer(ctx) -> None:
        for _ in range(2):
            for _ in range(6):
                address, beats = bench.random_burst(places[0])
                assert await bench.write(ctx, address, beats) == Response.OKAY
                bench.note(address, beats)
            done["written"] += 1
            await ctx.tick().until(bench.dut.access.bus.arvalid)

    async def reader(ctx) -> None:
        """Elsewhere first, then what was written."""
        while done["written"] < 2:
            await bench.read(ctx, [(places[1] + 64 * k, rng.randrange(1, 9)) for k in range(4)])
        await bench.read(ctx, [(places[0] + 128 * k, 16) for k in range(REGION // 128)])

    async def host(ctx) -> None:
        first = places[2] // 4
        words = {first + rng.randrange(64): rng.randrange(1 << 32) for _ in range(10)}
        for index, word in words.items():
            await bench.host(ctx, index, word)
            assert await bench.host(ctx, index) == word
            await ctx.tick().repeat(1 + rng.randrange(20))
        for index, word in words.items():
            assert await bench.host(ctx, index) == word

    bench.run(writer, reader, host)
    assert bench.compared > REGION // BEAT
    assert len(bench.reference) > 50


def test_reads_stay_in_flight_and_keep_the_memory_busy() -> None:
    """Bursts of 16 beats, 4 in flight: the port has a command in nearly every cycle."""
    bench = Bench(5, 10, 0.0)

    async def test(ctx) -> None:
        await bench.read(ctx, [(128 * k, 16) for k in range(64)], in_flight=4)

    bench.run(test)
    assert bench.memory.commands == 64 * 64
    assert bench.memory.last - bench.memory.first < 1.05 * 64 * 64


def test_writes_keep_the_memory_busy() -> None:
    bench = Bench(6, 10, 0.0)

    async def test(ctx) -> None:
        for k in range(32):
            beats = [(k, 0xFF)] * 16
            assert await bench.write(ctx, 128 * k, beats) == Response.OKAY
            bench.note(128 * k, beats)
        await bench.read(ctx, [(128 * 31, 16)])

    bench.run(test)
    assert bench.memory.commands == 33 * 64
    assert bench.memory.last - bench.memory.first < 1.05 * 33 * 64


@pytest.mark.parametrize("beats", [1, 16])
def test_what_lies_beyond_is_answered_with_an_error(beats: int) -> None:
    bench = Bench(1, 11, 0.3)

    async def test(ctx) -> None:
        data = [(1 << k, 0xFF) for k in range(beats)]
        for address in (SIZE, 1 << 39):
            assert await bench.write(ctx, address, data) == Response.DECERR
            await bench.read(ctx, [(address, beats), (0, 2), (address, beats)])
        assert await bench.write(ctx, 0, data) == Response.OKAY
        bench.note(0, data)
        await bench.read(ctx, [(0, beats)])

    bench.run(test)
    assert bench.memory.commands == 4 * (2 * 2 + 2 * beats)


@pytest.mark.parametrize("period", CLOCKS)
def test_a_queue_between_clocks_keeps_everything_in_order(period: int) -> None:
    queue = AsyncQueue(16, 4, "sync", DOMAIN)
    rng = random.Random(period)
    simulator = clocked(queue, period)
    sent, got = [rng.randrange(1 << 16) for _ in range(300)], []

    async def send(ctx) -> None:
        for word in sent:
            ctx.set(queue.i.payload, word)
            ctx.set(queue.i.valid, 1)
            (level,) = await ctx.tick().sample(queue.level).until(queue.i.ready)
            assert level < 4
            ctx.set(queue.i.valid, 0)
            if rng.random() < 0.2:
                await ctx.tick().repeat(1 + rng.randrange(20))

    async def receive(ctx) -> None:
        while len(got) < len(sent):
            ready = rng.random() < 0.7
            ctx.set(queue.o.ready, ready)
            _, _, valid, word = await ctx.tick(DOMAIN).sample(queue.o.valid, queue.o.payload)
            if valid and ready:
                got.append(word)

    simulator.add_testbench(send)
    simulator.add_testbench(receive)
    simulator.run()
    assert got == sent
