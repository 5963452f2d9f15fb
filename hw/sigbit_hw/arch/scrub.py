"""The Program that clears an accelerator between two users.

A soft reset, and the end of a run, leave the on-chip memories unchanged, and also accumulators,
maxima and the segment table; instructions can read them all. This Program overwrites them all. It
passes more data through the queues of LOAD, STORE and the bus than they hold, although no
instruction can read their remaining content. Its cycle count is exactly what the cycle model
predicts, as for any Program.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sigbit_hw.arch import addressing, images, isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import (
    Engine,
    Exec,
    Fill,
    Halt,
    Instr,
    Load,
    LoadKind,
    Mode,
    Out,
    Seg,
    Store,
)
from sigbit_hw.arch.program import Program
from sigbit_hw.arch.regs import PROGRAM_ALIGN
from sigbit_hw.arch.timing import BURSTS_AHEAD, READ_AHEAD

ZEROS = 1 << 14
"""Bytes of zeros that the Program loads repeatedly; more if an item is larger."""

_FILL_MAX = 1 << isa.SLOT_BITS - 1


def scrub_program(config: ArchConfig) -> Program:
    """Return the Program for ``config``. It has no inputs and no outputs; its DMA window is the
    result of ``Program.memory`` and may be discarded afterwards."""
    zeros = max(ZEROS, *(images.item_bytes(kind, config) for kind in LoadKind))
    stored = min(config.act_slots, _stored_slots(config))
    # Addresses do not change the number of instructions.
    size = isa.WORD_BYTES * len(_code(config, 0, zeros, 0, stored))
    first = -(-size // PROGRAM_ALIGN) * PROGRAM_ALIGN
    end = first + zeros + images.beats(stored * config.slot_bytes, config) * config.bus_bytes
    return Program(
        name="scrub",
        config=config,
        instructions=isa.pack(_code(config, first, zeros, first + zeros, stored)),
        image=np.zeros(0, np.uint8),
        image_offset=0,
        program_offset=0,
        memory_bytes=end,
        write_window=(first + zeros, end),
        inputs=(),
        outputs=(),
        layers=(),
        execs=(),
    )


def _stored_slots(config: ArchConfig) -> int:
    """Number of slots that fills every queue between the activation memory and the bus."""
    per_beat = config.bus_bits // config.slot_bits
    return READ_AHEAD + 2 * BURSTS_AHEAD * config.burst_beats * per_beat


def _code(config: ArchConfig, source: int, zeros: int, target: int, stored: int) -> list[Instr]:
    """Return the instructions; zeros lie at ``source``, ``stored`` slots are written to
    ``target``."""
    load, compute, store = (1 << engine for engine in (Engine.LOAD, Engine.COMPUTE, Engine.STORE))
    fills = [
        Fill(dst=at, n0=min(_FILL_MAX, config.act_slots - at))
        for at in range(0, config.act_slots, _FILL_MAX)
    ]
    *loads, last = _loads(config, source, zeros)
    wrap = config.pixels
    execute = Exec(
        drain=True, n_seg=1, run=wrap, wrap=wrap, **addressing.column_steps(wrap, config)
    )
    return [
        *fills,
        *loads,
        replace(last, signal=compute),
        Seg(wait=load),
        *(Seg(index=index) for index in range(1, config.segments)),
        Out(base=2 * wrap, d_pix=1, d_col=1),
        execute,
        replace(execute, mode=Mode.MAX, signal=store),
        Store(
            wait=compute,
            address=target,
            beats=images.beats(stored * config.slot_bytes, config),
            n0=stored,
        ),
        Halt(),
    ]


def _loads(config: ArchConfig, source: int, zeros: int) -> Iterator[Load]:
    """Return the loads that write zeros to weights, parameters and tables."""
    for kind in (LoadKind.WEIGHTS, LoadKind.PARAMS, LoadKind.TABLE):
        item, depth = images.item_bytes(kind, config), images.depth(kind, config)
        for at in range(0, depth, zeros // item):
            count = min(zeros // item, depth - at)
            beats = images.beats(count * item, config)
            yield Load(kind=kind, address=source, dst=at, n0=count, beats=beats)
