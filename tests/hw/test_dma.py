"""Burst splitting, window checks, readers of one port and block walks against what they should
compute."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from hw.blocks import simulate
from sigbit_hw.arch import isa
from sigbit_hw.arch.addressing import block_slots
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import SLOT_BITS
from sigbit_hw.arch.timing import CHECK_LATENCY, WRITES_MAX
from sigbit_hw.gateware.memory.dma import BurstSplitter, ReadDma, WindowCheck, WriteDma
from sigbit_hw.gateware.parts.walker import BLOCK, BlockWalker


@pytest.mark.parametrize(
    ("bus_bits", "burst_beats", "ports"),
    [(64, 16, 1), (64, 1, 1), (128, 256, 1), (512, 64, 1), (512, 256, 4), (128, 256, 2)],
)
def test_bursts(bus_bits: int, burst_beats: int, ports: int, rng: np.random.Generator) -> None:
    config = replace(PRESETS["mid"], bus_bits=bus_bits, burst_beats=burst_beats, ports=ports)
    size, part = bus_bits // 8, config.port_bytes
    beats = [1, burst_beats, burst_beats + 1, *(int(b) for b in rng.integers(1, 200, 8))]
    requests = [(int(rng.integers(0, 1 << 20)) * size, n) for n in beats]
    dut = BurstSplitter(config)
    bursts: list[tuple[int, int]] = []

    async def feed(ctx: Any) -> None:
        for offset, count in requests:
            ctx.set(dut.i.payload, {"offset": offset, "beats": count})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def check(ctx: Any) -> None:
        for offset, count in requests:
            at = offset // size
            while count:
                ctx.set(dut.o.ready, 1)
                (burst,) = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
                n = burst.length + 1
                assert burst.beat == at
                assert n <= min(count, burst_beats)
                assert at * part // 4096 == ((at + n) * part - 1) // 4096
                bursts.append((at, n))
                at, count = at + n, count - n
                ctx.set(dut.o.ready, 0)
                await ctx.tick().repeat(int(rng.integers(0, 3)) + 1)

    simulate(dut, feed, check)
    assert len(bursts) >= len(requests)
    # Nearly as few as possible: only a request's first and last burst are shorter.
    assert len(bursts) <= sum(n // burst_beats + 2 for n in beats)


@pytest.mark.parametrize("writes", [False, True])
def test_window_check(writes: bool, rng: np.random.Generator) -> None:
    config = PRESETS["nano"]
    dut = WindowCheck(config, writes=writes)
    verdicts = set()

    async def check(ctx: Any) -> None:
        for _ in range(300):
            base = int(rng.integers(2)) << 31
            size, low, high = (base + int(v) for v in rng.integers(0, 1 << 12, 3))
            if rng.random() < 0.3:
                size = high = (1 << 32) - 1
            offset, beats = base + int(rng.integers(0, 1 << 12)), int(rng.integers(1, 1 << 8))
            if rng.random() < 0.3:
                offset = int(rng.integers((1 << 32) - 64, 1 << 32))
            end = offset + beats * config.bus_bytes
            if rng.random() < 0.3:
                size = high = min(max(end + int(rng.integers(-1, 2)), 0), (1 << 32) - 1)
                low = max(offset + int(rng.integers(-1, 2)), 0) % (1 << 32)
            ctx.set(dut.window.size, size)
            ctx.set(dut.window.write_lo, low)
            ctx.set(dut.window.write_hi, high)
            ctx.set(dut.offset, offset)
            ctx.set(dut.beats, beats)
            await ctx.tick().repeat(CHECK_LATENCY)
            outside = end > size or (writes and (offset < low or end > high))
            assert ctx.get(dut.outside) == outside
            assert ctx.get(dut.misaligned) == (offset % config.bus_bytes != 0)
            verdicts.add(outside)

    simulate(dut, check)
    assert verdicts == {False, True}


class Readers:
    """Two readers of one port: ``requests`` of each, as first beat and number of beats, and a bus
    on which beat n has the content n. All that happens is recorded with its cycle."""

    def __init__(self, config: ArchConfig, requests: dict[str, list[tuple[int, int]]]) -> None:
        self.dut = ReadDma(config)
        self.size = config.bus_bytes
        self.requests = requests
        self.offered: list[tuple[int, int, int]] = []
        self.bursts: list[tuple[int, int, int]] = []
        self.ends: list[int] = []
        self.beats: dict[str, list[tuple[int, int, int]]] = {name: [] for name in requests}

    def run(self, cycles: int, ready: Callable[[str, int], bool]) -> None:
        dut, bus = self.dut, self.dut.bus
        due: list[tuple[int, bool]] = []

        async def bench(ctx: Any) -> None:
            for cycle in range(cycles):
                for name, requests in self.requests.items():
                    client = getattr(dut, name)
                    ctx.set(client.request.valid, bool(requests))
                    if requests:
                        offset, beats = requests[0][0] * self.size, requests[0][1]
                        ctx.set(client.request.payload, {"offset": offset, "beats": beats})
                    ctx.set(client.beat.ready, ready(name, cycle))
                    if requests and ctx.get(client.request.ready):
                        requests.pop(0)
                ctx.set(bus.burst.ready, ready("burst", cycle))
                here = bool(due) and ready("beat", cycle)
                ctx.set(bus.beat.valid, here)
                if here:
                    content, last = due[0]
                    resp = content % 4
                    ctx.set(bus.beat.payload, {"data": content, "resp": resp, "last": last})
                for name, beats in self.beats.items():
                    beat = getattr(dut, name).beat
                    if ctx.get(beat.valid) and ready(name, cycle):
                        beats.append((cycle, ctx.get(beat.p.data), ctx.get(beat.p.resp)))
                        assert ctx.get(bus.beat.ready)
                if here and ctx.get(bus.beat.ready) and due.pop(0)[1]:
                    self.ends.append(cycle)
                if ctx.get(bus.burst.valid):
                    burst = ctx.get(bus.burst.payload)
                    self.offered.append((cycle, burst.beat, burst.length + 1))
                    if ready("burst", cycle):
                        self.bursts.append(self.offered[-1])
                        numbers = range(burst.beat, burst.beat + burst.length + 1)
                        due.extend((number, number == numbers[-1]) for number in numbers)
                await ctx.tick()

        simulate(dut, bench)


def test_two_readers_take_turns() -> None:
    """Fetch comes first, two cycles after its request, the other one after it. With as many bursts
    in flight as may be, the next one comes in the cycle after a last beat."""
    config = replace(PRESETS["nano"], burst_beats=4, outstanding_reads=2)
    readers = Readers(config, {"fetch": [(16, 4), (64, 3)], "load": [(32, 7)]})
    readers.run(60, lambda name, cycle: cycle >= 12 if name == "beat" else True)
    assert readers.bursts == [(2, 16, 4), (4, 32, 4), (16, 64, 3), (20, 36, 3)]
    assert readers.ends == [15, 19, 22, 25]
    assert [beat[1] for beat in readers.beats["fetch"]] == [16, 17, 18, 19, 64, 65, 66]
    assert [beat[1] for beat in readers.beats["load"]] == list(range(32, 39))


@pytest.mark.parametrize("outstanding", [1, 4])
def test_two_readers(outstanding: int, rng: np.random.Generator) -> None:
    """Whenever bus and readers accept: each reader gets the beats that it requested, in order, with
    their responses; a burst that was offered stays until it is taken."""
    config = replace(PRESETS["nano"], burst_beats=4, outstanding_reads=outstanding)
    requests = {
        name: [(int(rng.integers(1000)), int(rng.integers(1, 8))) for _ in range(30)]
        for name in ("fetch", "load")
    }
    expected = {
        name: [first + k for first, beats in mine for k in range(beats)]
        for name, mine in requests.items()
    }
    readers = Readers(config, requests)
    rates = {"fetch": 0.8, "load": 0.8, "burst": 0.3, "beat": 0.9}
    often = {name: rng.random(900) < rate for name, rate in rates.items()}
    readers.run(900, lambda name, cycle: bool(often[name][cycle]))
    for name, beats in readers.beats.items():
        assert [beat[1] for beat in beats] == expected[name]
        assert [beat[2] for beat in beats] == [number % 4 for number in expected[name]]
    for (cycle, *burst), (after, *following) in pairwise(readers.offered):
        if not often["burst"][cycle]:
            assert (after, following) == (cycle + 1, burst)
    taken = np.array([burst[0] for burst in readers.bursts])
    in_flight = [
        int((taken <= cycle).sum()) - sum(end < cycle for end in readers.ends) for cycle in taken
    ]
    assert max(in_flight) == outstanding


def test_writes_without_response() -> None:
    """It is idle in the cycle after the last response, of as many bursts as the shell admits and
    one that it reports late."""
    dut, count = WriteDma(PRESETS["nano"]), WRITES_MAX + 1
    taken, idle = [], []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.bus.burst.ready, 1)
        ctx.set(dut.request.payload, {"offset": 0, "beats": 1})
        for cycle in range(110):
            ctx.set(dut.request.valid, len(taken) < count)
            ctx.set(dut.bus.done, 80 <= cycle < 80 + count)
            if len(taken) < count and ctx.get(dut.request.ready):
                taken.append(cycle)
            if ctx.get(dut.idle):
                idle.append(cycle)
            await ctx.tick()

    simulate(dut, bench)
    assert taken == list(range(0, 3 * count, 3))
    assert idle == [0, *range(80 + count, 110)]


@pytest.mark.parametrize("width", [1, 2, 8])
def test_walk(width: int, rng: np.random.Generator) -> None:
    dut = BlockWalker(width)

    async def check(ctx: Any) -> None:
        for _ in range(30):
            n = {
                name: int(rng.integers(1, limit))
                for name, limit in (("n0", 5 + 2 * width), ("n1", 6), ("n2", 6))
            }
            d = {name: int(rng.integers(-500, 500)) for name in ("d1", "d2")}
            start = int(rng.integers(0, 1 << SLOT_BITS))
            slots = block_slots(isa.Fill(dst=start, **n, **d)) % (1 << SLOT_BITS)
            ctx.set(dut.block, BLOCK.const({"start": start, **n, **d}))
            ctx.set(dut.restart, 1)
            await ctx.tick()
            ctx.set(dut.restart, 0)
            k = 0
            while k < len(slots):
                await ctx.tick().repeat(int(rng.integers(0, 2)) + 1)
                assert ctx.get(dut.slot) == slots[k]
                limit = int(rng.integers(1, width, endpoint=True))
                ctx.set(dut.limit, limit)
                count = min(limit, n["n0"] - k % n["n0"])
                assert ctx.get(dut.count) == count
                k += count
                assert ctx.get(dut.last) == (k == len(slots))
                ctx.set(dut.step, 1)
                await ctx.tick()
                ctx.set(dut.step, 0)

    simulate(dut, check)
