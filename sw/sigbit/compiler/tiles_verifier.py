"""Verifier of the tiles: every address against the element that it stands for."""

import itertools

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.errors import require
from sigbit.compiler.memory import Placed
from sigbit.compiler.network import Op, Operand
from sigbit.compiler.tiles import Tile, Tiled
from sigbit_hw.arch import addressing
from sigbit_hw.arch.config import ArchConfig

Ints = NDArray[np.int64]


def verify_tiled(tiled: Tiled, config: ArchConfig) -> None:
    """The draining tiles write every element of every value exactly once, every lane reads the
    windows of its output pixel, and there is a weight word for every step."""
    placed = tiled.placed
    for index, op in enumerate(placed.network.ops):
        tiles = [t for t in tiled.tiles if t.op == index]
        layout, base = placed.layouts[op.result], placed.bases[op.result]
        grid = np.ogrid[: layout.planes, : layout.slots, : layout.height, : layout.width]
        wanted = np.sort((base + layout.address(*grid)).ravel())
        found = [addressing.write_slots(t.out, t.execute, config).ravel() for t in tiles if t.out]
        require(bool(found), f"{op.name} writes nothing")
        written = np.sort(np.concatenate(found))
        require(np.array_equal(written, wanted), f"{op.name}: its tiles write other elements")
        reductions: dict[tuple[int, int], list[Tile]] = {}
        for t in tiles:
            steps = sum(s.n_ic * s.n_kx * s.n_ky for s in t.segments) * t.execute.n_ocb
            words = steps * config.weight_word_bytes if op.kind == "conv" else 0
            require(t.weights.size == words, f"{op.name}: weights do not fit the steps")
            _verify_lanes(t, op, placed, config)
            reductions.setdefault((t.channel, t.pixel), []).append(t)
        for group in reductions.values():
            _verify_taps(group, op, placed, config)


def _per_block(op: Op, operand: Operand, config: ArchConfig) -> int:
    """Channel slots that an operand advances from an output-channel block to the next."""
    if op.kind != "conv":
        return 1
    return config.slots_per_block if operand.depthwise else 0


def _verify_lanes(t: Tile, op: Op, placed: Placed, config: ArchConfig) -> None:
    """Lanes are apart by what the windows of their output pixels are."""
    width = placed.network.values[op.result].shape[2]
    y, x = np.divmod(t.pixel + np.arange(t.execute.n_rows * t.execute.run), width)
    lanes = np.broadcast_to(
        addressing.valid_lanes(t.execute, config),
        (t.execute.n_rows, addressing.blocks_of_run(t.execute, config), config.pixels),
    )
    for part, segment in zip(t.parts, t.segments, strict=True):
        operand = op.operands[part.operand]
        layout = placed.layouts[operand.value]
        places = layout.address(0, 0, y * operand.stride[0], x * operand.stride[1])
        block = np.arange(t.execute.n_ocb)[:, None] * layout.slot_step
        wanted = places - places[0] + block * _per_block(op, operand, config)
        bases = addressing.block_bases(segment, t.execute, config)[..., None]
        slots = (bases + addressing.lane_offsets(segment, t.execute, config))[:, lanes]
        right = np.array_equal(slots - segment.base, wanted)
        require(right, f"{op.name}: segment {segment.index} strays from its windows")
        require(segment.d_wrap % config.pixels == 0, f"{op.name}: d_wrap {segment.d_wrap}")


def _verify_taps(group: list[Tile], op: Op, placed: Placed, config: ArchConfig) -> None:
    """The first pixel's steps are its windows' elements, each once for every term; the digits come
    in descending order of weight, with one shift between neighbours."""
    width = placed.network.values[op.result].shape[2]
    y, x = divmod(group[0].pixel, width)
    steps = [(p, s) for t in group for p, s in zip(t.parts, t.segments, strict=True)]
    for index, operand in enumerate(op.operands):
        layout, base = placed.layouts[operand.value], placed.bases[operand.value]
        first = group[0].channel // config.oc_lanes * _per_block(op, operand, config)
        slots = layout.slots if op.kind == "conv" and not operand.depthwise else 1
        if operand.depthwise:
            slots = min(config.slots_per_block, layout.slots - first)
        planes = 1 if op.kind == "copy" else layout.planes
        plane, slot, ky, kx = np.ogrid[
            :planes, first : first + slots, : operand.kernel[0], : operand.kernel[1]
        ]
        places = base + layout.address(
            plane,
            slot,
            y * operand.stride[0] - operand.padding[0] + ky,
            x * operand.stride[1] - operand.padding[1] + kx,
        )
        wanted = np.sort(np.tile(places.ravel(), operand.terms))
        found = [s.base + addressing.tap_offsets(s) for p, s in steps if p.operand == index]
        right = bool(found) and np.array_equal(np.sort(np.concatenate(found)), wanted)
        require(right, f"{op.name}: steps are not the windows of {operand.value}")
    weights = [p.term + p.plane for p, _ in steps]
    shifts = [s.shift for _, s in steps]
    falls = [a - b for a, b in itertools.pairwise(weights)]
    require(shifts == [0, *falls] and weights[-1] == 0, f"{op.name}: digits are out of order")
