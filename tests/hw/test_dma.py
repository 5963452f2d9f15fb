"""Burst splitting, window checks and block walks against what they should compute."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from sigbit_hw.arch import isa
from sigbit_hw.arch.addressing import block_slots
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import SLOT_BITS
from sigbit_hw.arch.timing import CHECK_LATENCY
from sigbit_hw.gateware.memory.dma import BurstSplitter, WindowCheck
from sigbit_hw.gateware.parts.walker import BLOCK, BlockWalker


def simulate(dut: Any, *benches: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    for bench in benches[:-1]:
        simulator.add_testbench(bench, background=True)
    simulator.add_testbench(benches[-1])
    simulator.run()


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
            size, low, high = (int(v) for v in rng.integers(0, 1 << 12, 3))
            if rng.random() < 0.3:
                size = high = (1 << 32) - 1
            offset, beats = int(rng.integers(0, 1 << 12)), int(rng.integers(1, 1 << 8))
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
