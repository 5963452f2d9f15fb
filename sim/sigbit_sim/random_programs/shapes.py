"""Random addresses within given bounds: blocks, segments and output descriptors."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch import addressing
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import MAX_DIGITS
from sigbit_hw.arch.isa import WRAP_MIN, Block, Exec, Mode, Out, Seg

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sizes:
    """Extents of an ``EXEC`` and of its output."""

    n_ocb: int
    n_rows: int
    run: int
    wrap: int
    n_slots: int
    n_planes: int


def random_sizes(
    rng: np.random.Generator, config: ArchConfig, mode: Mode, *, one_block: bool, limit: int
) -> Sizes:
    """Sizes whose output fits about half of ``limit`` slots, so that gaps are possible."""
    while True:
        n_ocb = 1 if one_block else int(rng.integers(1, 4))
        n_rows = 1 if one_block else int(rng.integers(1, 5))
        run = int(rng.integers(1, config.pixels + 1 if one_block else 6 * config.pixels))
        wrap = random_wrap(rng, config, run)
        slots = n_ocb * (config.slots_per_block if mode == Mode.MAC else 1)
        n_slots = int(rng.integers(1, slots + 2))
        n_planes = int(rng.integers(1, min(MAX_DIGITS, config.tables) + 1))
        if n_planes * min(slots, n_slots) * n_rows * run * 2 <= limit:
            return Sizes(n_ocb, n_rows, run, wrap, n_slots, n_planes)


def random_wrap(rng: np.random.Generator, config: ArchConfig, run: int) -> int:
    """Pixels per line for a ``run``: often so few that several lines end in a block."""
    least = min(WRAP_MIN, config.pixels)
    if run < least and rng.random() < 0.5:
        return run
    return int(rng.integers(least, (config.pixels if rng.random() < 0.5 else run + 3) + least))


def random_block(rng: np.random.Generator, count: int, origin: int, size: int) -> tuple[int, Block]:
    """First slot and fields of a block of ``count`` distinct slots in [origin, origin + size)."""
    n0 = int(rng.choice([n for n in range(1, count + 1) if count % n == 0]))
    n1 = int(rng.choice([n for n in range(1, count // n0 + 1) if count // n0 % n == 0]))
    n2 = count // n0 // n1
    gap = max(0, (size - count) // (2 * n1 * n2))
    d1 = n0 + int(rng.integers(0, min(gap, 9) + 1))
    gap = max(0, (size - n1 * n2 * d1) // n2)
    d2 = n1 * d1 + int(rng.integers(0, min(gap, 9) + 1))
    start = origin + int(rng.integers(0, size - (n1 - 1) * d1 - (n2 - 1) * d2 - n0 + 1))
    if rng.random() < 0.2:
        start, d1 = start + (n1 - 1) * d1, -d1
    if rng.random() < 0.2:
        start, d2 = start + (n2 - 1) * d2, -d2
    return start, {"n0": n0, "n1": n1, "n2": n2, "d1": d1, "d2": d2}


def valid_reads(segment: Seg, execute: Exec, config: ArchConfig) -> Ints:
    """Distinct slots that the lanes within their runs read."""
    slots = np.moveaxis(addressing.read_slots(segment, execute, config), -1, 3)
    return np.unique(slots[:, :, addressing.valid_lanes(execute, config)])


def random_segment(
    rng: np.random.Generator,
    config: ArchConfig,
    execute: Exec,
    index: int,
    origin: int,
    size: int,
    words: int,
) -> Seg:
    """A segment of at most ``words`` steps; its valid lanes read in [origin, origin + size)."""
    lanes = config.pixels
    scale = max(24, lanes)
    while True:
        n_ic, n_kx, n_ky = (int(n) for n in rng.integers(1, 4, 3))
        if n_ic * n_kx * n_ky > words:
            continue
        d_ic, d_kx, d_ky, d_block, d_row, d_ocb = (
            int(rng.integers(-scale, scale + 1)) for _ in range(6)
        )
        segment = Seg(
            index=index,
            shift=bool(rng.integers(2)),
            n_ic=n_ic,
            n_kx=n_kx,
            n_ky=n_ky,
            d_ic=d_ic,
            d_kx=d_kx,
            d_ky=d_ky,
            gap=lanes * int(rng.integers(-scale, scale + lanes) // lanes),
            d_block=d_block,
            d_row=d_row,
            d_ocb=d_ocb,
        )
        slots = valid_reads(segment, execute, config)
        span = int(slots.max() - slots.min()) + 1
        if span <= size:
            base = origin - int(slots.min()) + int(rng.integers(0, size - span + 1))
            if 0 <= base < config.act_slots:
                return replace(segment, base=base)
        scale = max(1, scale - 1)


def random_out(
    rng: np.random.Generator,
    config: ArchConfig,
    execute: Exec,
    sizes: Sizes,
    origin: int,
    size: int,
) -> Out:
    """An output descriptor for ``execute`` that writes distinct slots in [origin, origin + size),
    and slots in different banks in each drain cycle.

    The dimensions of the output are nested in random order with random gaps.
    """
    while True:
        out = _nested_out(rng, config, execute, sizes, origin, size)
        if out is not None and not addressing.bank_conflicts(out, execute, config):
            return out


def _nested_out(
    rng: np.random.Generator,
    config: ArchConfig,
    execute: Exec,
    sizes: Sizes,
    origin: int,
    size: int,
) -> Out | None:
    """One candidate of :func:`random_out`, or None if it is too large; its banks may collide."""
    phases = int(rng.integers(1, 4))
    instr = Out(n_slots=sizes.n_slots, n_planes=sizes.n_planes, phases=phases)
    width = min(execute.run, execute.wrap)
    extents = {
        "plane": sizes.n_planes,
        "slot": addressing.channel_slots(instr, execute, config),
        "row": execute.n_rows,
        "line": -(-execute.run // execute.wrap),
        "phase": min(phases, width),
        "column": -(-width // phases),
    }
    reach, stride = 1, {}
    for name in rng.permutation(list(extents)).tolist():
        step = reach + int(rng.random() < 0.2) * int(rng.integers(1, 4))
        stride[name] = step + (name == "slot" and step % 2 == 0)
        reach += stride[name] * (extents[name] - 1)
    if reach > size:
        return None
    d_col = stride["column"] - (phases - 1) * stride["phase"]

    def last(column: int) -> int:
        return column // phases * stride["column"] + column % phases * stride["phase"]

    line, column = divmod(execute.run - 1, execute.wrap)
    end = line * stride["line"] + last(column)
    return replace(
        instr,
        base=origin + int(rng.integers(0, size - reach + 1)),
        d_slot=stride["slot"],
        d_plane=stride["plane"],
        d_pix=stride["phase"],
        d_col=d_col,
        d_line=stride["line"] - last(execute.wrap - 1),
        d_row=stride["row"] - end,
        param=int(rng.integers(0, config.param_groups - sizes.n_ocb * config.groups_per_block + 1)),
        table=int(rng.integers(0, config.tables - sizes.n_planes + 1)),
    )


def with_words(segments: list[Seg], rng: np.random.Generator) -> tuple[list[Seg], int]:
    """``segments`` with their weight words, new ones or those of an earlier segment, and the words
    per output-channel block."""
    placed: list[Seg] = []
    end = 0
    for segment in segments:
        steps = segment.steps
        shared = end >= steps and rng.random() < 0.3
        words = int(rng.integers(0, end - steps + 1)) if shared else end
        end = max(end, words + steps)
        placed.append(replace(segment, words=words))
    return placed, end
