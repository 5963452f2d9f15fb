"""ComputeEngine as a function of instructions and memory contents, and its expected results."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from amaranth.sim import Simulator

from sigbit_hw.arch import addressing, images, numerics
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Exec, Mode, Out, Seg
from sigbit_hw.arch.timing import EXECS_IN_FLIGHT
from sigbit_hw.gateware.compute.engine import ComputeEngine

Compute = Sequence[Seg | Out | Exec]
"""Program of one engine."""


@dataclass
class Contents:
    """Codes of slots and lanes; of words, oc and ic lanes; params [3, channels]; tables."""

    acts: np.ndarray
    weights: np.ndarray
    params: np.ndarray
    tables: np.ndarray

    @classmethod
    def random(cls, config: ArchConfig, rng: np.random.Generator) -> "Contents":
        channels = config.param_groups * config.param_lanes
        shape = (config.weight_words, config.oc_lanes, config.ic_lanes)
        act_codes = 1 << config.act_format.bits
        return cls(
            rng.integers(0, act_codes, (config.act_slots, config.ic_lanes)),
            rng.integers(0, 1 << config.weight_format.bits, shape),
            random_params(config, rng, channels),
            rng.integers(0, act_codes, (config.tables, numerics.TABLE_ENTRIES)),
        )


def random_params(config: ArchConfig, rng: np.random.Generator, channels: int) -> np.ndarray:
    """Base, step and tie ``[3, channels]`` that spread accumulators of all sizes over the results;
    half of the steps are powers of two, so that ties occur."""
    scale = 2.0 ** -rng.integers(0, 14, channels) * np.where(
        rng.random(channels) < 0.5, 1, rng.uniform(1, 2, channels)
    )
    base, step = config.params.affine(scale, rng.integers(-60, 60, channels) * scale)
    return np.array([base, step, rng.integers(0, 2, channels)])


@dataclass
class Result:
    """Activation memory after the program, and observations by cycle."""

    acts: np.ndarray
    accepted: list[int] = field(default_factory=list)
    fed: list[int] = field(default_factory=list)
    retired: list[tuple[int, int, int]] = field(default_factory=list)
    written: int = 0
    stored: int = 0
    setups: int = 0


def results(program: Compute, contents: Contents, config: ArchConfig) -> np.ndarray:
    """Golden model: activation codes after ``program``."""
    acts = contents.acts.copy()
    segments: dict[int, Seg] = {}
    out, kept = None, None
    for instr in program:
        if isinstance(instr, Seg):
            segments[instr.index] = instr
        elif isinstance(instr, Out):
            out = instr
        else:
            kept = _accumulate(instr, segments, acts, contents, config, kept)
            if instr.drain:
                _drain(instr, out, kept, acts, contents, config)
    return acts


def _accumulate(execute, segments, acts, contents, config, kept):
    """Results ``[ocb, row, block, pixel, lane]``: accumulators, or order keys."""
    start = 0
    words = addressing.weight_words(execute, [segments[i] for i in range(execute.n_seg)])
    total = kept if execute.keep else None
    for i in range(execute.n_seg):
        segment = segments[i]
        codes = acts[addressing.read_slots(segment, execute, config) % config.act_slots]
        count = codes.shape[3]
        if execute.mode == Mode.MAX:
            best = numerics.order_key(codes, config.act_format).max(3)
            total = best if total is None else np.maximum(total, best)
            continue
        weights = contents.weights[words[:, start : start + count] % config.weight_words]
        products = np.einsum(
            "orbspi,osni->orbpn",
            config.act_format.decode(codes),
            config.weight_format.decode(weights),
        )
        if total is None:
            total = 0
        if segment.shift:
            total = total << config.term_radix_bits
        total = numerics.wrap(total + products, config.acc_bits)
        start += count
    return total


def _drain(execute, out, total, acts, contents, config):
    slots = addressing.write_slots(out, execute, config)
    n_ocb, n_rows, blocks, pixels, lanes = total.shape
    pixel_major = total.transpose(1, 2, 3, 0, 4).reshape(n_rows, blocks * pixels, n_ocb * lanes)
    pixel_major = pixel_major[:, : execute.run].reshape(n_rows * execute.run, n_ocb * lanes)
    pixel_major = pixel_major[:, : slots.shape[1] * config.ic_lanes]
    if execute.mode == Mode.MAX:
        codes = np.arange(1 << config.act_format.bits)
        keys = numerics.order_key(codes, config.act_format)
        index = numerics.passed(np.argsort(keys), config.result_bits)[pixel_major]
    else:
        first = out.param * config.param_lanes
        params = contents.params[:, first : first + pixel_major.shape[1]]
        index = numerics.table_index(
            numerics.requantize(pixel_major, *params, bits=config.result_bits)
        )
    for plane in range(out.n_planes):
        codes = contents.tables[out.table + plane][index]
        codes = codes.reshape(len(index), -1, config.ic_lanes).transpose(1, 0, 2)
        acts[slots[plane]] = codes


def cycles(program: Compute, accepted: list[int], dut: ComputeEngine):
    """The cycle model: (cycles that feed a step, cycles in which EXECs retire)."""
    config, segments, planes = dut.config, {}, 0
    fed: list[int] = []
    retired: list[int] = []
    drain = closed_until = 0
    for instr, at in zip(program, accepted, strict=True):
        if isinstance(instr, Seg):
            segments[instr.index] = instr
        elif isinstance(instr, Out):
            planes = instr.n_planes
        else:
            begin = at + 1
            if instr.sync and retired:
                begin = max(begin, retired[-1] + 1)
            elif len(retired) >= EXECS_IN_FLIGHT:
                begin = max(begin, retired[-EXECS_IN_FLIGHT] + 1)
            steps = sum(segments[i].steps for i in range(instr.n_seg))
            now = begin + 1
            for _ in range(instr.n_ocb * instr.n_rows * addressing.blocks_of_run(instr, config)):
                last = now + steps - 1
                if instr.drain:
                    drain = config.drain_cycles(planes, maximum=instr.mode == Mode.MAX)
                    last = max(last, closed_until)
                    closed_until = last + drain
                fed += [*range(now, now + steps - 1), last]
                now = last + 1
            done = last + (dut.drain_latency + drain - 1 if instr.drain else dut.result_latency)
            retired.append(max(done, retired[-1] + 1 if retired else 0))
    return fed, retired


def word_of(codes, bits: int) -> int:
    """Lane codes as one integer."""
    return int(sum(int(c) << (bits * i) for i, c in enumerate(np.ravel(codes))))


async def fill(ctx, dut: ComputeEngine, contents: Contents) -> None:
    """Write all memories except the activation memory through the engine's ports."""
    config = dut.config
    for k, codes in enumerate(contents.weights):
        value = word_of(codes, config.weight_format.bits)
        for part in range(config.weight_word_bits // config.bus_bits):
            port = dut.weight_write
            ctx.set(port.word, k)
            ctx.set(port.part, part)
            ctx.set(port.data, value >> (part * config.bus_bits) & ((1 << config.bus_bits) - 1))
            ctx.set(port.valid, 1)
            await ctx.tick()
    ctx.set(dut.weight_write.valid, 0)
    for k, item in enumerate(
        images.pack_params(*contents.params, config=config).view("<u8").tolist()
    ):
        group, lane = divmod(k, config.param_lanes)
        ctx.set(dut.param_write.group, group)
        ctx.set(dut.param_write.lane, lane)
        ctx.set(dut.param_write.item, item)
        ctx.set(dut.param_write.valid, 1)
        await ctx.tick()
    ctx.set(dut.param_write.valid, 0)
    for table, entries in enumerate(contents.tables.tolist()):
        for entry, code in enumerate(entries):
            ctx.set(dut.table_write.table, table)
            ctx.set(dut.table_write.entry, entry)
            ctx.set(dut.table_write.code, code)
            ctx.set(dut.table_write.valid, 1)
            await ctx.tick()
    ctx.set(dut.table_write.valid, 0)


def offer_read(ctx, port, config: ArchConfig, rng: np.random.Generator) -> dict[int, int]:
    """Set the request of ``port``, an ``ActRead``, to random slots; return the slots by element of
    the data."""
    width = config.slots_per_move
    count, lane = int(rng.integers(1, width + 1)), int(rng.integers(width))
    first = int(rng.integers(config.act_slots - count + 1))
    for name, value in (("slot", first), ("count", count), ("lane", lane)):
        ctx.set(port.request.payload[name], value)
    return {(lane + i) % width: first + i for i in range(count)}


def run(
    config: ArchConfig,
    program: Compute,
    contents: Contents,
    rng: np.random.Generator,
    *,
    gaps: float = 0.0,
    loads: list[int] | None = None,
    limit: int = 6000,
) -> tuple[Result, ComputeEngine]:
    """Run ``program``; instructions are offered after random ``gaps``.

    ``loads``: consecutive slots that are the targets of random slot writes during the run; slot
    reads of all slots run as well; both are stalled at random. Every write is followed on the
    trace, and every slot read is compared with the memory's content according to the trace.
    """
    dut = ComputeEngine(config)
    bits, pixels = config.act_format.lane_bits, config.pixels
    memory = [word_of(codes, bits) for codes in contents.acts]
    result = Result(contents.acts)
    executes = sum(isinstance(i, Exec) for i in program)

    async def bench(ctx):
        for slot, value in enumerate(memory):
            ctx.set(dut.acts.banks[slot % pixels][slot // pixels], value)
        await fill(ctx, dut, contents)
        sent = now = 0
        read: dict[int, int] = {}  # by element: slots like those of the accepted read
        reading: dict[int, int] = {}
        load: dict[int, int] = {}
        loading: dict[int, int] = {}
        offered = offered_load = offered_read = False
        expected_reads: list[dict[int, int]] = []  # by element
        while len(result.retired) < executes or reading or expected_reads or loading:
            assert now < limit, f"still running after {limit} cycles"
            running = len(result.retired) < executes
            if not offered and sent < len(program) and rng.random() >= gaps:
                offered = True
                ctx.set(dut.i.payload.word, program[sent].encode())
                ctx.set(dut.i.payload.index, sent)
            ctx.set(dut.i.valid, int(offered))
            if loads and running and not offered_load and rng.random() < 0.6:
                offered_load = True
                payload = dut.act_write.stream.payload
                count = int(rng.integers(1, config.slots_per_move + 1))
                first = int(rng.choice(loads[: len(loads) - count + 1]))
                load = {
                    first + k: word_of(rng.integers(0, 1 << bits, config.ic_lanes), bits)
                    for k in range(count)
                }
                ctx.set(payload.slot, first)
                ctx.set(payload.count, count)
                for k, value in enumerate(load.values()):
                    ctx.set(payload.data[k], value)
            ctx.set(dut.act_write.stream.valid, int(offered_load))
            if loads and running and not offered_read and rng.random() < 0.6:
                offered_read = True
                read = offer_read(ctx, dut.act_read, config, rng)
            ctx.set(dut.act_read.request.valid, int(offered_read))

            if ctx.get(dut.act_read.valid):
                for element, value in expected_reads.pop(0).items():
                    assert ctx.get(dut.act_read.data.slots[element]) == value
                result.stored += 1
            if not ctx.get(dut.act_write.busy):
                assert all(memory[slot] == value for slot, value in loading.items())
                loading.clear()
            busy: set[int] = set()
            for b in range(pixels):
                trace = getattr(dut.trace, f"bank_{b}")
                if ctx.get(trace.valid):
                    memory[ctx.get(trace.word) * pixels + b] = ctx.get(trace.data)
                    result.written += 1
                    busy.add(b)
            if reading and not busy & {slot % pixels for slot in reading.values()}:
                expected_reads.append({k: memory[slot] for k, slot in reading.items()})
                reading = {}
            if offered_read and ctx.get(dut.act_read.request.ready):
                reading, offered_read = read, False
            if offered_load and ctx.get(dut.act_write.stream.ready):
                loading |= load
                offered_load = False
            if offered and ctx.get(dut.i.ready):
                result.accepted.append(now)
                sent, offered = sent + 1, False
            if ctx.get(dut.feeding):
                assert ctx.get(dut.busy)
                assert not ctx.get(dut.stalled)
                result.fed.append(now)
            result.setups += ctx.get(dut.setup_retired)
            if ctx.get(dut.retire.valid):
                result.retired.append((now, ctx.get(dut.retire.index), ctx.get(dut.retire.signal)))
            await ctx.tick()
            now += 1
        assert not ctx.get(dut.busy)
        stored = [ctx.get(dut.acts.banks[s % pixels][s // pixels]) for s in range(config.act_slots)]
        assert stored == memory
        lanes = np.arange(config.ic_lanes) * bits
        result.acts = np.array(
            [[value >> int(lane) & ((1 << bits) - 1) for lane in lanes] for value in stored]
        )

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return result, dut
