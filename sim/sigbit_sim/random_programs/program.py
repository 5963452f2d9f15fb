"""Random legal programs at instruction level, for comparing devices.

A program loads random weights, parameters, tables and activations, runs random ``EXEC`` of both
modes, moves slots between the memories, also there and back, and stores outputs. Every read
accesses memory written before, tokens follow from the instructions' reads and writes, and no
accumulator overflows.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch import addressing, images, isa, numerics
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Exec, Fill, Halt, Instr, Load, LoadKind, Mode, Out, Seg, Store
from sigbit_hw.arch.program import ExecInfo, LayerInfo, Port, Program
from sigbit_sim.random_programs.dependencies import Dependencies
from sigbit_sim.random_programs.shapes import (
    Sizes,
    random_block,
    random_out,
    random_segment,
    random_sizes,
    valid_reads,
    with_words,
)

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

PAGE = 4096
MAX_WORDS = 64
"""Maximum number of weight words of one EXEC."""
GROUP = 4
"""Upper bound (exclusive) of the number of EXECs that pass on their accumulators."""
BLOCKS = 3
"""Maximum number of output-channel blocks of an EXEC."""
SPILL_BEATS = 32
"""Size in bus beats of the memory for slots that are stored and loaded again."""


def random_program(
    config: ArchConfig, rng: np.random.Generator, *, execs: int = 6, area: int | None = None
) -> Program:
    """Random legal program with ``execs`` groups of ``EXEC`` that works on ``area`` slots (by
    default 512, or 64 per bank if that is more).

    Each draining ``EXEC`` is a layer of its own. The program has one input and two outputs.
    """
    if area is None:
        area = max(512, 64 * config.pixels)
    if not 1 <= execs <= isa.TOKEN_MAX - 3:
        raise ValueError(f"execs must be in [1, {isa.TOKEN_MAX - 3}], not {execs}")
    if not 64 * config.pixels <= area <= config.act_slots:
        raise ValueError(f"area must be in [{64 * config.pixels}, {config.act_slots}], not {area}")
    builder = _Builder(config, rng, area)
    if builder.limit // (GROUP * builder.step) < BLOCKS:
        raise ValueError(
            f"acc_bits={config.acc_bits} of {config.name} is too small for random programs"
        )
    return builder.build(execs)


def random_inputs(program: Program, rng: np.random.Generator, images: int = 1) -> dict[str, Ints]:
    """Random stored integers ``[images, C, H, W]`` for every input."""
    return {
        port.name: rng.integers(port.low, port.high + 1, (images, *port.shape))
        for port in program.inputs
    }


class _Builder:
    def __init__(self, config: ArchConfig, rng: np.random.Generator, area: int) -> None:
        self.config = config
        self.rng = rng
        self.area = area
        self.origin = int(rng.integers(0, config.act_slots - area + 1))
        self.code: list[Instr] = []
        self.waits: dict[int, int] = defaultdict(int)
        self.signals: dict[int, int] = defaultdict(int)
        self.deps = Dependencies()
        self.synced = -1
        self.layers: list[LayerInfo] = []
        self.infos: list[ExecInfo] = []
        self.blobs: list[Bytes] = []
        self.bound = 0
        self.limit = 1 << (config.acc_bits - 2)
        self.step = config.ic_lanes * numerics.product_bound(
            config.weight_format, config.act_format
        )
        planes = int(rng.integers(1, 3)) if config.act_format.bits <= 4 else 1
        limit = config.act_grid(planes).contiguous
        low = -limit * config.act_format.signed
        self.input = Port(
            "x", self._shape(), 0, planes, int(rng.integers(1, 3)), 0.5, 0, low, limit
        )
        offset = self._page(self.input.bytes(config))
        self.outputs = []
        for name in ("y", "z"):
            port = Port(
                name,
                self._shape(),
                offset,
                1,
                int(rng.integers(1, 3)),
                0.25,
                0,
                config.act_format.min,
                config.act_format.max,
            )
            self.outputs.append(port)
            offset += port.bytes(config)
        self.spill_offset = offset
        offset += SPILL_BEATS * config.bus_bytes
        self.window = (self.outputs[0].offset, offset)
        self.image_offset = self._page(offset)

    def _shape(self) -> tuple[int, int, int]:
        channels = int(self.rng.integers(1, 2 * self.config.ic_lanes + 1))
        return channels, int(self.rng.integers(1, 8)), int(self.rng.integers(1, 8))

    @staticmethod
    def _page(offset: int) -> int:
        return -(-offset // PAGE) * PAGE

    def build(self, execs: int) -> Program:
        """Build the program."""
        self._initialise()
        for _ in range(execs):
            if self.rng.random() < 0.4:
                self._move_in(int(self.rng.integers(1, 24)))
            self._exec_group()
            if self.rng.random() < 0.3:
                self._store(self.outputs[int(self.rng.integers(2))])
        for port in self.outputs:
            self._store(port)
        self.code.append(Halt())
        instrs = [
            replace(i, wait=self.waits[n], signal=self.signals[n]) for n, i in enumerate(self.code)
        ]
        image = np.concatenate(self.blobs)
        instructions = isa.pack(instrs)
        program_offset = self._page(self.image_offset + image.size)
        return Program(
            name="random",
            config=self.config,
            instructions=instructions,
            image=image,
            image_offset=self.image_offset,
            program_offset=program_offset,
            memory_bytes=self._page(program_offset + instructions.size),
            write_window=self.window,
            inputs=(self.input,),
            outputs=tuple(self.outputs),
            layers=tuple(self.layers),
            execs=tuple(self.infos),
        )

    # Instructions and tokens

    def _emit(
        self,
        instr: Instr,
        reads: dict[str, Ints],
        writes: dict[str, Ints],
        waiter: int | None = None,
    ) -> None:
        """Append ``instr`` with the tokens it needs, which instruction ``waiter`` takes, or
        ``instr`` itself."""
        index, engine = len(self.code), isa.ENGINE_OF[instr.opcode]
        waits, own = self.deps.access(index, engine, reads, writes)
        for other, giver in waits.items():
            self.signals[giver] |= 1 << engine
            self.waits[index if waiter is None else waiter] |= 1 << other
        if isinstance(instr, Exec):
            sync = own > self.synced or self.rng.random() < 0.1
            if sync:
                self.synced = index - 1
            instr = replace(instr, sync=bool(sync))
        self.code.append(instr)

    def _blob(self, data: Bytes) -> tuple[int, int]:
        """(address, beats) of constants."""
        beats = images.beats(data.size, self.config)
        address = self.image_offset + sum(blob.size for blob in self.blobs)
        self.blobs.append(np.pad(data, (0, beats * self.config.bus_bytes - data.size)))
        return address, beats

    def _dram(self, address: int, beats: int) -> Ints:
        return address // self.config.bus_bytes + np.arange(beats)

    def _load(self, kind: LoadKind, first: int, count: int, data: Bytes) -> None:
        """Load ``count`` items of constants to consecutive entries."""
        address, beats = self._blob(data)
        self._emit(
            Load(kind=kind, address=address, beats=beats, dst=first, n0=count),
            {},
            {kind.name: first + np.arange(count)},
        )

    # Activations

    def _initialise(self) -> None:
        """Write every slot of the area, then the input over some of them."""
        slot, end = self.origin, self.origin + self.area
        while slot < end:
            count = min(int(self.rng.integers(32, 400)), end - slot)
            if self.rng.random() < 0.3:
                self._fill(Fill(dst=slot, n0=count))
            else:
                self._load(LoadKind.ACTS, slot, count, self._slot_bytes(count))
            slot += count
        self._load_port(self.input)
        tables = self.rng.integers(
            0, 1 << self.config.act_format.bits, (self.config.tables, numerics.TABLE_ENTRIES)
        )
        self._load(LoadKind.TABLE, 0, self.config.tables, images.pack_table(tables, self.config))

    def _slot_bytes(self, count: int) -> Bytes:
        c = self.config
        codes = self.rng.integers(0, 1 << c.act_format.bits, (count, c.ic_lanes))
        return images.pack_slots(codes, c)

    def _fill(self, instr: Fill) -> None:
        instr = replace(instr, code=int(self.rng.integers(1 << self.config.act_format.bits)))
        self._emit(instr, {}, {"ACTS": addressing.block_slots(instr)})

    def _load_port(self, port: Port) -> None:
        """Load a port's slots as a random block."""
        count = int(np.prod(port.slots(self.config)))
        start, block = random_block(self.rng, count, self.origin, self.area)
        beats = port.bytes(self.config) // self.config.bus_bytes
        instr = Load(kind=LoadKind.ACTS, address=port.offset, beats=beats, dst=start, **block)
        stored = self._dram(port.offset, beats) if port is not self.input else np.arange(0)
        self._emit(instr, {"DRAM": stored}, {"ACTS": addressing.block_slots(instr)})

    def _move_in(self, count: int) -> None:
        """Overwrite some slots with constants, a fill, or slots stored earlier."""
        choice = self.rng.integers(4)
        port = self.outputs[int(self.rng.integers(2))]
        stored = port.offset // self.config.bus_bytes in self.deps.written.get("DRAM", {})
        start, block = random_block(self.rng, count, self.origin, self.area)
        if choice == 0:
            self._fill(Fill(dst=start, **block))
        elif choice == 1 and stored:
            self._load_port(port)
        elif choice == 2:
            self._spill(count)
        else:
            address, beats = self._blob(self._slot_bytes(count))
            instr = Load(kind=LoadKind.ACTS, address=address, beats=beats, dst=start, **block)
            self._emit(instr, {}, {"ACTS": addressing.block_slots(instr)})

    def _spill(self, count: int) -> None:
        """Store ``count`` random slots; load some of them, or more from an earlier call."""
        rng, c = self.rng, self.config
        beats = images.beats(count * c.slot_bytes, c)
        at = int(rng.integers(0, SPILL_BEATS - beats + 1))
        address = self.spill_offset + at * c.bus_bytes
        start, block = random_block(rng, count, self.origin, self.area)
        store = Store(address=address, beats=beats, src=start, **block)
        self._emit(
            store,
            {"ACTS": addressing.block_slots(store)},
            {"DRAM": self._dram(address, beats)},
        )
        skipped = int(rng.integers(0, beats))
        beats -= skipped
        address += skipped * c.bus_bytes
        count = beats * c.bus_bytes // c.slot_bytes
        start, block = random_block(rng, count, self.origin, self.area)
        load = Load(kind=LoadKind.ACTS, address=address, beats=beats, dst=start, **block)
        self._emit(
            load,
            {"DRAM": self._dram(address, beats)},
            {"ACTS": addressing.block_slots(load)},
        )

    def _store(self, port: Port) -> None:
        """Store a random block of slots as a port's bytes."""
        count = int(np.prod(port.slots(self.config)))
        start, block = random_block(self.rng, count, self.origin, self.area)
        beats = port.bytes(self.config) // self.config.bus_bytes
        instr = Store(address=port.offset, beats=beats, src=start, **block)
        self._emit(
            instr,
            {"ACTS": addressing.block_slots(instr)},
            {"DRAM": self._dram(port.offset, beats)},
        )

    # Compute

    def _exec_group(self) -> None:
        """One EXEC, or several of one block that pass on their accumulators."""
        rng, half = self.rng, self.area // 2
        count = 1 if rng.random() < 0.7 else int(rng.integers(2, GROUP))
        mode = Mode.MAX if rng.random() < 0.25 else Mode.MAC
        sizes = random_sizes(rng, self.config, mode, one_block=count > 1, limit=half)
        for n in range(count):
            drain = n == count - 1 or rng.random() < 0.3
            upper = int(rng.integers(2))
            writes_at, reads_at = (self.origin + half * (h ^ upper) for h in (0, 1))
            self._exec(sizes, mode, keep=n > 0, drain=drain, reads_at=reads_at, writes_at=writes_at)

    def _exec(
        self, sizes: Sizes, mode: Mode, *, keep: bool, drain: bool, reads_at: int, writes_at: int
    ) -> None:
        rng, c, half = self.rng, self.config, self.area // 2
        shape = Exec(
            mode=mode,
            keep=keep,
            drain=drain,
            n_ocb=sizes.n_ocb,
            n_rows=sizes.n_rows,
            run=sizes.run,
            wrap=sizes.wrap,
            **addressing.column_steps(sizes.wrap, c),
        )
        segments: list[Seg] = []
        words = self._most_words(mode) // sizes.n_ocb
        for index in range(int(rng.integers(1, min(c.segments, 4) + 1))):
            if words:
                segment = random_segment(rng, c, shape, index, reads_at, half, words)
                words -= segment.steps
                segments.append(segment)
        segments, steps = with_words(segments, rng)
        segments = self._within_range(segments, keep) if mode == Mode.MAC else segments
        reads = {"ACTS": np.concatenate([valid_reads(s, shape, c) for s in segments])}
        shape = replace(shape, n_seg=len(segments))
        if mode == Mode.MAC:
            count = sizes.n_ocb * steps
            first = int(rng.integers(0, c.weight_words - count + 1))
            codes = rng.integers(0, 1 << c.weight_format.bits, (count, c.oc_lanes, c.ic_lanes))
            self._load(LoadKind.WEIGHTS, first, count, images.pack_weights(codes, c))
            reads["WEIGHTS"] = first + np.arange(count)
            shape = replace(shape, weights=first, block_words=steps)
        out = random_out(rng, c, shape, sizes, writes_at, half)
        writes: dict[str, Ints] = {}
        if drain:
            if mode == Mode.MAC:
                reads["PARAMS"] = self._params(out, shape, steps)
            reads["TABLE"] = out.table + np.arange(out.n_planes)
            writes["ACTS"] = addressing.write_slots(out, shape, c).ravel()
        head: list[Seg | Out] = [*segments, *([out] if drain else [])]
        tag = len(self.layers)
        start = len(self.code)
        self.code += [replace(head[i], tag=tag) for i in rng.permutation(len(head))]
        waiter = int(rng.integers(start, len(self.code))) if rng.random() < 0.5 else None
        if drain:
            self._layer(out, shape)
        self._emit(replace(shape, tag=tag), reads, writes, waiter)

    def _most_words(self, mode: Mode) -> int:
        """Maximum number of steps of an EXEC for which a group of :data:`GROUP` fits the
        accumulators."""
        return MAX_WORDS if mode == Mode.MAX else min(MAX_WORDS, self.limit // (GROUP * self.step))

    def _within_range(self, segments: list[Seg], keep: bool) -> list[Seg]:
        """The segments, without shifts where an accumulator might overflow."""
        c, limit, step = self.config, self.limit, self.step
        bound = self.bound if keep else 0
        result = []
        for n, s in enumerate(segments):
            added = s.steps * step
            rest = sum(r.steps * step for r in segments[n + 1 :])
            if s.shift and (bound << c.term_radix_bits) + added + rest > limit // 2:
                s = replace(s, shift=False)
            bound = (bound << (c.term_radix_bits * s.shift)) + added
            result.append(s)
        self.bound = bound
        return result

    def _params(self, out: Out, execute: Exec, steps: int) -> Ints:
        """Load the parameters of an EXEC, most of them chosen so that results are spread."""
        rng, c = self.rng, self.config
        channels = addressing.channel_slots(out, execute, c) * c.ic_lanes
        groups = -(-channels // c.param_lanes)
        shape = (groups * c.param_lanes,)
        spread = np.sqrt(steps * c.ic_lanes) * c.weight_format.max * c.act_format.max / 4
        fmt = c.params
        near = np.log2(spread) - c.result_bits + 2
        exponent = np.where(
            rng.random(shape) < 0.8,
            near + rng.uniform(0, 4, shape),
            rng.uniform(-fmt.fraction_bits, fmt.step_bits - fmt.fraction_bits, shape),
        )
        exponent = np.where(rng.random(shape) < 0.2, np.floor(exponent), exponent)
        offset = rng.uniform(-1, 1, shape) * (1 << (c.result_bits - 2))
        limit = float(1 << (c.acc_bits - 3))
        offset = np.clip(offset, -limit * 2.0**-exponent, limit * 2.0**-exponent)
        base, step = fmt.affine(2.0**-exponent, offset)
        tie = rng.integers(0, 2, shape)
        self._load(
            LoadKind.PARAMS, out.param, groups, images.pack_params(base, step, tie, config=c)
        )
        return out.param + np.arange(groups)

    def _layer(self, out: Out, execute: Exec) -> None:
        """Record the layer that the next emitted EXEC writes."""
        c = self.config
        slots = addressing.channel_slots(out, execute, c)
        channels = int(self.rng.integers((slots - 1) * c.ic_lanes + 1, slots * c.ic_lanes + 1))
        name = f"exec{len(self.layers)}"
        shape = channels, execute.n_rows, execute.run
        self.infos.append(ExecInfo(len(self.code), name, 0, 0, 0, execute.n_rows, execute.run))
        self.layers.append(
            LayerInfo(name, execute.mode.name.lower(), shape, out.n_planes, 1.0, 0, 0)
        )
