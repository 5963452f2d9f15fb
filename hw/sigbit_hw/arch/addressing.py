"""Slots that an ``EXEC`` reads and writes: the address arithmetic of ``SEG`` and ``OUT``, as
arrays.

The interpreter, the compiler's hazard check and the testbenches use these functions; the gateware
walks the same sequences one block at a time.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Exec, Fill, Load, Mode, Out, Seg, Store

Ints = NDArray[np.int64]


def _walk(steps: Ints) -> Ints:
    """Positions visited from 0 on; ``steps[i]`` is added before position i (``steps[0]`` is
    ignored)."""
    steps = steps.astype(np.int64).copy()
    steps[0] = 0
    return np.cumsum(steps)


def blocks_of_run(execute: Exec, config: ArchConfig) -> int:
    """Blocks of ``pixels`` output pixels that cover one row run."""
    return -(-execute.run // config.pixels)


def valid_lanes(execute: Exec, config: ArchConfig) -> NDArray[np.bool_]:
    """Lanes that lie within a row run: shape ``[blocks, pixels]``."""
    pixel = np.arange(blocks_of_run(execute, config) * config.pixels)
    return (pixel < execute.run).reshape(-1, config.pixels)


class ColumnSteps(TypedDict):
    """The fields of an ``EXEC`` that follow from ``wrap``."""

    block_step: int
    group_step: int


def column_steps(wrap: int, config: ArchConfig) -> ColumnSteps:
    """Columns from one block to the next, and from one drain cycle to the next, in lines of
    ``wrap``."""
    return {"block_step": config.pixels % wrap, "group_step": config.drain_pixels % wrap}


def line_ends(execute: Exec, config: ArchConfig) -> Ints:
    """Output lines that end within a run before each lane of its blocks and, in the last column,
    before the next block: shape ``[blocks, pixels + 1]``, counted from the block's first pixel."""
    first = np.arange(blocks_of_run(execute, config))[:, None] * config.pixels % execute.wrap
    return (first + np.arange(config.pixels + 1)) // execute.wrap


def block_bases(segment: Seg, execute: Exec, config: ArchConfig) -> Ints:
    """Slot of lane 0 at the first step of every block: shape ``[n_ocb, n_rows, blocks]``."""
    ends = line_ends(execute, config)[:-1, -1] - config.pixels // execute.wrap
    steps = np.concatenate([[0], segment.d_block + ends * segment.gap])
    steps = np.tile(steps, (execute.n_ocb, execute.n_rows, 1))
    steps[:, :, 0] = segment.d_row
    steps[:, 0, 0] = segment.d_ocb
    return segment.base + _walk(steps.ravel()).reshape(steps.shape)


def tap_offsets(segment: Seg) -> Ints:
    """Slots from a block's base to lane 0 of its steps: shape ``[n_ky * n_kx * n_ic]``."""
    taps = np.full((segment.n_ky, segment.n_kx, segment.n_ic), segment.d_ic)
    taps[:, :, 0] = segment.d_kx
    taps[:, 0, 0] = segment.d_ky
    return _walk(taps.ravel())


def lane_offsets(segment: Seg, execute: Exec, config: ArchConfig) -> Ints:
    """Slots from lane 0 to every lane of a run's blocks: shape ``[blocks, pixels]``."""
    ends = line_ends(execute, config)[:, :-1]
    return np.arange(config.pixels) + ends * segment.gap


def read_slots(segment: Seg, execute: Exec, config: ArchConfig) -> Ints:
    """Slots that ``segment`` reads: shape ``[n_ocb, n_rows, blocks, n_ky * n_kx * n_ic, pixels]``.

    Entries of lanes past the end of a run are meaningless (they may lie outside the memory).
    """
    bases = block_bases(segment, execute, config)[:, :, :, None, None]
    lanes = lane_offsets(segment, execute, config)[:, None]
    return bases + tap_offsets(segment)[:, None] + lanes


def weight_words(execute: Exec, segments: Sequence[Seg]) -> Ints:
    """Weight words that the steps of a multiplying ``execute`` read: shape ``[n_ocb, steps]``."""
    steps = [s.words + np.arange(s.steps) for s in segments]
    first = execute.weights + np.arange(execute.n_ocb)[:, None] * execute.block_words
    return first + np.concatenate(steps)


def pixel_offsets(out: Out, execute: Exec) -> Ints:
    """Offsets from ``out.base`` of the output pixels, plane 0, channel slot 0: shape ``[n_rows,
    run]``."""
    column = np.arange(execute.run) % execute.wrap
    steps = np.where(
        column == 0, out.d_line, np.where(column % out.phases == 0, out.d_col, out.d_pix)
    )
    steps = np.tile(steps, (execute.n_rows, 1))
    steps[:, 0] = out.d_row
    return _walk(steps.ravel()).reshape(steps.shape)


def channel_slots(out: Out, execute: Exec, config: ArchConfig) -> int:
    """Channel slots that are actually written: those produced, at most ``n_slots``."""
    produced = execute.n_ocb * (config.slots_per_block if execute.mode == Mode.MAC else 1)
    return min(produced, out.n_slots)


def write_slots(out: Out, execute: Exec, config: ArchConfig) -> Ints:
    """Slots that a draining ``execute`` writes: shape ``[n_planes, channel slots, n_rows *
    run]``."""
    plane = np.arange(out.n_planes)[:, None, None] * out.d_plane
    channel = np.arange(channel_slots(out, execute, config))[:, None] * out.d_slot
    return out.base + plane + channel + pixel_offsets(out, execute).ravel()


def block_slots(instr: Load | Fill | Store) -> Ints:
    """Slots (or other items) of a ``LOAD``, ``FILL`` or ``STORE`` in memory order: shape ``[n2 *
    n1 * n0]``."""
    start = instr.src if isinstance(instr, Store) else instr.dst
    plane = np.arange(instr.n2)[:, None, None] * instr.d2
    run = np.arange(instr.n1)[:, None] * instr.d1
    return (start + plane + run + np.arange(instr.n0)).ravel()


def bank_conflicts(out: Out, execute: Exec, config: ArchConfig) -> int:
    """Number of drain cycles in which two of the written slots lie in the same bank; 0 for a legal
    program."""
    pixel = pixel_offsets(out, execute)[0]  # relative to each other, those of every row
    pad = -execute.run % config.drain_pixels
    inside = np.pad(np.ones(execute.run, bool), (0, pad)).reshape(-1, config.drain_pixels)
    pixel = np.pad(pixel, (0, pad)).reshape(inside.shape)
    slots = 1 if execute.mode == Mode.MAX else min(config.drain_slots, out.n_slots)
    places = pixel[..., None] + np.arange(slots) * out.d_slot
    banks = np.where(inside[..., None], places % config.pixels, -1)
    banks = np.sort(banks.reshape(len(pixel), -1))
    same = (banks[:, 1:] == banks[:, :-1]) & (banks[:, 1:] >= 0)
    return execute.n_rows * int(same.any(-1).sum())
