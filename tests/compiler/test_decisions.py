"""What single steps of the compiler decide, by definition: folds of inputs, ranges of channels,
bands of rows, copies by row, borders, entries that instructions access."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from compiler.test_products import compare
from sigbit.compiler import compile_graph
from sigbit.compiler.fit.bands import band
from sigbit.compiler.fit.cut import extent
from sigbit.compiler.fit.strided import split_rows
from sigbit.compiler.legalize.batch import MAX_PHASES
from sigbit.compiler.legalize.fold import choose_folds
from sigbit.compiler.legalize.join import Clone, join
from sigbit.compiler.legalize.legalize import legalize
from sigbit.compiler.order.access import Memory, Thread, accesses
from sigbit.compiler.order.dependences import _History
from sigbit.compiler.random_graph import Builder
from sigbit_hw.arch import addressing
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import Exec, Fill, Seg, Store
from sigbit_hw.arch.program import Fold
from sigbit_sim.interp.device import Interp

NANO = PRESETS["nano"]


def builder(config: ArchConfig = NANO) -> Builder:
    return Builder(np.random.default_rng(3), config)


LINES = Fold((1, 4), (1, 1), (0, 0, 0, 0), (1, 1))


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "size", "fold"),
    [
        # as many steps each: the smaller tensor, of 8 lines with one slot or 7 with two
        (1, (2, 4), (1, 1), (8, 9), LINES),
        (1, (2, 4), (4, 1), (8, 9), Fold((2, 4), (4, 1), (0, 0, 0, 0), (1, 1))),
        # as many slots, too: whole windows
        (1, (2, 4), (2, 1), (8, 9), Fold((2, 4), (2, 1), (0, 0, 0, 0), (1, 1))),
        # 4 by 4 pixels of 3 slots, or 9 lines of 4 pixels of one
        (1, (3, 3), (2, 2), (9, 9), Fold((1, 3), (1, 2), (0, 0, 0, 0), (1, 1))),
        # nothing to gain: 4 channels fill the lanes
        (4, (3, 3), (1, 1), (6, 6), None),
        (1, (1, 1), (1, 1), (6, 6), None),
    ],
)
def test_folds_save_most_steps(
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    size: tuple[int, int],
    fold: Fold | None,
) -> None:
    b = builder()
    x = b.input((channels, *size), 1)
    graph = b.graph(b.conv([b.source(x, 4, kernel, stride=stride)]))
    assert choose_folds(graph, NANO) == ({} if fold is None else {x: fold})
    program = compile_graph(graph, NANO)
    compare(program, graph, Interp(NANO, strict=True), 1)


def test_strides_of_more_columns_than_phases_need_folds() -> None:
    def folds(stride: tuple[int, int], padding: int = 0) -> list[Fold]:
        b = builder()
        x = b.input((4, 2 * MAX_PHASES, 2 * MAX_PHASES + 2), 1)
        source = b.source(x, 4, (1, 1), stride=stride, padding=(0, 0, 0, padding))
        return list(choose_folds(b.graph(b.conv([source])), NANO).values())

    assert folds((1, MAX_PHASES)) == folds((MAX_PHASES + 1, 1)) == []
    wide = (1, MAX_PHASES + 1)
    assert folds(wide) == [Fold((1, 1), wide, (0, 0, 0, 0), (1, 1))]
    assert folds(wide, -1) == []  # pixels that are cut off have no place in a fold


def concatenation(b: Builder, *tensors: str) -> str:
    counts = [b.type_of(t).shape[0] for t in tensors]
    return b.gather(list(tensors), [(t, c) for t, n in enumerate(counts) for c in range(n)])


def like(b: Builder, tensor: str, channels: int) -> str:
    """A convolution of ``tensor`` with the type of the last node."""
    name = b.conv([b.source(tensor, channels, (1, 1))])
    node = b.nodes[-1]
    kind = replace(b.type_of(tensor), shape=node.type.shape, scale=0.25)
    b.nodes[-1] = replace(node, type=replace(node.type, zero=kind.zero))
    return name


def parts() -> tuple[Builder, str, str, str]:
    """An input of 4 channels, and tensors of 8 and 4 channels with its type."""
    b = builder()
    x = b.input((4, 3, 3), 1)
    node = b.nodes[-1]
    b.nodes[-1] = replace(node, type=replace(node.type, zero=0, scale=0.25))
    return b, x, like(b, x, 8), like(b, x, 4)


def test_concatenations_are_ranges_of_one_value() -> None:
    b, _, y, z = parts()
    whole = concatenation(b, y, z)
    inner = b.gather([whole], [(0, c) for c in range(4, 12)])
    unaligned = b.gather([whole], [(0, c) for c in range(2, 6)])
    graph = b.graph(whole, inner, unaligned)
    joins = join(graph, NANO)
    assert joins.members[y] == [y, z]
    assert joins.clones == {}
    assert [joins.place(t) for t in (y, z, whole, inner)] == [(y, 0), (y, 8), (y, 0), (y, 4)]
    assert joins.runs[inner] == [(y, 4, 4), (z, 0, 4)]
    assert joins.contiguous(joins.runs[inner])
    assert not joins.contiguous([(z, 0, 4), (y, 4, 4)])
    assert not joins.contiguous([(y, 0, 4), (z, 0, 4)])
    assert joins.contiguous([(y, 0, 8), (z, 0, 4)])
    assert joins.selected == {unaligned}
    compare(compile_graph(graph, NANO), graph, Interp(NANO, strict=True), 2)


def test_pieces_that_cannot_move_are_copied() -> None:
    """Inputs, and what is joined elsewhere."""
    b, x, y, z = parts()
    first = concatenation(b, y, z)
    second = concatenation(b, z, y)
    third = concatenation(b, x, z)
    graph = b.graph(first, second, third)
    joins = join(graph, NANO)
    assert joins.clones == {
        second: [Clone(f"{second}:1", (y, 0, 8))],  # behind z, which ends its value
        third: [Clone(f"{third}:0", (x, 0, 4)), Clone(f"{third}:1", (z, 0, 4))],
    }
    assert joins.members[y] == [y, z, f"{second}:1"]
    compare(compile_graph(graph, NANO), graph, Interp(NANO, strict=True), 3)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(
    ("rows", "spare", "wanted"),
    [(3, 0, 3), (3, -1, 2), (4, 35, 4), (5, 17, 4), (6, 0, 6), (11, 0, 6), (12, 0, 12)],
)
def test_bands_are_as_high_as_the_budget_allows(
    kernel: int, rows: int, spare: int, wanted: int
) -> None:
    """All of about one height. Rows of an input and of what is computed from them are alive
    together, and the first band of an input is shorter; unless a reader without overlap takes
    each of them from it."""
    b = builder()
    x = b.input((4, 12, 8), 1)
    y = b.conv([b.source(x, 8, (1, 1))])
    graph = b.graph(b.conv([b.source(y, 4, (kernel, 1))]))
    network = legalize(graph, NANO)
    names = {op.operands[0].value for op in network.ops}
    row = sum(extent(network.values[n], NANO).slots for n in names)
    assert row == (8 + 4) * (1 + 2)
    banded = band(network, names, rows * row + spare, NANO)
    heights = [op.region.rows for op in banded.ops if op.name == y]
    first = -(-wanted // 4) if kernel > 1 and wanted < 12 else wanted
    edges = [0, *range(first, 12, wanted), 12]
    assert heights == [b - a for a, b in pairwise(edges)]


@pytest.mark.parametrize("channels", [4, 16, 56, 60, 128])
def test_copies_by_row_save_twice_their_cost(channels: int) -> None:
    """7 columns do not fill blocks of 2 pixels; on copies of every other row, they do across
    lines."""
    b = builder()
    x = b.conv([b.source(b.input((4, 31, 15), 1), 4, (1, 1))])
    y = b.conv([b.source(x, channels, (3, 3), stride=(2, 2))])
    network = legalize(b.graph(y), NANO)
    made = split_rows(network, NANO)
    assert (NANO.pixels, NANO.ic_lanes, NANO.oc_lanes) == (2, 4, 4)
    saved = 15 * 4 - -(-15 * 7 // 2)  # blocks for each 4 output channels, of 9 steps
    copied = -(-31 * 15 // 2) * (NANO.pixels // NANO.drain_pixels)
    drain = NANO.drain_cycles(1)
    pays = saved * (channels // 4) * max(9, drain) > 2 * copied
    strides = {o.stride[0] for op in made.ops if op.name == y for o in op.operands}
    assert strides == ({1} if pays else {2})
    assert pays == (channels > 56)


@pytest.mark.parametrize(
    ("width", "kernel", "stride", "padding", "stored", "some"),
    [
        (8, (1, 2), (1, 1), 0, True, False),  # 7 columns of results: lines lie 9 slots apart
        (7, (1, 1), (1, 2), 0, False, False),  # 4 even columns and 3 odd ones
        (8, (1, 1), (1, 2), 0, True, False),
        (8, (3, 3), (1, 1), 1, False, True),
        (7, (3, 3), (1, 2), 1, True, True),
    ],
)
def test_only_borders_are_filled(
    width: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: int,
    stored: bool,
    some: bool,
) -> None:
    b = builder()
    x = b.conv([b.source(b.input((4, 8, width), 1), 4, (1, 1))])
    b.nodes[-1] = replace(b.nodes[-1], type=replace(b.type_of(x), zero=-3))
    y = b.conv([b.source(x, 4, kernel, stride=stride, padding=(padding,) * 4)])
    graph = b.graph(*[x, y][not stored :])
    program = compile_graph(graph, NANO)
    assert any(isinstance(i, Fill) for i in program.listing) == some
    compare(program, graph, Interp(NANO, strict=True), 1)


@pytest.mark.parametrize(("width", "some"), [(7, True), (8, False)])
def test_phases_that_are_stored_are_even(width: int, some: bool) -> None:
    """A value goes to memory and back in bands, with as many odd columns as even ones."""
    small = replace(NANO, name="small", act_slots=256)
    b = builder(small)
    x = b.conv([b.source(b.input((4, 40, width), 1), 4, (1, 1))])
    graph = b.graph(b.conv([b.source(x, 4, (3, 1), stride=(1, 2))]))
    program = compile_graph(graph, small)
    assert sum(isinstance(i, Store) for i in program.listing) > 1
    assert any(isinstance(i, Fill) for i in program.listing) == some
    compare(program, graph, Interp(small, strict=True), 1)


def test_earliest_instructions_are_remembered() -> None:
    """The first one of a program, too."""
    history = _History(Memory.ACTS, 8)
    part, all_slots = slice(0, 4), slice(0, 8)
    history.write(Thread.LOAD, 0, part)
    assert history.written(Thread.DRAIN, all_slots) == {Thread.LOAD: 0}
    assert history.written(Thread.DRAIN, slice(4, 8)) == {}
    assert history.written(Thread.LOAD, all_slots) == {}
    history.read(Thread.ISSUE, 1, slice(2, 3))
    assert history.touched(Thread.DRAIN, part) == {Thread.LOAD: 0, Thread.ISSUE: 1}
    history.write(Thread.DRAIN, 2, part)
    assert history.touched(Thread.STORE, part) == {Thread.DRAIN: 2}


def read(segments: Sequence[Seg], execute: Exec) -> object:
    """Slots that an EXEC reads."""
    (access,) = list(accesses([*segments, execute], NANO, 0))[: 1 + len(segments)]
    assert access.thread == Thread.ISSUE
    return access.reads[Memory.ACTS]


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("base", [0, 5, NANO.act_slots - 4])
def test_slots_that_are_read(base: int, step: int) -> None:
    """Two taps of one pixel: neighbours, or with other slots between them."""
    segment = Seg(index=0, base=base, n_ky=1, n_kx=2, n_ic=1, d_kx=step)
    execute = Exec(
        mode=1, n_seg=1, n_ocb=1, n_rows=1, run=1, wrap=1, drain=False, keep=False, weights=0,
    )  # fmt: skip
    wanted = set(addressing.read_slots(segment, execute, NANO).ravel().tolist())
    assert {base, base + step} <= wanted
    entries = read([segment], execute)
    if step == 1:
        assert entries == slice(base, base + 2)
    else:
        assert isinstance(entries, np.ndarray)
        assert entries.tolist() == [base, base + step]
