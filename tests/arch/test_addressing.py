"""Address arithmetic against loops that add one increment after the other, as the field
descriptions of the ISA say."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from sigbit_hw.arch import addressing, isa
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import WRAP_MIN, Instr, Mode


def random_exec(rng: np.random.Generator, config: ArchConfig) -> Instr:
    least = min(WRAP_MIN, config.pixels)
    wrap = int(rng.integers(least, least + (3 if rng.random() < 0.5 else 2 * config.pixels)))
    return isa.Exec(
        n_ocb=int(rng.integers(1, 4)),
        n_rows=int(rng.integers(1, 4)),
        run=int(rng.integers(1, 6 * config.pixels)),
        mode=int(rng.integers(2)),
        wrap=wrap,
        **addressing.column_steps(wrap, config),
    )


def random_segment(rng: np.random.Generator) -> Instr:
    steps = {
        n: int(rng.integers(-99, 100))
        for n in ("d_ic", "d_kx", "d_ky", "gap", "d_block", "d_row", "d_ocb")
    }
    sizes = {n: int(rng.integers(1, 4)) for n in ("n_ic", "n_kx", "n_ky")}
    return isa.Seg(base=int(rng.integers(1 << 16)), **steps, **sizes)


def literal_reads(seg: Instr, execute: Instr, lanes: int) -> Iterator[int | None]:
    """The slot of each lane of each step in the order of execution; None past the run's end."""
    base = seg.base
    for ocb in range(execute.n_ocb):
        for row in range(execute.n_rows):
            blocks = -(-execute.run // lanes)
            for block in range(blocks):
                if block > 0:
                    ends = sum(
                        p % execute.wrap == 0
                        for p in range((block - 1) * lanes + 1, block * lanes + 1)
                    )
                    base += seg.d_block + (ends - lanes // execute.wrap) * seg.gap
                elif row > 0:
                    base += seg.d_row
                elif ocb > 0:
                    base += seg.d_ocb
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
                            further = 0
                            for lane in range(lanes):
                                pixel = block * lanes + lane
                                if lane > 0 and pixel % execute.wrap == 0:
                                    further += seg.gap
                                yield slot + lane + further if pixel < execute.run else None


@pytest.mark.parametrize("preset", ["nano", "mobile", "zcu102"])
def test_reads(preset, rng):
    config = PRESETS[preset]
    compared = 0
    for _ in range(60):
        execute, segment = random_exec(rng, config), random_segment(rng)
        got = addressing.read_slots(segment, execute, config)
        blocks = addressing.blocks_of_run(execute, config)
        assert got.shape == (
            execute.n_ocb,
            execute.n_rows,
            blocks,
            segment.n_ky * segment.n_kx * segment.n_ic,
            config.pixels,
        )
        valid = addressing.valid_lanes(execute, config)
        for slot, (index, value) in zip(
            literal_reads(segment, execute, config.pixels), np.ndenumerate(got), strict=True
        ):
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


@pytest.mark.parametrize(
    ("width", "kernel", "dilation"), [(4, 3, 1), (5, 3, 2), (7, 1, 1), (14, 3, 1), (40, 5, 1)]
)
@pytest.mark.parametrize("preset", ["nano", "mobile", "zcu102"])
def test_a_convolution_reads_its_pixels(preset, width, kernel, dilation):
    """All lines in one run: lane by lane the pixels (y + ky, x + kx) of an image whose lines have
    halos and lie ``width`` modulo ``pixels`` apart."""
    config, height = PRESETS[preset], 5
    halo = dilation * (kernel - 1)
    pitch = width + -(-halo // config.pixels) * config.pixels
    gap = pitch - width
    execute = isa.Exec(wrap=width, run=height * width, **addressing.column_steps(width, config))
    segment = isa.Seg(
        base=9,
        n_kx=kernel,
        n_ky=kernel,
        d_kx=dilation,
        d_ky=dilation * pitch - halo,
        gap=gap,
        d_block=config.pixels + config.pixels // width * gap,
    )
    slots = np.moveaxis(addressing.read_slots(segment, execute, config)[0, 0], 1, 2)
    slots = slots[addressing.valid_lanes(execute, config)]
    assert slots.shape == (height * width, kernel * kernel)
    for pixel, taps in enumerate(slots.tolist()):
        y, x = divmod(pixel, width)
        assert taps == [
            9 + (y + dilation * ky) * pitch + x + dilation * kx
            for ky in range(kernel)
            for kx in range(kernel)
        ]


def test_line_ends(rng):
    for pixels in (2, 4, 8, 16, 32):
        config = replace(PRESETS["nano"], pixels=pixels)
        for _ in range(20):
            execute = random_exec(rng, config)
            got = addressing.line_ends(execute, config)
            for block, lane in np.ndindex(got.shape):
                first = block * pixels
                assert got[block, lane] == sum(
                    p % execute.wrap == 0 for p in range(first + 1, first + lane + 1)
                )


def literal_conflicts(out: Instr, execute: Instr, config: ArchConfig) -> int:
    """Cycles of the drain with two writes in one bank, of plane 0 and the first channel group."""
    lines = np.array(list(literal_writes(out, execute))).reshape(execute.n_rows, -1).tolist()
    slots = 1 if execute.mode == Mode.MAX else min(out.n_slots, config.drain_slots)
    count = 0
    for line in lines:
        for first in range(0, execute.run, config.drain_pixels):
            banks = Counter(
                (slot + j * out.d_slot) % config.pixels
                for slot in line[first : first + config.drain_pixels]
                for j in range(slots)
            )
            count += max(banks.values()) > 1
    return count


@pytest.mark.parametrize("preset", ["nano", "ecp5", "mobile", "zcu102"])
def test_bank_conflicts(preset, rng):
    config = PRESETS[preset]
    seen = set()
    for _ in range(60):
        execute = random_exec(rng, config)
        near = 3 if rng.random() < 0.7 else 40
        steps = {n: int(rng.integers(1, near)) for n in ("d_pix", "d_col", "d_line", "d_slot")}
        out = isa.Out(
            base=int(rng.integers(1 << 10)),
            phases=int(rng.integers(1, 3)),
            n_slots=int(rng.integers(1, 5)),
            d_row=int(rng.integers(-9, 99)),
            **steps,
        )
        expected = literal_conflicts(out, execute, config)
        assert addressing.bank_conflicts(out, execute, config) == expected
        seen.add(expected > 0)
    assert seen == {False} if config.post_lanes == config.ic_lanes else {False, True}


def test_conflicts_of_channel_slots():
    config = replace(PRESETS["ecp5"], post_lanes=16)
    assert (config.drain_pixels, config.drain_slots) == (1, 2)
    execute = isa.Exec(run=9, wrap=9, n_rows=3)
    for distance in range(1, 9):
        out = isa.Out(d_slot=distance, n_slots=2, d_pix=1, d_col=1)
        conflicts = addressing.bank_conflicts(out, execute, config)
        assert conflicts == (0 if distance % 4 else 27)
        assert not addressing.bank_conflicts(replace(out, n_slots=1), execute, config)
        assert not addressing.bank_conflicts(out, replace(execute, mode=Mode.MAX), config)


@pytest.mark.parametrize("preset", ["nano", "zcu102"])
def test_writes(preset, rng):
    config = PRESETS[preset]
    for _ in range(60):
        execute = random_exec(rng, config)
        steps = {
            n: int(rng.integers(-99, 100))
            for n in ("d_pix", "d_col", "d_line", "d_row", "d_plane", "d_slot")
        }
        out = isa.Out(
            base=int(rng.integers(1 << 16)),
            phases=int(rng.integers(1, 4)),
            n_slots=int(rng.integers(1, 12)),
            n_planes=int(rng.integers(1, 4)),
            **steps,
        )
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
        instr = isa.Fill(dst=7, n0=n0, n1=n1, n2=n2, d1=d1, d2=d2)
        expected = [
            7 + p * d2 + r * d1 + i for p in range(n2) for r in range(n1) for i in range(n0)
        ]
        assert addressing.block_slots(instr).tolist() == expected
