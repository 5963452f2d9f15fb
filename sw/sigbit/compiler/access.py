"""What every instruction reads and writes, in the memories on chip and in the DMA window."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.errors import VerifyError
from sigbit_hw.arch import addressing
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Instr, LoadKind, Mode, Opcode

Ints = NDArray[np.int64]


class Thread(IntEnum):
    """Activities that are each in order: an EXEC first issues its steps, then drains, while the
    next one issues already."""

    LOAD = 0
    ISSUE = 1
    DRAIN = 2
    STORE = 3


class Memory(IntEnum):
    """The memories on chip; the first four numbered as LoadKind."""

    WEIGHTS = LoadKind.WEIGHTS
    ACTS = LoadKind.ACTS
    PARAMS = LoadKind.PARAMS
    TABLE = LoadKind.TABLE


def depth(memory: Memory, config: ArchConfig) -> int:
    """Entries of a memory."""
    return {
        Memory.WEIGHTS: config.weight_words,
        Memory.ACTS: config.act_slots,
        Memory.PARAMS: config.param_groups,
        Memory.TABLE: config.tables,
    }[memory]


@dataclass(frozen=True)
class Access:
    """One activity of instruction ``index``: entries it reads and writes (distinct, any order)."""

    index: int
    thread: Thread
    reads: dict[Memory, Ints] = field(default_factory=dict)
    writes: dict[Memory, Ints] = field(default_factory=dict)


def accesses(program: Iterable[Instr], config: ArchConfig) -> Iterator[Access]:
    """Activities of a program in program order; SEG and OUT have none of their own.

    Raises :class:`VerifyError` if an instruction leaves its memory or uses what was never set.
    """
    segments: dict[int, Instr] = {}
    out: Instr | None = None
    for index, instr in enumerate(program):
        if instr.opcode == Opcode.SEG:
            segments[instr.index] = instr
        elif instr.opcode == Opcode.OUT:
            out = instr
        elif instr.opcode == Opcode.LOAD:
            memory = Memory(instr.kind)
            items = addressing.block_slots(instr, instr.dst)
            yield Access(index, Thread.LOAD, writes=_entries(index, config, {memory: items}))
        elif instr.opcode == Opcode.FILL:
            items = addressing.block_slots(instr, instr.dst)
            yield Access(index, Thread.LOAD, writes=_entries(index, config, {Memory.ACTS: items}))
        elif instr.opcode == Opcode.STORE:
            items = addressing.block_slots(instr, instr.src)
            yield Access(index, Thread.STORE, _entries(index, config, {Memory.ACTS: items}))
        elif instr.opcode == Opcode.EXEC:
            if missing := set(range(instr.n_seg)) - set(segments):
                raise VerifyError(f"instruction {index} uses segments {sorted(missing)} unset")
            table = [segments[i] for i in range(instr.n_seg)]
            yield Access(index, Thread.ISSUE, _entries(index, config, _issue(instr, table, config)))
            if instr.drain:
                if out is None:
                    raise VerifyError(f"instruction {index} drains without an OUT")
                slots = addressing.write_slots(out, instr, config).ravel()
                yield Access(
                    index,
                    Thread.DRAIN,
                    _entries(index, config, _drain_reads(instr, out, config)),
                    _entries(index, config, {Memory.ACTS: slots}),
                )


def _issue(execute: Instr, segments: list[Instr], config: ArchConfig) -> dict[Memory, Ints]:
    """Slots and weight words that the steps of an EXEC read."""
    lanes = addressing.valid_lanes(execute, config)
    slots = []
    for segment in segments:
        bases = addressing.block_bases(segment, execute, config)
        _, blocks = np.unique(bases[:, 0, 0], return_index=True)
        firsts = bases[blocks][..., None] + addressing.lane_offsets(segment, execute, config)
        firsts = np.unique(firsts[np.broadcast_to(lanes, firsts.shape)])
        slots.append(np.unique(firsts[:, None] + addressing.tap_offsets(segment)))
    reads = {Memory.ACTS: np.concatenate(slots)}
    if execute.mode == Mode.MAC:
        steps = sum(s.n_ic * s.n_kx * s.n_ky for s in segments)
        reads[Memory.WEIGHTS] = execute.weights + np.arange(steps * execute.n_ocb)
    return reads


def _drain_reads(execute: Instr, out: Instr, config: ArchConfig) -> dict[Memory, Ints]:
    """Parameters and tables that the drain of an EXEC reads."""
    reads = {Memory.TABLE: out.table + np.arange(out.n_planes)}
    if execute.mode == Mode.MAC:
        reads[Memory.PARAMS] = out.param + np.arange(execute.n_ocb * config.groups_per_block)
    return reads


def _entries(index: int, config: ArchConfig, items: dict[Memory, Ints]) -> dict[Memory, Ints]:
    """``items`` without repetition, checked against the depths of their memories."""
    result = {}
    for memory, entries in items.items():
        entries = np.unique(entries)
        if entries[0] < 0 or entries[-1] >= depth(memory, config):
            wrong = entries[0] if entries[0] < 0 else entries[-1]
            raise VerifyError(
                f"instruction {index} uses entry {wrong} of {memory.name}, which has "
                f"{depth(memory, config)}"
            )
        result[memory] = entries
    return result
