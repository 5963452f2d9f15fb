"""The drain against addressing and numerics: slots, codes and cycles, one and several pixels a
cycle."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, connect, flipped
from amaranth.sim import Simulator

from sigbit_hw.arch import addressing, isa, numerics
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import Instr, Mode
from sigbit_hw.gateware.compute.drain import Drain
from sigbit_hw.gateware.compute.drain_slots import OutputSlots, PixelSteps
from sigbit_hw.gateware.compute.drain_walker import DrainWalker, drain_layout
from sigbit_sim.verification.compute import random_params


def config(pixels: int, oc: int, ic: int, post: int, slots: int = 4096) -> ArchConfig:
    return ArchConfig(
        name=f"{pixels}x{oc}x{ic}-{post}",
        weight_format=EsbFormat(4, 1),
        act_format=EsbFormat(4, 2),
        pixels=pixels,
        oc_lanes=oc,
        ic_lanes=ic,
        post_lanes=post,
        acc_bits=20,
        term_radix_bits=3,
        act_slots=slots,
        weight_words=64,
        param_groups=16,
        tables=4,
        bus_bits=64,
    )


@dataclass
class Job:
    """An EXEC that drains, its OUT, and the cycles left empty before every block."""

    execute: Instr
    out: Instr
    pauses: list[int]

    def cycles(self, config: ArchConfig) -> int:
        """Of a block."""
        if self.execute.mode == Mode.MAC:
            return config.drain_cycles(self.out.n_planes)
        return config.pixels // config.drain_pixels * self.out.n_planes


def random_job(config: ArchConfig, rng: np.random.Generator, *, legal: bool = False) -> Job:
    """A job of about 20 blocks. Slots may be any, they are compared modulo the memory's size; if
    ``legal`` those of a cycle lie in different banks."""
    wrap = int(rng.integers(min(4, config.pixels), 40))
    n_ocb, n_rows = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    run = int(rng.integers(1, max(2, 20 // (n_ocb * n_rows)) * config.pixels))
    if run < 4 and rng.random() < 0.5:
        wrap = run
    mode = Mode.MAX if rng.random() < 0.3 else Mode.MAC
    execute = isa.Exec(
        mode=int(mode),
        drain=1,
        n_ocb=n_ocb,
        n_rows=n_rows,
        run=run,
        wrap=wrap,
        block_step=config.pixels % wrap,
        group_step=config.drain_pixels % wrap,
    )
    limit = config.act_slots // 2
    steps = {
        f"d_{name}": int(rng.integers(-limit, limit))
        for name in ("pix", "col", "line", "row", "plane")
    }
    planes = int(rng.integers(1, 4))
    out = isa.Out(
        base=int(rng.integers(config.act_slots)),
        d_slot=2 * int(rng.integers(-limit // 2, limit // 2)) + 1,
        n_slots=int(rng.integers(1, n_ocb * config.slots_per_block + 2)),
        phases=int(rng.choice([1, 2, 3, 4, 5, 15])),
        n_planes=planes,
        param=int(rng.integers(config.param_groups - n_ocb * config.groups_per_block + 1)),
        table=int(rng.integers(config.tables - planes + 1)),
        **steps,
    )
    if legal:
        out = without_conflicts(out, execute, config, rng)
    blocks = n_ocb * n_rows * addressing.blocks_of_run(execute, config)
    return Job(execute, out, rng.choice([0, 0, 0, 1, 5], blocks).tolist())


def without_conflicts(
    out: Instr, execute: Instr, config: ArchConfig, rng: np.random.Generator
) -> Instr:
    """``out`` with other distances, so that no two writes of a cycle lie in one bank."""
    pixels = config.pixels
    for _ in range(40):
        if addressing.bank_conflicts(out, execute, config) == 0:
            return out
        places = rng.integers(-config.act_slots // 2 // pixels, config.act_slots // 2 // pixels, 3)
        shifts = rng.integers(pixels, size=3) if rng.random() < 0.7 else np.ones(3, int)
        d_pix, d_col, d_line = (places * pixels + shifts).tolist()
        out = replace(out, d_pix=d_pix, d_col=d_col, d_line=d_line)
    d_slot = out.d_slot if config.drain_pixels == 1 else 1
    return replace(out, phases=1, d_pix=1, d_col=1, d_line=1 + pixels, d_slot=d_slot)


@dataclass(frozen=True)
class Write:
    """A slot, and what goes there: of a block's pixel and channel slot, looked up for a plane."""

    slot: int
    plane: int
    pixel: int
    channel: int


def written(job: Job, config: ArchConfig) -> list[list[list[Write]]]:
    """What is written, cycle by cycle of every block."""
    execute, out = job.execute, job.out
    slots = addressing.write_slots(out, execute, config) % config.act_slots
    planes, channels = slots.shape[:2]
    slots = slots.reshape(planes, channels, execute.n_rows, execute.run)
    mac = execute.mode == Mode.MAC
    groups, width = (config.groups_per_block, config.drain_slots) if mac else (1, 1)
    blocks = []
    for ocb, row, first in itertools.product(
        range(execute.n_ocb), range(execute.n_rows), range(0, execute.run, config.pixels)
    ):
        cycles = []
        for plane, step, group in itertools.product(
            range(planes), range(0, config.pixels, config.drain_pixels), range(groups)
        ):
            cycles.append(
                [
                    Write(
                        int(slots[plane, channel, row, first + pixel]),
                        plane,
                        pixel,
                        channel - ocb * groups * width,
                    )
                    for pixel in range(step, step + config.drain_pixels)
                    for channel in range(
                        (ocb * groups + group) * width, (ocb * groups + group + 1) * width
                    )
                    if first + pixel < execute.run and channel < channels
                ]
            )
        blocks.append(cycles)
    return blocks


class Addresses(wiring.Component):
    """The address half of the drain alone."""

    def __init__(self, config: ArchConfig) -> None:
        self.walker, self.steps = DrainWalker(config), PixelSteps(config)
        self.slots = OutputSlots(config)
        super().__init__({"i": In(stream.Signature(drain_layout(config))), "start": In(1)})

    @property
    def latency(self) -> int:
        """From ``start`` to the first slots."""
        return self.walker.latency + self.steps.latency + self.slots.latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.walker, m.submodules.steps = self.walker, self.steps
        m.submodules.slots = self.slots
        connect(m, flipped(self.i), self.walker.i)
        m.d.comb += [
            self.walker.start.eq(self.start),
            self.steps.group.eq(self.walker.group),
            self.slots.move.eq(self.steps.move),
        ]
        return m


def fields(job: Job, config: ArchConfig) -> dict[str, int]:
    """``drain_layout`` of a job."""
    layout = drain_layout(config)
    values = {**asdict(job.execute), **asdict(job.out)}
    return {name: values[name] & ((1 << layout[name].width) - 1) for name in layout.members}


Observer = Callable[[Any, int, tuple[int, int] | None], None]


def run(
    dut: Any,
    jobs: list[Job],
    config: ArchConfig,
    observe: Observer,
    prepare: Callable[[Any, Any], Awaitable[None]] | None = None,
) -> list[list[int]]:
    """Offers ``jobs`` and starts their blocks; calls ``observe`` in every cycle (with the cycle,
    and the numbers of job and block if one starts), and for a while after the last. Returns the
    cycles of the starts, job by job."""
    starts: list[list[int]] = [[] for _ in jobs]

    async def bench(ctx: Any) -> None:
        if prepare:
            await prepare(ctx, dut)
        now = offered = free = tail = 0
        todo = [
            (k, block, pause)
            for k, job in enumerate(jobs)
            for block, pause in enumerate(job.pauses)
        ]
        limit = 500 + sum((job.cycles(config) + 6) * len(job.pauses) for job in jobs)
        while tail < dut.latency + 40:
            assert now < limit, f"still running after {limit} cycles"
            ctx.set(dut.i.valid, int(offered < len(jobs)))
            if offered < len(jobs):
                ctx.set(dut.i.payload, fields(jobs[offered], config))
            begins = None
            if todo and todo[0][0] < offered and now >= free + todo[0][2]:
                k, block, _ = todo.pop(0)
                begins = k, block
                starts[k].append(now)
                free = now + jobs[k].cycles(config)
            ctx.set(dut.start, int(begins is not None))
            observe(ctx, now, begins)
            tail = 0 if todo or now < free else tail + 1
            offered += bool(offered < len(jobs) and ctx.get(dut.i.ready))
            await ctx.tick()
            now += 1

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return starts


ADDRESSES = [
    config(*sizes)
    for sizes in (
        (2, 4, 4, 4),
        (4, 8, 2, 4),
        (4, 8, 2, 8),
        (2, 4, 4, 8),
        (4, 4, 4, 8),
        (8, 4, 4, 16),
        (16, 4, 4, 32),
        (32, 4, 4, 64),
        (32, 4, 4, 128),
    )
]
ADDRESSES.append(
    replace(ADDRESSES[0], name="few_bits", step_bits=20, fraction_bits=6, result_bits=4)
)


def expected_ends(
    jobs: list[Job], starts: list[list[int]], config: ArchConfig, latency: int
) -> list[int]:
    """Cycles of the last writes of every job."""
    return [
        cycles[-1] + latency + job.cycles(config) - 1
        for job, cycles in zip(jobs, starts, strict=True)
    ]


def difference(seen: dict[int, Any], expected: dict[int, Any]) -> tuple[int, Any, Any] | None:
    """The first cycle that differs, what was seen then and what was expected."""
    for cycle in sorted(seen.keys() | expected.keys()):
        if seen.get(cycle) != expected.get(cycle):
            return cycle, seen.get(cycle), expected.get(cycle)
    return None


@pytest.mark.parametrize("config", ADDRESSES, ids=lambda c: c.name)
def test_slots(config: ArchConfig, rng: np.random.Generator) -> None:
    """Any slots, cycle by cycle, of blocks as close as they may come and further apart."""
    jobs = [random_job(config, rng) for _ in range(25)]
    dut = Addresses(config)
    seen: dict[int, list[int]] = {}
    ends: list[int] = []

    def observe(ctx: Any, now: int, _: object) -> None:
        if write := ctx.get(dut.slots.write):
            seen[now] = sorted(
                ctx.get(slot) for k, slot in enumerate(dut.slots.slots) if write >> k & 1
            )
        if ctx.get(dut.slots.end):
            ends.append(now)

    starts = run(dut, jobs, config, observe)
    expected: dict[int, list[int]] = {}
    for job, cycles in zip(jobs, starts, strict=True):
        for start, block in zip(cycles, written(job, config), strict=True):
            assert len(block) == job.cycles(config)
            expected |= {
                start + dut.latency + k: sorted(write.slot for write in writes)
                for k, writes in enumerate(block)
                if writes
            }
    assert len(expected) > 100
    assert difference(seen, expected) is None
    assert ends == expected_ends(jobs, starts, config, dut.latency)


def word(codes: np.ndarray, bits: int) -> int:
    """Lane codes as one integer."""
    return int(sum(int(code) << bits * i for i, code in enumerate(codes)))


class Values:
    """Random parameters, tables and results, and the codes that they give."""

    def __init__(self, config: ArchConfig, jobs: list[Job], rng: np.random.Generator) -> None:
        self.config, self.rng = config, rng
        self.bits = config.act_format.bits
        channels, half = config.param_groups * config.param_lanes, 1 << config.acc_bits - 1
        self.params = random_params(config, rng, channels)
        self.tables = rng.integers(0, 1 << self.bits, (config.tables, numerics.TABLE_ENTRIES))
        self.acc, self.maxima = [], []
        for job in jobs:
            shape = len(job.pauses), config.pixels
            size = rng.integers(0, config.acc_bits - 1, (*shape, config.oc_lanes))
            self.acc.append(rng.integers(-half, half, size.shape) >> size)
            self.maxima.append(rng.integers(0, 1 << self.bits, (*shape, config.ic_lanes)))

    async def fill(self, ctx: Any, dut: Drain) -> None:
        """Writes parameters and tables through their ports."""
        port = dut.param_write
        ctx.set(port.valid, 1)
        for channel, item in enumerate(self.config.params.pack(*self.params).tolist()):
            group, lane = divmod(channel, self.config.param_lanes)
            ctx.set(port.group, group)
            ctx.set(port.lane, lane)
            ctx.set(port.item, item)
            await ctx.tick()
        ctx.set(port.valid, 0)
        ctx.set(dut.table_write.valid, 1)
        for (table, entry), code in np.ndenumerate(self.tables):
            ctx.set(dut.table_write.table, table)
            ctx.set(dut.table_write.entry, entry)
            ctx.set(dut.table_write.code, int(code))
            await ctx.tick()
        ctx.set(dut.table_write.valid, 0)

    def show(self, ctx: Any, dut: Drain, begins: tuple[int, int] | None) -> None:
        """Results of a block in the cycle after its start, anything in other cycles."""
        if begins is None:
            p, n = (
                int(self.rng.integers(lanes))
                for lanes in (self.config.pixels, self.config.oc_lanes)
            )
            ctx.set(dut.acc[p][n], int(self.rng.integers(1 << self.config.acc_bits - 1)))
            ctx.set(dut.maxima[p], int(self.rng.integers(1 << self.config.slot_bits - 1)))
            return
        job, block = begins
        for p in range(self.config.pixels):
            ctx.set(dut.maxima[p], word(self.maxima[job][block, p], self.bits))
            for n in range(self.config.oc_lanes):
                ctx.set(dut.acc[p][n], int(self.acc[job][block, p, n]))

    def index(self, k: int, job: Job, block: int) -> np.ndarray:
        """Table index of every pixel and lane of a block of job ``k``."""
        config = self.config
        if job.execute.mode == Mode.MAX:
            return numerics.passed(self.maxima[k][block], config.result_bits)
        ocb = block // (job.execute.n_rows * addressing.blocks_of_run(job.execute, config))
        first = job.out.param * config.param_lanes + ocb * config.oc_lanes
        params = self.params[:, first : first + config.oc_lanes]
        y = numerics.requantize(self.acc[k][block], *params, bits=config.result_bits)
        return numerics.table_index(y)

    def code(self, job: Job, index: np.ndarray, write: Write) -> int:
        """What ``write`` puts into its slot, of the block's ``index``."""
        lanes = slice(
            write.channel * self.config.ic_lanes, (write.channel + 1) * self.config.ic_lanes
        )
        return word(self.tables[job.out.table + write.plane][index[write.pixel, lanes]], self.bits)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(c, id=c.name, marks=pytest.mark.long if c.pixels > 8 else [])
        for c in ADDRESSES
        if c.post_lanes < 128
    ],
)
def test_codes(config: ArchConfig, rng: np.random.Generator) -> None:
    """Banks, words and codes of legal programs, cycle by cycle."""
    jobs = [random_job(config, rng, legal=True) for _ in range(6)]
    values, dut = Values(config, jobs, rng), Drain(config)
    seen: dict[int, dict[int, int]] = {}
    ends: list[int] = []

    before: list[tuple[int, int] | None] = [None]

    def observe(ctx: Any, now: int, begins: tuple[int, int] | None) -> None:
        values.show(ctx, dut, before[0])
        before[0] = begins
        writes = {
            ctx.get(port.word) * config.pixels + bank: ctx.get(port.data)
            for bank, port in enumerate(dut.writes)
            if ctx.get(port.valid)
        }
        if writes:
            seen[now] = writes
        if ctx.get(dut.end):
            ends.append(now)

    starts = run(dut, jobs, config, observe, values.fill)
    expected: dict[int, dict[int, int]] = {}
    for k, (job, cycles) in enumerate(zip(jobs, starts, strict=True)):
        for block, (start, content) in enumerate(zip(cycles, written(job, config), strict=True)):
            index = values.index(k, job, block)
            for cycle, writes in enumerate(content, start + dut.latency):
                if writes:
                    expected[cycle] = {w.slot: values.code(job, index, w) for w in writes}
                    assert len(expected[cycle]) == len(writes)
    assert len({code for writes in expected.values() for code in writes.values()}) > 50
    assert difference(seen, expected) is None
    assert ends == expected_ends(jobs, starts, config, dut.latency)
