"""Pass: split operations into tiles, one EXEC each, with the constants it needs.

A tile computes some output blocks of all pixels that one walk visits. Its weights fill at most part
of their memory, so that those of the next tiles can be loaded at the same time. If one output block
has too many weights, its reduction is split into tiles that keep the accumulators, one pixel block
at a time. Adjacent operations with the same weights (images of a batch, bands) alternate, so that a
weight is loaded once for all of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler import cost
from sigbit.compiler.groups import Blocks, regular_blocks
from sigbit.compiler.network import Op, Region, Value
from sigbit.compiler.place.memory import Placed
from sigbit.compiler.tile.segments import Segment, cut, fits_loops, reduction, word_places
from sigbit.compiler.tile.walk import Walk, single_blocks, walks_of
from sigbit.compiler.tile.weights import WeightWords
from sigbit.compiler.tile.words import Words, product
from sigbit.errors import CompileError
from sigbit.ir.constants import digest, digests
from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Exec, Mode, Opcode, Out, Seg, field_of
from sigbit_hw.arch.numerics import TABLE_ENTRIES, UNIT, passed

Bytes = NDArray[np.uint8]

CHUNKS = 8
"""Maximum fraction of their memory that the weights of a tile fill, as a divisor, so that loads run
ahead."""

MAX_BLOCKS = field_of(Opcode.EXEC, "n_ocb").max
"""Maximum number of output blocks of an EXEC."""

_NONE = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Tile:
    """One EXEC of operation ``op``: the ``parts`` of its reduction, each a SEG, for ``blocks`` of
    its channels and the pixels of ``walk``.

    ``weights``, ``params`` and ``tables`` are the bytes that must be in on-chip memory when it
    runs; equal ones are the same array. Instead of ``weights``, the tile of a product of two
    computed tensors has ``words`` in the window, in this order. ``out`` and ``execute`` get their
    addresses in the next pass. The tile writes ``node_channels`` channels of the layer, starting
    at ``node_channel``, of the pixels in ``node_region`` (for a copy: of its result).
    """

    op: int
    parts: tuple[Segment, ...]
    blocks: Blocks
    walk: Walk
    segments: tuple[Seg, ...]
    out: Out | None
    execute: Exec
    weights: Bytes
    params: Bytes
    tables: Bytes
    node_channel: int
    node_channels: int
    node_region: Region
    words: tuple[Words, ...] = ()


@dataclass(frozen=True)
class Tiled:
    """A placed network and its tiles in order of execution."""

    placed: Placed
    tiles: tuple[Tile, ...]


def tile(placed: Placed, config: ArchConfig) -> Tiled:
    """Split every operation into tiles whose constants fit; raises :class:`CompileError` if none
    do."""
    constants = _Constants(config)
    tiles: list[Tile] = []
    for group in _turns(placed):
        try:
            stages = [list(_Tiler(i, placed, constants, config).stages()) for i in group]
        except ValueError as error:
            raise CompileError(
                f"{placed.network.ops[group[0]].where}: too large for an instruction: {error}; use "
                "a smaller layer"
            ) from None
        for turn in zip_longest(*stages, fillvalue=()):
            tiles += chain.from_iterable(turn)
    return Tiled(placed, tuple(tiles))


def _turns(placed: Placed) -> Iterator[list[int]]:
    """Groups of adjacent operations that may alternate: same weights, and no two on the same slots
    except for values that they only read or write at different elements."""
    group: list[int] = []
    weights: tuple[object, ...] = ()
    for index, op in enumerate(placed.network.ops):
        same = (*digests(o.weights for o in op.operands), *(o.right for o in op.operands))
        if op.kind == "conv" and same == weights and _independent(placed, group, op):
            group.append(index)
            continue
        if group:
            yield group
        group, weights = [index], same if op.kind == "conv" else ()
    if group:
        yield group


def _independent(placed: Placed, group: list[int], op: Op) -> bool:
    """True if ``op`` neither reads values that ``group`` writes nor uses slots of its other
    values."""
    others = [placed.network.ops[i] for i in group]
    results = {o.result for o in others}
    mine = {o.value for o in op.operands}
    if results & mine or any(op.result == o.value for other in others for o in other.operands):
        return False
    theirs = results.union(*({o.value for o in other.operands} for other in others))
    return not any(
        placed.bases[a] < placed.bases[b] + placed.layouts[b].size
        and placed.bases[b] < placed.bases[a] + placed.layouts[a].size
        for a in mine | {op.result}
        for b in theirs
        if a != b
    )


class _Constants:
    """Bytes of weights, parameters and tables; equal requests return the same array."""

    def __init__(self, config: ArchConfig) -> None:
        self.weights = WeightWords(config)
        self._config = config
        self._arrays: dict[tuple[object, ...], Bytes] = {}
        codes = np.arange(1 << config.act_format.bits)
        identity = np.zeros(TABLE_ENTRIES, np.int64)
        identity[passed(codes, config.result_bits)] = codes
        self.identity = images.pack_table(identity, config)

    def params(self, op: Op, blocks: Blocks) -> Bytes:
        """Parameters of the channels of ``blocks``; those past the last one give ``op.rest``."""
        arrays = (op.base, op.step, op.tie)
        key = (digests(arrays), blocks.first, blocks.count, op.rest)
        if key not in self._arrays:
            lanes = self._config.oc_lanes
            channels = slice(blocks.first * lanes, (blocks.first + blocks.count) * lanes)
            pad = (0, max(0, channels.stop - op.channels))
            padded = (
                np.pad(a[channels], pad, constant_values=fill)
                for a, fill in zip(arrays, (op.rest * UNIT, UNIT, 0), strict=True)
                if a is not None
            )
            self._arrays[key] = images.pack_params(*padded, config=self._config)
        return self._arrays[key]

    def tables(self, op: Op, value: Value) -> Bytes:
        """Tables of all digits of the result ``value``."""
        assert op.table is not None
        key = (digest(op.table), value.planes, value.weights)
        if key not in self._arrays:
            codes = value.grid(self._config).encode(op.table)
            self._arrays[key] = images.pack_table(codes, self._config)
        return self._arrays[key]


class _Tiler:
    """The tiles of one operation."""

    def __init__(
        self, index: int, placed: Placed, constants: _Constants, config: ArchConfig
    ) -> None:
        self.index, self.config, self.constants = index, config, constants
        self.op = placed.network.ops[index]
        self.network, self.layouts, self.bases = placed.network, placed.layouts, placed.bases
        self.result = placed.layouts[self.op.result]

    def stages(self) -> Iterator[Iterable[Tile]]:
        """Tiles in order of execution, grouped by weights."""
        if self.op.kind != "conv":
            yield self._maximum()
            return
        c = self.config
        if c.groups_per_block > c.param_groups:
            raise CompileError(
                f"{self.op.where}: an output-channel block has {c.groups_per_block} parameter "
                f"groups, but {c.name} holds {c.param_groups}: use larger param_groups"
            )
        walks = walks_of(self.op, self.layouts, c)
        for blocks in regular_blocks(self.op, c):
            whole = reduction(self.op, self.layouts, blocks.counts)
            if self._at_once(whole, walks):
                for part in self._chunks(blocks, word_places(whole)[1]):
                    yield [self._product(walk, part, whole) for walk in walks]
            else:
                parts = cut(whole, max(1, c.weight_words // CHUNKS), c.segments)
                for i in range(blocks.count):
                    yield self._in_parts(blocks.part(i, 1), parts)

    def _at_once(self, segments: tuple[Segment, ...], walks: list[Walk]) -> bool:
        """True if the reduction of an output block is one EXEC: it must fit, and leave room for the
        next one's weights unless loading them repeatedly costs more than waiting for them."""
        c = self.config
        steps, words = sum(s.steps for s in segments), word_places(segments)[1]
        if words > c.weight_words or len(segments) > c.segments or not fits_loops(segments):
            return False
        pixel_blocks = sum(walk.n_rows * walk.blocks(c) for walk in walks)
        load = cost.load_cycles(words * c.weight_word_bytes, c)
        compute = max(steps, cost.drain_cycles(self.op, self.network, c))
        waiting = load + pixel_blocks * compute
        return words <= c.weight_words // 2 or waiting <= pixel_blocks * max(load, compute)

    def _chunks(self, blocks: Blocks, words: int) -> Iterator[Blocks]:
        """``blocks`` of ``words`` weight words each, in parts of nearly equal size whose constants
        leave room for the next ones."""
        c = self.config
        weights = c.weight_words // CHUNKS // words
        params = c.param_groups // 2 // c.groups_per_block
        most = max(1, min(weights, params, MAX_BLOCKS))
        ends = np.linspace(0, blocks.count, -(-blocks.count // most) + 1).round().astype(int)
        for first, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            yield blocks.part(first, end - first)

    def _in_parts(self, block: Blocks, parts: list[tuple[Segment, ...]]) -> Iterator[Tile]:
        """Tiles that keep the accumulators until the last part of the reduction."""
        for walk in single_blocks(self.op, self.layouts, self.config):
            for i, part in enumerate(parts):
                yield self._product(walk, block, part, keep=i > 0, drain=i == len(parts) - 1)

    def _product(
        self,
        walk: Walk,
        blocks: Blocks,
        segments: tuple[Segment, ...],
        *,
        keep: bool = False,
        drain: bool = True,
    ) -> Tile:
        """A tile that multiplies and accumulates."""
        c, op = self.config, self.op
        first = blocks.first * c.oc_lanes
        slot = first // c.ic_lanes
        slots = min(blocks.count * c.slots_per_block, -(-op.channels // c.ic_lanes) - slot)
        planes = self.result.planes
        seg = []
        firsts, words = word_places(segments)
        weights, pieces = _NONE, tuple[Words, ...]()
        if op.operands[0].right:
            computed = product(op, self.network, segments, blocks, c)
            firsts, words, pieces = computed.firsts, computed.block_words, computed.pieces
        else:
            weights = self.constants.weights.image(op, segments, blocks)
        for i, s in enumerate(segments):
            layout = self.layouts[op.operands[s.operand].value]
            channel = op.operands[s.operand].channel // c.ic_lanes + blocks.slots[s.operand]
            follow = blocks.steps[s.operand] * layout.slot_step
            instr = self._segment(i, s, walk, channel, follow)
            seg.append(replace(instr, words=firsts[i]))
        return Tile(
            op=self.index,
            parts=segments,
            blocks=blocks,
            walk=walk,
            segments=tuple(seg),
            out=self._out(walk, 0, slot, slots, planes) if drain else None,
            execute=replace(
                self._execute(walk, blocks, len(seg), Mode.MAC, keep=keep, drain=drain),
                block_words=words,
            ),
            weights=weights,
            params=self.constants.params(op, blocks) if drain else _NONE,
            tables=self.constants.tables(op, self.network.values[op.result]) if drain else _NONE,
            node_channel=op.node_channel + first,
            node_channels=min(blocks.count * c.oc_lanes, op.channels - first),
            node_region=walk.part(op.node_region or op.region),
            words=pieces,
        )

    def _maximum(self) -> Iterator[Tile]:
        """A running maximum, or a copy. If digits are evenly spaced, they are treated like channel
        slots; else every digit is a tile."""
        c, op = self.config, self.op
        source = self.layouts[op.operands[0].value]
        slots = -(-op.channels // c.ic_lanes)
        planes = self.result.planes
        even = planes == 1 or slots == source.slots == self.result.slots
        parts = reduction(op, self.layouts, (1,))
        if len(parts) > c.segments:
            raise CompileError(
                f"{op.where}: {len(parts)} column phases need as many segments, but {c.name} has "
                f"{c.segments}: use a smaller stride"
            )
        lots = [(0, slots * planes)] if even else [(p, slots) for p in range(planes)]
        for walk in walks_of(op, self.layouts, c):
            for plane, count in lots:
                for first in range(0, count, MAX_BLOCKS):
                    blocks = Blocks(first, min(MAX_BLOCKS, count - first), (first,), (1,), (1,))
                    yield self._selection(walk, plane, blocks, parts)

    def _selection(
        self, walk: Walk, plane: int, blocks: Blocks, parts: tuple[Segment, ...]
    ) -> Tile:
        """A tile that takes maxima."""
        c, op = self.config, self.op
        operand = op.operands[0]
        source = self.layouts[operand.value]
        slot = plane * source.slots + operand.channel // c.ic_lanes + blocks.first
        first = blocks.first * c.ic_lanes
        return Tile(
            op=self.index,
            parts=parts,
            blocks=blocks,
            walk=walk,
            segments=tuple(
                self._segment(i, s, walk, slot, source.slot_step) for i, s in enumerate(parts)
            ),
            out=self._out(walk, plane, blocks.first, blocks.count, 1),
            execute=self._execute(walk, blocks, len(parts), Mode.MAX),
            weights=_NONE,
            params=_NONE,
            tables=self.constants.identity,
            node_channel=op.node_channel + first,
            node_channels=min(blocks.count * c.ic_lanes, op.channels - first),
            node_region=walk.part(op.node_region or op.region),
        )

    def _execute(
        self,
        walk: Walk,
        blocks: Blocks,
        n_seg: int,
        mode: Mode,
        *,
        keep: bool = False,
        drain: bool = True,
    ) -> Exec:
        return Exec(
            mode=mode,
            keep=keep,
            drain=drain,
            n_seg=n_seg,
            n_ocb=blocks.count,
            **walk.exec_fields(self.config),
        )

    def _out(self, walk: Walk, plane: int, slot: int, n_slots: int, planes: int) -> Out:
        """Writes of ``n_slots`` slots, starting at the ``slot``-th of the operation."""
        op, layout = self.op, self.result
        first = walk.part(op.region)
        channel = op.channel // self.config.ic_lanes + slot
        return Out(
            base=self.bases[op.result] + layout.at(plane, channel, first.y, first.x),
            d_slot=layout.slot_step,
            n_slots=n_slots,
            n_planes=planes,
            d_plane=layout.plane_step,
            **walk.out_fields(layout, op.region),
        )

    def _segment(self, index: int, s: Segment, walk: Walk, slot: int, follow: int) -> Seg:
        """A segment whose first block reads channel slots from ``slot`` on."""
        operand = self.op.operands[s.operand]
        layout = self.layouts[operand.value]
        (dy, dx), (sy, sx), (top, left) = operand.dilation, operand.stride, operand.padding
        inner = (s.slots - 1) * layout.slot_step
        column = s.spacing * dx // layout.phases
        return Seg(
            index=index,
            shift=s.shift,
            base=self.bases[operand.value]
            + layout.at(
                s.plane,
                slot + s.slot,
                walk.y * sy + s.row * dy - top,
                walk.x * sx + s.column * dx - left,
            ),
            n_ic=s.slots,
            n_kx=s.columns,
            n_ky=s.rows,
            d_ic=layout.slot_step,
            d_kx=column - inner,
            d_ky=dy * layout.pitch - (s.columns - 1) * column - inner,
            **walk.segment_fields(sy * layout.pitch, follow, self.config),
        )
