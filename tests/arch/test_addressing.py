"""Address arithmetic against loops that add one increment after the other, as the field
descriptions of the ISA say."""

from collections.abc import Iterator

import numpy as np
import pytest

from sigbit_hw.arch import addressing
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import Instr, Mode, Opcode


def random_exec(rng: np.random.Generator, config: ArchConfig) -> Instr:
    return Instr(Opcode.EXEC, n_ocb=int(rng.integers(1, 4)), n_rows=int(rng.integers(1, 4)),
                 run=int(rng.integers(1, 6 * config.pixels)), mode=int(rng.integers(2)),
                 wrap=config.pixels + int(rng.integers(0, 2 * config.pixels)))


def random_segment(rng: np.random.Generator) -> Instr:
    steps = {n: int(rng.integers(-99, 100))
             for n in ("d_ic", "d_kx", "d_ky", "d_wrap", "d_row", "d_ocb")}
    sizes = {n: int(rng.integers(1, 4)) for n in ("n_ic", "n_kx", "n_ky")}
    return Instr(Opcode.SEG, base=int(rng.integers(1 << 16)), **steps, **sizes)


def literal_reads(seg: Instr, execute: Instr, lanes: int) -> Iterator[int | None]:
    """The slot of each lane of each step in the order of execution; None past the run's end."""
    base = seg.base
    for ocb in range(execute.n_ocb):
        for row in range(execute.n_rows):
            blocks = -(-execute.run // lanes)
            column = 0
            for block in range(blocks):
                if block > 0:
                    column += lanes
                    next_line = column >= execute.wrap
                    base += seg.d_wrap if next_line else lanes
                    column %= execute.wrap
                elif row > 0:
                    base += seg.d_row
                elif ocb > 0:
                    base += seg.d_ocb
                if block == 0:
                    column = 0
                slot = base
                for ky in range(seg.n_ky):
                    for kx in range(seg.n_kx):
                        for ic in range(seg.n_ic):
                            if ic > 0:
                                slot += seg.d_ic
                            elif kx > 0:
                                slot += seg.d_kx
                            elif ky > 0:
                                slot += seg.d_ky
                            for lane in range(lanes):
                                crossed = column + lane >= execute.wrap
                                further = seg.d_wrap - lanes if crossed else 0
                                inside = block * lanes + lane < execute.run
                                yield slot + lane + further if inside else None


@pytest.mark.parametrize("preset", ["nano", "zcu102"])
def test_reads(preset, rng):
    config = PRESETS[preset]
    compared = 0
    for _ in range(60):
        execute, segment = random_exec(rng, config), random_segment(rng)
        got = addressing.read_slots(segment, execute, config)
        blocks = addressing.blocks_of_run(execute, config)
        assert got.shape == (execute.n_ocb, execute.n_rows, blocks,
                             segment.n_ky * segment.n_kx * segment.n_ic, config.pixels)
        valid = addressing.valid_lanes(execute, config)
        for slot, (index, value) in zip(literal_reads(segment, execute, config.pixels),
                                        np.ndenumerate(got), strict=True):
            assert (slot is not None) == valid[index[2], index[4]]
            if slot is not None:
                assert slot == value
                compared += 1
    assert compared > 1000


def literal_writes(out: Instr, execute: Instr) -> Iterator[int]:
    slot = out.base
    for row in range(execute.n_rows):
        column = phase = 0
        for pixel in range(execute.run):
            if pixel == 0:
                slot += out.d_row if row else 0
            elif column == execute.wrap - 1:
                slot += out.d_line
                column = phase = 0
            elif phase == out.phases - 1:
                slot += out.d_col
                column, phase = column + 1, 0
            else:
                slot += out.d_pix
                column, phase = column + 1, phase + 1
            yield slot


@pytest.mark.parametrize("preset", ["nano", "zcu102"])
def test_writes(preset, rng):
    config = PRESETS[preset]
    for _ in range(60):
        execute = random_exec(rng, config)
        steps = {n: int(rng.integers(-99, 100)) for n in
                 ("d_pix", "d_col", "d_line", "d_row", "d_plane", "d_slot")}
        out = Instr(Opcode.OUT, base=int(rng.integers(1 << 16)), phases=int(rng.integers(1, 4)),
                    n_slots=int(rng.integers(1, 12)), n_planes=int(rng.integers(1, 4)), **steps)
        slots = execute.n_ocb
        if execute.mode == Mode.MAC:
            slots *= config.oc_lanes // config.ic_lanes
        slots = min(slots, out.n_slots)
        got = addressing.write_slots(out, execute, config)
        assert got.shape == (out.n_planes, slots, execute.n_rows * execute.run)
        for plane, slot in np.ndindex(got.shape[:2]):
            start = plane * out.d_plane + slot * out.d_slot
            expected = [start + s for s in literal_writes(out, execute)]
            assert got[plane, slot].tolist() == expected


def test_blocks(rng):
    for _ in range(50):
        n0, n1, n2 = (int(n) for n in rng.integers(1, 6, 3))
        d1, d2 = (int(d) for d in rng.integers(-50, 50, 2))
        instr = Instr(Opcode.FILL, n0=n0, n1=n1, n2=n2, d1=d1, d2=d2)
        expected = [7 + p * d2 + r * d1 + i for p in range(n2) for r in range(n1)
                    for i in range(n0)]
        assert addressing.block_slots(instr, 7).tolist() == expected
