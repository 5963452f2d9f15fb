"""Contents of the memories on the chip for a Program."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.addressing import (
    block_bases,
    block_slots,
    lane_offsets,
    tap_offsets,
    valid_lanes,
    write_slots,
)
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.images import depth, item_bytes
from sigbit_hw.arch.isa import Exec, Fill, Load, LoadKind, Out, Seg
from sigbit_hw.arch.program import Program


@dataclass(frozen=True)
class ChipMemory:
    """A memory on the chip.

    Parameters
    ----------
    name : str
    banks : int
        Memories that share the items, or copies in the case of tables.
    items : int
        Number of items: slots, weight words, parameter groups or tables.
    item_bytes : int
        Bytes of an item.
    used : int
        Items that the Program ever writes.
    """

    name: str
    banks: int
    items: int
    item_bytes: int
    used: int


@dataclass(frozen=True)
class SlotRange:
    """The range of activation slots, from ``start`` to ``stop``, that a layer reads or writes;
    ``doing`` is "reads" or "writes"."""

    layer: str
    doing: str
    start: int
    stop: int


@dataclass(frozen=True)
class Chip:
    """The memories, and by layer the slots that its ``EXEC`` instructions touch."""

    memories: tuple[ChipMemory, ...]
    slots: tuple[SlotRange, ...]


def chip(program: Program) -> Chip:
    """Trace the memory use of a Program."""
    config = program.config
    used = {kind: np.zeros(depth(kind, config), np.bool_) for kind in LoadKind}
    ranges: dict[tuple[int, str], tuple[int, int]] = {}
    segments: dict[int, Seg] = {}
    out: Out | None = None
    for instr in program.listing:
        match instr:
            case Seg():
                segments[instr.index] = instr
            case Out():
                out = instr
            case Load():
                used[instr.kind][block_slots(instr)] = True
            case Fill():
                used[LoadKind.ACTS][block_slots(instr)] = True
            case Exec():
                read = [segments[i] for i in range(instr.n_seg)]
                found = [("reads", *_reads(read, instr, config))]
                if instr.drain and out is not None:
                    slots = write_slots(out, instr, config)
                    used[LoadKind.ACTS][slots] = True
                    found.append(("writes", int(slots.min()), int(slots.max()) + 1))
                for doing, start, stop in found:
                    low, high = ranges.get((instr.tag, doing), (start, stop))
                    ranges[instr.tag, doing] = min(low, start), max(high, stop)
    return Chip(tuple(_memories(config, used)), tuple(_named(program, ranges)))


def _reads(segments: Sequence[Seg], execute: Exec, config: ArchConfig) -> tuple[int, int]:
    """Return the first slot that ``execute`` reads, and the one after the last."""
    valid, ends = valid_lanes(execute, config), []
    for segment in segments:
        bases = block_bases(segment, execute, config)
        bases = bases.reshape(-1, bases.shape[-1])
        lanes, taps = lane_offsets(segment, execute, config), tap_offsets(segment)
        low = (bases.min(0)[:, None] + lanes)[valid].min() + taps.min()
        high = (bases.max(0)[:, None] + lanes)[valid].max() + taps.max()
        ends += [int(low), int(high) + 1]
    return min(ends), max(ends)


def _memories(config: ArchConfig, used: dict[LoadKind, NDArray[np.bool_]]) -> Iterator[ChipMemory]:
    rows = {
        LoadKind.ACTS: ("activation slots", config.pixels),
        LoadKind.WEIGHTS: ("weight words", 1),
        LoadKind.PARAMS: ("parameter groups", 1),
        LoadKind.TABLE: ("activation tables", config.post_lanes),
    }
    for kind, (name, banks) in rows.items():
        count = int(used[kind].sum())
        yield ChipMemory(name, banks, depth(kind, config), item_bytes(kind, config), count)


def _named(program: Program, ranges: dict[tuple[int, str], tuple[int, int]]) -> Iterator[SlotRange]:
    for (tag, doing), (start, stop) in sorted(ranges.items()):
        if tag < len(program.layers):
            yield SlotRange(program.layers[tag].name, doing, start, stop)
