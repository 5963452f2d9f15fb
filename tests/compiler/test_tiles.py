"""Layouts and tiles: EXECs as the addressing functions define them against the operations' meaning,
element by element; planted faults in single tiles; shapes that must run without waste."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.levels import (
    Draft,
    evaluate,
    memory_of,
    parameters,
    random_draft,
    read_value,
    run_tiles,
)
from examples import examples
from sigbit.compiler import VerifyError
from sigbit.compiler.groups import regular_blocks
from sigbit.compiler.network import Op, Operand, Region
from sigbit.compiler.place.layout import Laid, verify_layout
from sigbit.compiler.tile.tiles import Tile, Tiled, tile
from sigbit.compiler.tile.verifier import verify_tiled
from sigbit_hw.arch import numerics
from sigbit_hw.arch.config import PRESETS, ArchConfig

NANO, MICRO = PRESETS["nano"], PRESETS["micro"]
CONFIGS = {
    name: replace(config, name=name, act_slots=1 << 18, acc_bits=32)
    for name, config in {
        "nano": NANO,
        "ecp5": PRESETS["ecp5"],
        "mobile": PRESETS["mobile"],
        "zcu102": PRESETS["zcu102"],
        "several-drained-slots": replace(MICRO, oc_lanes=16, post_lanes=16),
        "all-pixels-drained-at-once": replace(MICRO, post_lanes=32),
        "small-memories": replace(NANO, weight_words=256, param_groups=2, segments=8),
    }.items()
}


def run(d: Draft) -> Tiled:
    """Compile a draft to tiles, execute them and compare every value with its definition."""
    wanted, placed = evaluate(d), d.placed()
    tiled = tile(placed, d.config)
    verify_tiled(tiled, d.config)
    memory = memory_of(d, placed)
    run_tiles(tiled, memory, d.config)
    compared = 0
    for name in {op.result for op in d.ops}:
        assert np.array_equal(read_value(d, placed, name, memory), wanted[name]), name
        compared += wanted[name].size
    assert compared
    return tiled


@pytest.mark.parametrize("which", CONFIGS)
@settings(max_examples=examples(8), suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 32))
def test_random_operations(which: str, seed: int) -> None:
    run(random_draft(np.random.default_rng(seed), CONFIGS[which]))


def convolution(
    config: ArchConfig,
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    oc: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    images: int = 1,
) -> Draft:
    """The same square convolution, padded to keep the size, on one or more images."""
    d = Draft(rng, config)
    channels, height, width = shape
    size = -(-height // stride), -(-width // stride)
    values = config.weight_grid(1).values
    weights = rng.choice(values, (oc, channels // groups, kernel, kernel))
    params = parameters(config, rng, oc, 6)
    table = rng.choice(config.act_grid(1).values, numerics.TABLE_ENTRIES)
    for image in range(images):
        source = d.value(shape, 1, stride, given=True)
        result = d.value((oc, *size), 1, 1, given=False)
        operand = Operand(
            source,
            (kernel, kernel),
            channels,
            stride=(stride, stride),
            padding=(kernel // 2, kernel // 2),
            weights=weights,
            groups=groups,
            halo=d.values[source].halo,
        )
        d.ops.append(
            Op(
                f"op{image}",
                "conv",
                (operand,),
                result,
                Region(0, 0, *size),
                oc,
                **params,
                table=table,
                image=image,
            )
        )
    return d


@pytest.mark.parametrize(
    ("which", "size", "stride"),
    [("nano", 14, 1), ("mobile", 7, 1), ("zcu102", 14, 1), ("zcu102", 28, 2), ("mobile", 28, 2)],
)
def test_blocks_run_across_lines(
    which: str, size: int, stride: int, rng: np.random.Generator
) -> None:
    """One run whose lanes are all busy but in its last block."""
    tiled = run(convolution(CONFIGS[which], rng, (8, size, size), 8, stride=stride))
    pixels = (size // stride) ** 2
    assert [(t.execute.n_rows, t.execute.run) for t in tiled.tiles] == [(1, pixels)]


def test_lines_without_gaps_are_one(rng: np.random.Generator) -> None:
    """Images of one column fill the lanes, though no line may be that short."""
    tiled = run(convolution(CONFIGS["mobile"], rng, (8, 20, 1), 8, kernel=1))
    assert [(t.execute.n_rows, t.execute.run, t.walk.flat) for t in tiled.tiles] == [(1, 20, True)]


def test_depthwise_reads_its_own_channels(rng: np.random.Generator) -> None:
    """One step a tap: all blocks advance regularly, in one EXEC."""
    config = CONFIGS["mobile"]
    tiled = run(convolution(config, rng, (32, 8, 8), 32, groups=32))
    assert [(t.execute.n_ocb, t.segments[0].n_ic) for t in tiled.tiles] == [(4, 1)]


def test_groups_read_what_covers_them(rng: np.random.Generator) -> None:
    """Groups of 12 channels straddle slots of 4: every block reads three or more slots of nine."""
    config = CONFIGS["nano"]
    d = convolution(config, rng, (36, 5, 5), 36, groups=3)
    run(d)
    blocks = list(regular_blocks(d.ops[0], config))
    assert sum(b.count for b in blocks) == 9
    assert {b.counts for b in blocks} == {(3,)}


def test_images_take_turns(rng: np.random.Generator) -> None:
    """Every weight is needed by neighbouring tiles only, and is the same array for all images."""
    config = CONFIGS["small-memories"]
    tiled = run(convolution(config, rng, (16, 4, 4), 32, images=3))
    weights = [id(t.weights) for t in tiled.tiles]
    images = [t.op for t in tiled.tiles]
    assert len(set(weights)) * 3 == len(weights)
    assert weights == sorted(weights, key=weights.index)
    assert images == [0, 1, 2] * (len(images) // 3)


def test_reduction_larger_than_the_weight_memory(rng: np.random.Generator) -> None:
    """Parts leave room for the weights of the next one; the last drains."""
    config = replace(CONFIGS["small-memories"], weight_words=64)
    tiled = run(convolution(config, rng, (64, 1, 1), 8, kernel=3))
    words = [t.weights.size // config.weight_word_bytes for t in tiled.tiles]
    assert max(words) <= 16
    assert sum(words) == 2 * 9 * 16
    assert [t.execute.drain for t in tiled.tiles].count(1) == 2


def _segment(name: str, change: int) -> Any:
    def plant(t: Tile) -> Tile:
        first, *rest = t.segments
        return replace(t, segments=(replace(first, **{name: getattr(first, name) + change}), *rest))

    return plant


def _out(name: str, change: int) -> Any:
    def plant(t: Tile) -> Tile:
        assert t.out is not None
        return replace(t, out=replace(t.out, **{name: getattr(t.out, name) + change}))

    return plant


FAULTS = {
    "read base": _segment("base", 1),
    "kernel row step": _segment("d_ky", 1),
    "kernel column step": _segment("d_kx", -1),
    "channel step": _segment("d_ic", 1),
    "gap": _segment("gap", 2),
    "block step": _segment("d_block", 2),
    "output block step": _segment("d_ocb", 1),
    "digit shift": _segment("shift", 1),
    "segment's words": _segment("words", 1),
    "output block's words": lambda t: replace(
        t, execute=replace(t.execute, block_words=t.execute.block_words - 1)
    ),
    "write base": _out("base", 1),
    "write pixel step": _out("d_col", 1),
    "write line step": _out("d_line", 1),
    "write slot step": _out("d_slot", 2),
    "one plane more": _out("n_planes", 1),
    "weights garbled": lambda t: replace(t, weights=t.weights ^ 1),
    "weights lost": lambda t: replace(t, weights=t.weights[:-8]),
    "parameters garbled": lambda t: replace(t, params=t.params ^ 1),
    "table garbled": lambda t: replace(t, tables=t.tables ^ 1),
    "accumulators kept": lambda t: replace(t, execute=replace(t.execute, keep=1)),
    "columns of the drain": lambda t: replace(t, execute=replace(t.execute, group_step=7)),
}


@pytest.fixture(scope="module")
def sound() -> Tiled:
    """One tile of several output blocks and lines."""
    d = convolution(CONFIGS["nano"], np.random.default_rng(5), (8, 6, 6), 12)
    tiled = run(d)
    assert len(tiled.tiles) == 1
    return tiled


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault: str, sound: Tiled) -> None:
    tiled = replace(sound, tiles=(FAULTS[fault](sound.tiles[0]),))
    with pytest.raises(VerifyError):
        verify_tiled(tiled, CONFIGS["nano"])


@pytest.mark.parametrize("count", [0, 2])
def test_tiles_lost_and_repeated(count: int, sound: Tiled) -> None:
    with pytest.raises(VerifyError, match=r"exactly once|cleared or drained"):
        verify_tiled(replace(sound, tiles=sound.tiles * count), CONFIGS["nano"])


@pytest.mark.parametrize("fields", [{"top": 0}, {"left": 0}, {"pitch": 6}, {"phase_step": 3}])
def test_layout_fault(fields: dict[str, int], rng: np.random.Generator) -> None:
    d = convolution(CONFIGS["nano"], rng, (8, 6, 6), 8)
    placed = d.placed()
    layouts = {name: replace(layout, **fields) for name, layout in placed.layouts.items()}
    with pytest.raises(VerifyError):
        verify_layout(Laid(placed.network, layouts), CONFIGS["nano"])
