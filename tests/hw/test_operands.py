"""Nest walker and operand fetch: the slots that every lane gets, against addressing."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator
from amaranth.utils import ceil_log2

from sigbit_hw.arch import addressing, isa
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import WRAP_MIN, Instr, Mode
from sigbit_hw.gateware.compute.agu import NestWalker, nest_layout, segment_layout
from sigbit_hw.gateware.compute.array import CONTROL
from sigbit_hw.gateware.compute.buffers import ActMemory
from sigbit_hw.gateware.compute.operands import OperandFetch, most_line_ends, number_of
from sigbit_hw.gateware.parts.pipeline import delay
from sigbit_sim.random_programs.shapes import random_segment


def config(pixels: int) -> ArchConfig:
    return replace(PRESETS["nano"], name=f"pixels{pixels}", pixels=pixels)


class Reader(wiring.Component):
    """Walker and fetch, with an activation memory whose slots hold their own numbers."""

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        self.walker, self.fetch = NestWalker(config), OperandFetch(config)
        super().__init__(
            {
                "fed": Out(1),
                "control": Out(CONTROL),
                "acts": Out(config.slot_bits).array(config.pixels),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.walker, m.submodules.fetch = walker, fetch = self.walker, self.fetch
        lane_bits = ceil_log2(self.config.pixels)
        m.d.comb += [
            fetch.valid.eq(walker.valid),
            fetch.step.eq(walker.step),
            self.fed.eq(fetch.fed),
            self.control.eq(fetch.control),
        ]
        for b, (word, slot) in enumerate(zip(fetch.words, fetch.slots, strict=True)):
            read = delay(m, word, ActMemory.read_latency, f"word_{b}")
            m.d.comb += slot.eq(read << lane_bits | b)
        m.d.comb += [a.eq(b) for a, b in zip(self.acts, fetch.acts, strict=True)]
        return m


def steps_of(config: ArchConfig, programs: list[tuple[Instr, list[Instr]]]) -> list[list[int]]:
    """Slots of all lanes of every step of these EXECs with their segments."""
    dut = Reader(config)
    total = sum(
        e.n_ocb
        * e.n_rows
        * addressing.blocks_of_run(e, config)
        * sum(s.n_ky * s.n_kx * s.n_ic for s in segments)
        for e, segments in programs
    )
    steps: list[list[int]] = []

    async def drive(ctx):
        walker = dut.walker
        for execute, segments in programs:
            while ctx.get(walker.busy):
                await ctx.tick()
            for segment in segments:
                ctx.set(walker.segment.index, segment.index)
                ctx.set(
                    walker.segment.entry,
                    {name: getattr(segment, name) for name in segment_layout(config).members},
                )
                ctx.set(walker.segment.valid, 1)
                await ctx.tick()
            ctx.set(walker.segment.valid, 0)
            names = set(nest_layout(config).members) - {"drain_cycles"}
            ctx.set(walker.i.payload, {name: getattr(execute, name) for name in names})
            ctx.set(walker.i.valid, 1)
            await ctx.tick()
            ctx.set(walker.i.valid, 0)

    async def watch(ctx):
        for _ in range(3 * total + 500):
            if len(steps) == total:
                break
            await ctx.tick()
            if ctx.get(dut.fed):
                steps.append([ctx.get(act) for act in dut.acts])

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(drive, background=True)
    sim.add_testbench(watch)
    sim.run()
    assert len(steps) == total > 0
    return steps


def check(config: ArchConfig, programs: list[tuple[Instr, list[Instr]]]) -> int:
    """Compare the lanes within their runs; how many there were, at a line end or more."""
    steps = iter(steps_of(config, programs))
    further = 0
    for execute, segments in programs:
        valid = addressing.valid_lanes(execute, config)
        ends = addressing.line_ends(execute, config)[:, :-1]
        slots = [addressing.read_slots(s, execute, config) for s in segments]
        for at in np.ndindex(execute.n_ocb, execute.n_rows, len(valid)):
            lanes = valid[at[2]]
            for reads in slots:
                for step in reads[at]:
                    got = np.array(next(steps))
                    assert (got[lanes] == step[lanes]).all(), (execute, at)
            further += int(ends[at[2]][lanes].sum())
    return further


@pytest.mark.parametrize("pixels", [2, 4, 8, 16, 32])
def test_lanes(pixels, rng):
    """Lines of all lengths up to more than a block, in random nests back to back."""
    c = config(pixels)
    least = min(WRAP_MIN, pixels)
    programs = []
    for wrap in 2 * [*range(least, min(pixels, 16) + 3), pixels, 2 * pixels + 1]:
        sizes = {
            "n_ocb": int(rng.integers(1, 3)),
            "n_rows": int(rng.integers(1, 3)),
            "run": int(rng.integers(2 * pixels, 5 * pixels)),
        }
        execute = isa.Exec(
            mode=Mode.MAC,
            wrap=wrap,
            n_seg=int(rng.integers(1, 4)),
            **sizes,
            **addressing.column_steps(wrap, c),
        )
        segments = [
            random_segment(rng, c, execute, index, 0, c.act_slots, 4)
            for index in range(execute.n_seg)
        ]
        programs.append((execute, segments))
    assert check(c, programs) > 2 * pixels


def test_a_run_of_one_short_line():
    """A line shorter than the least one of several: no lane of the run comes after its end."""
    c = config(8)
    execute = isa.Exec(wrap=1, run=1, n_rows=3, **addressing.column_steps(1, c))
    segment = isa.Seg(base=100, n_ic=2, d_ic=9, d_row=5, gap=24, d_block=3)
    assert check(c, [(execute, [segment])]) == 0


@pytest.mark.parametrize("pixels", [2, 4, 8, 16, 32, 64])
def test_most_line_ends(pixels):
    def ends(wrap: int) -> int:
        execute = isa.Exec(wrap=wrap, run=wrap * pixels)
        return int(addressing.line_ends(execute, c)[:, :-1].max())

    c = config(pixels)
    assert most_line_ends(pixels) == max(map(ends, range(min(WRAP_MIN, pixels), 3 * pixels)))


def test_drains_are_apart():
    """Steps follow each other without gaps, from the cycle after an EXEC was taken; but the last
    step of a draining block comes no sooner after that of the draining block before it than that
    one takes to drain."""
    c = config(2)
    # Steps of a block, blocks, whether they drain, and cycles that this takes.
    programs = [
        (3, 2, True, 3),
        (1, 4, True, 1),
        (2, 3, True, 7),
        (1, 5, False, 9),
        (2, 1, True, 1),
        (1, 2, True, 4),
        (9, 2, True, 4),
    ]
    dut = NestWalker(c)
    taken, fed = [], []

    async def drive(ctx):
        for length, blocks, drain, cycles in programs:
            while ctx.get(dut.busy):
                await ctx.tick()
            ctx.set(dut.segment.entry, {"n_ky": 1, "n_kx": 1, "n_ic": length})
            ctx.set(dut.segment.valid, 1)
            await ctx.tick()
            ctx.set(dut.segment.valid, 0)
            sizes = {"n_seg": 1, "n_ocb": 1, "n_rows": blocks, "run": 2, "wrap": 2}
            ctx.set(dut.i.payload, {**sizes, "drain": drain, "drain_cycles": cycles})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)

    async def watch(ctx):
        for cycle in range(120):
            if ctx.get(dut.i.valid):
                taken.append(cycle)
            if ctx.get(dut.feeding):
                fed.append(cycle)
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(drive, background=True)
    sim.add_testbench(watch)
    sim.run()
    free, steps = 0, []
    for cycle, (length, blocks, drain, cycles) in zip(taken, programs, strict=True):
        for k in range(length * blocks):
            last = drain and k % length == length - 1
            cycle = max(cycle + 1, free if last else 0)
            steps.append(cycle)
            if last:
                free = cycle + cycles
    assert fed == steps


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_number_of_flags(count):
    flags, number = Signal(count), Signal(8)
    m = Module()
    m.d.comb += number.eq(number_of(list(flags)))
    got = []

    async def bench(ctx):
        for k in range(count + 1):
            ctx.set(flags, (1 << k) - 1)
            got.append(ctx.get(number))

    sim = Simulator(m)
    sim.add_testbench(bench)
    sim.run()
    assert got == list(range(count + 1))


def test_converts():
    for part in (NestWalker, OperandFetch):
        assert "module \\top" in rtlil.convert(part(PRESETS["mobile"]))
