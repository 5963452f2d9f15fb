"""Accesses of every instruction to the on-chip memories and to the DMA window.

Entries are distinct and checked against the depths of their memories. Tiles of one layer read the
same slots, so the sets of slots are computed once for equal segments and shapes.

A Program may come from an untrusted source: the accesses of an instruction are bounded by integer
arithmetic before any array is made, and an array is never larger than its memory.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import VerifyError
from sigbit_hw.arch import addressing, images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Exec, Fill, Instr, Load, LoadKind, Mode, Out, Seg, Store

Ints = NDArray[np.int64]
Entries = slice | Ints
"""Entries of a memory: a range, or indices in any order."""


class Thread(IntEnum):
    """Activities that are each in order: an EXEC first issues its steps, then drains, while the
    next one already issues."""

    LOAD, ISSUE, DRAIN, STORE = range(4)


class Memory(IntEnum):
    """The on-chip memories, the first four numbered as in LoadKind, and the DMA window, whose
    entries are bus beats."""

    WEIGHTS = LoadKind.WEIGHTS
    ACTS = LoadKind.ACTS
    PARAMS = LoadKind.PARAMS
    TABLE = LoadKind.TABLE
    WINDOW = 4


WRITERS = {
    Memory.WEIGHTS: (Thread.LOAD,),
    Memory.ACTS: (Thread.LOAD, Thread.DRAIN),
    Memory.PARAMS: (Thread.LOAD,),
    Memory.TABLE: (Thread.LOAD,),
    Memory.WINDOW: (Thread.STORE,),
}
"""Activities that may write each memory."""

READERS = {
    Memory.WEIGHTS: (Thread.ISSUE,),
    Memory.ACTS: (Thread.ISSUE, Thread.STORE),
    Memory.PARAMS: (Thread.DRAIN,),
    Memory.TABLE: (Thread.DRAIN,),
    Memory.WINDOW: (Thread.LOAD,),
}
"""Activities that may read each memory."""


def depths(config: ArchConfig, window_bytes: int) -> dict[Memory, int]:
    """Number of entries of every memory, for a DMA window of ``window_bytes``."""
    return {
        **{Memory(kind): images.depth(kind, config) for kind in LoadKind},
        Memory.WINDOW: -(-window_bytes // config.bus_bytes),
    }


@dataclass(frozen=True)
class Access:
    """One activity of instruction ``index``: the entries it reads and writes."""

    index: int
    thread: Thread
    reads: dict[Memory, Entries] = field(default_factory=dict)
    writes: dict[Memory, Entries] = field(default_factory=dict)


def accesses(program: Iterable[Instr], config: ArchConfig, window_bytes: int) -> Iterator[Access]:
    """Activities of a program in program order; SEG and OUT have none of their own.

    Raises :class:`VerifyError` if an instruction leaves its memory or uses state that was never
    set.
    """
    walker = _Walker(config, window_bytes)
    for index, instr in enumerate(program):
        try:
            yield from walker.step(index, instr)
        except ValueError as error:
            raise VerifyError(f"instruction {index} {error}") from None


class _Walker:
    """The segment table and output descriptor that a program has set, and cached sets of slots. Its
    methods raise ``ValueError``."""

    def __init__(self, config: ArchConfig, window_bytes: int) -> None:
        self._config = config
        self._depths = depths(config, window_bytes)
        self._segments: dict[int, Seg] = {}
        self._out: Out | None = None
        self._known: dict[Hashable, Entries] = {}

    def step(self, index: int, instr: Instr) -> Iterator[Access]:
        """Activities of one instruction."""
        if isinstance(instr, Seg):
            _need(instr.index < self._config.segments, f"writes segment {instr.index}")
            self._segments[instr.index] = instr
        elif isinstance(instr, Out):
            self._out = instr
        elif isinstance(instr, Load):
            kind = Memory(instr.kind)
            items = self._block(instr, kind)
            yield Access(index, Thread.LOAD, self._beats(instr, instr.kind), items)
        elif isinstance(instr, Fill):
            yield Access(index, Thread.LOAD, writes=self._block(instr, Memory.ACTS))
        elif isinstance(instr, Store):
            read = self._block(instr, Memory.ACTS)
            yield Access(index, Thread.STORE, read, self._beats(instr, LoadKind.ACTS))
        elif isinstance(instr, Exec):
            self._check_shape(instr)
            yield Access(index, Thread.ISSUE, self._issue(instr))
            if instr.drain:
                yield Access(index, Thread.DRAIN, *self._drain(instr))

    def _beats(self, instr: Load | Store, kind: LoadKind) -> dict[Memory, Entries]:
        """Beats of the DMA window that a LOAD or STORE moves: as many as its items fill."""
        c = self._config
        size = instr.n0 * instr.n1 * instr.n2 * images.item_bytes(kind, c)
        beats = images.beats(size, c)
        _need(instr.beats == beats, f"moves {instr.beats} beats where its items fill {beats}")
        _need(
            instr.address % c.bus_bytes == 0,
            f"moves bytes from {instr.address} on, which is no multiple of {c.bus_bytes}",
        )
        return self._range(Memory.WINDOW, instr.address // c.bus_bytes, instr.beats)

    def _block(self, instr: Load | Fill | Store, memory: Memory) -> dict[Memory, Entries]:
        start = instr.src if isinstance(instr, Store) else instr.dst
        if instr.n1 == instr.n2 == 1:
            return self._range(memory, start, instr.n0)
        _need(memory == Memory.ACTS, "moves planes of items that are no slots")
        depth, count = self._depths[memory], instr.n0 * instr.n1 * instr.n2
        _need(count <= depth, f"moves {count} slots of {memory.name}, which has {depth}")
        key = (start, instr.n0, instr.n1, instr.n2, instr.d1, instr.d2)
        if key not in self._known:
            self._known[key] = self._slots(addressing.block_slots(instr))
        return {memory: self._known[key]}

    def _range(self, memory: Memory, start: int, count: int) -> dict[Memory, Entries]:
        self._inside(memory, start, start + count - 1)
        return {memory: slice(start, start + count)}

    def _slots(self, slots: Ints) -> Entries:
        """The distinct ``slots``, as a range if they are contiguous."""
        low, high = int(slots.min()), int(slots.max())
        self._inside(Memory.ACTS, low, high)
        mask = np.zeros(high - low + 1, bool)
        mask[slots - low] = True
        return _where(mask, low)

    def _inside(self, memory: Memory, low: int, high: int) -> None:
        depth = self._depths[memory]
        _need(
            low >= 0 and high < depth,
            f"uses entry {low if low < 0 else high} of {memory.name}, which has {depth}",
        )

    def _check_shape(self, execute: Exec) -> None:
        """Check that an EXEC drains every block, or has one only, and that its results fit on
        chip."""
        blocks = execute.n_rows * addressing.blocks_of_run(execute, self._config)
        _need(
            bool(execute.drain and not execute.keep) or execute.n_ocb * blocks == 1,
            "keeps accumulators, or does not drain, and has more than one block",
        )
        pixels, depth = execute.n_rows * execute.run, self._depths[Memory.ACTS]
        _need(pixels <= depth, f"computes {pixels} pixels, ACTS has {depth} slots")

    def _issue(self, execute: Exec) -> dict[Memory, Entries]:
        """Slots and weight words that the steps of an EXEC read."""
        if missing := set(range(execute.n_seg)) - set(self._segments):
            raise ValueError(f"uses segments {sorted(missing)} unset")
        segments = [self._segments[i] for i in range(execute.n_seg)]
        reads: dict[Memory, Entries] = {Memory.ACTS: self._windows(execute, segments)}
        if execute.mode == Mode.MAC:
            first = execute.weights + min(s.words for s in segments)
            last = max(s.words + s.n_ky * s.n_kx * s.n_ic - 1 for s in segments)
            last += execute.weights + (execute.n_ocb - 1) * execute.block_words
            reads |= self._range(Memory.WEIGHTS, first, last + 1 - first)
        return reads

    def _drain(self, execute: Exec) -> tuple[dict[Memory, Entries], dict[Memory, Entries]]:
        """Entries that the drain of an EXEC reads and writes."""
        out = self._out
        if out is None:
            raise ValueError("drains without an OUT")
        reads = self._range(Memory.TABLE, out.table, out.n_planes)
        channels = addressing.channel_slots(out, execute, self._config)
        if execute.mode == Mode.MAC:
            groups = -(-channels * self._config.ic_lanes // self._config.param_lanes)
            reads |= self._range(Memory.PARAMS, out.param, groups)
        count = out.n_planes * channels * execute.n_rows * execute.run
        depth = self._depths[Memory.ACTS]
        _need(count <= depth, f"writes {count} slots of ACTS, which has {depth}")
        slots = self._slots(addressing.write_slots(out, execute, self._config).ravel())
        distinct = slots.stop - slots.start if isinstance(slots, slice) else slots.size
        _need(distinct == count, f"writes {count} times to {distinct} slots: one of them twice")
        return reads, {Memory.ACTS: slots}

    def _windows(self, execute: Exec, segments: list[Seg]) -> Entries:
        """Slots that the valid lanes of an EXEC read."""
        shape = (execute.n_ocb, execute.n_rows, execute.run, execute.wrap)
        key = (shape, *map(_reads, segments))
        if key not in self._known:
            mask = np.zeros(self._config.act_slots, bool)
            for segment in segments:
                self._mark(mask, segment, execute)
            low, end = int(mask.argmax()), mask.size - int(mask[::-1].argmax())
            self._known[key] = _where(mask[low:end], low)
        return self._known[key]

    def _mark(self, mask: NDArray[np.bool_], segment: Seg, execute: Exec) -> None:
        """Set ``mask`` where the valid lanes of one segment read: those of the first run, and their
        copies for every further run, output-channel block and tap."""
        c = self._config
        one = replace(execute, n_ocb=1, n_rows=1)
        bases = addressing.block_bases(segment, one, c)[0, 0]
        firsts = bases[:, None] + addressing.lane_offsets(segment, execute, c)
        firsts = firsts[addressing.valid_lanes(execute, c)]
        row = int(bases[-1]) - segment.base + segment.d_row
        ocb = (execute.n_rows - 1) * row + row - segment.d_row + segment.d_ocb
        kx = (segment.n_ic - 1) * segment.d_ic + segment.d_kx
        ky = (segment.n_ic - 1) * segment.d_ic + (segment.n_kx - 1) * kx + segment.d_ky
        loops = [
            (segment.n_ic, segment.d_ic),
            (segment.n_kx, kx),
            (segment.n_ky, ky),
            (execute.n_rows, row),
            (execute.n_ocb, ocb),
        ]
        spans = [(count - 1) * step for count, step in loops]
        low = int(firsts.min()) + sum(min(0, span) for span in spans)
        high = int(firsts.max()) + sum(max(0, span) for span in spans)
        self._inside(Memory.ACTS, low, high)
        part = np.zeros(high - low + 1, bool)
        part[firsts - firsts.min()] = True
        for count, step in loops:
            _repeat(part, count, abs(step))
        mask[low : high + 1] |= part


def _reads(s: Seg) -> tuple[int, ...]:
    """Fields that determine the slots that a segment reads."""
    loops = (s.n_ic, s.n_kx, s.n_ky, s.d_ic, s.d_kx, s.d_ky)
    return (s.base, *loops, s.gap, s.d_block, s.d_row, s.d_ocb)


def _where(mask: NDArray[np.bool_], first: int) -> Entries:
    """The entries, from ``first`` on, where ``mask`` is set; as a range if it is everywhere."""
    return slice(first, first + mask.size) if mask.all() else first + np.flatnonzero(mask)


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _repeat(part: NDArray[np.bool_], count: int, step: int) -> None:
    """Add to the set ``part`` its copies moved by ``step``, 2 ``step``, …, ``count`` in all."""
    reach = 1
    while reach < count and step:
        more = min(reach, count - reach)
        part[more * step :] |= part[: part.size - more * step].copy()
        reach += more
