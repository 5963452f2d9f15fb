"""Verifier of the tiles: compares every address with the element that it stands for, and every
weight word with the weights.

The effect of a tile's instructions is compared with its ``parts``, ``blocks`` and ``walk``, step by
step, lane by lane and pixel by pixel; these in turn must cover the operation exactly once. Tiles of
the same shape are compared once.
"""

import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.network import Op, Operand
from sigbit.compiler.place.layout import Layout
from sigbit.compiler.tile.segments import Segment
from sigbit.compiler.tile.tiles import Tile, Tiled
from sigbit.compiler.tile.words import block_words
from sigbit.errors import require
from sigbit.ir.constants import digests
from sigbit_hw.arch import addressing, images, numerics
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Out, Seg

Ints = NDArray[np.int64]


def verify_tiled(tiled: Tiled, config: ArchConfig) -> None:
    """Check that the draining tiles write every element of every operation exactly once and without
    bank conflicts, that every step and lane reads the correct element, and that the weight words
    equal the weights."""
    tiles: dict[int, list[Tile]] = defaultdict(list)
    for t in tiled.tiles:
        tiles[t.op].append(t)
    shapes = _Shapes(config)
    words: set[Hashable] = set()
    for index, op in enumerate(tiled.placed.network.ops):
        _Verifier(op, tiled, shapes, config).verify(tiles[index], words)


class _Shapes:
    """Comparisons that depend on shapes alone, each made once."""

    def __init__(self, config: ArchConfig) -> None:
        self._config = config
        self._right: dict[Hashable, bool] = {}

    def taps(self, s: Seg, part: Segment, operand: Operand, layout: Layout) -> bool:
        """True if the steps of a segment visit its elements in the order of the weight words."""
        loops = (s.n_ky, s.n_kx, s.n_ic, s.d_ky, s.d_kx, s.d_ic)
        place = part.column * operand.dilation[1] - operand.padding[1]
        shape = (part.rows, part.columns, part.slots, part.spacing)
        key = (*loops, *shape, place, operand.dilation, layout)
        if key not in self._right:
            row = np.arange(part.rows)[:, None, None] * operand.dilation[0]
            column = np.arange(part.columns)[:, None] * part.spacing * operand.dilation[1]
            wanted = layout.address(0, np.arange(part.slots), row, place + column).ravel()
            found = addressing.tap_offsets(s)
            same = np.array_equal(found, wanted - wanted[0])
            self._right[key] = same and loops[:3] == shape[:3]
        return self._right[key]

    def lanes(self, s: Seg, x: int, t: Tile, operand: Operand, layout: Layout, step: int) -> bool:
        """True if the lanes of a segment, whose first tap is in column ``x``, have the distances of
        the windows of the output pixels, and output blocks a distance of ``step`` channel slots."""
        e, walk, config = t.execute, t.walk, self._config
        steps = (s.gap, s.d_block, s.d_row, s.d_ocb, e.n_ocb, e.n_rows, e.run, e.wrap)
        key = (*steps, x, walk.rows, walk.columns, operand.stride, layout, step)
        if key not in self._right:
            y = np.arange(walk.rows)[:, None] * operand.stride[0]
            pixel = layout.address(0, 0, y, x + np.arange(walk.columns) * operand.stride[1]).ravel()
            block = np.arange(e.n_ocb)[:, None] * layout.slot_step * step
            valid = addressing.valid_lanes(e, config)
            bases = addressing.block_bases(s, e, config)[..., None] - s.base
            slots = (bases + addressing.lane_offsets(s, e, config))[:, :, valid]
            same = slots[0].size == pixel.size and np.array_equal(
                slots.reshape(e.n_ocb, -1), pixel - pixel[0] + block
            )
            self._right[key] = same and s.gap % config.pixels == 0
        return self._right[key]

    def writes(self, out: Out, t: Tile, op: Op, layout: Layout) -> bool:
        """True if OUT steps through the pixels of the walk without bank conflicts."""
        e = t.execute
        steps = (out.phases, out.d_pix, out.d_col, out.d_line, out.d_row)
        shape = (out.d_slot, out.n_slots, e.mode, e.n_rows, e.run, e.wrap)
        key = (steps, shape, t.walk, op.region, layout)
        if key not in self._right:
            wanted = layout.pixels(t.walk.part(op.region)).ravel()
            found = addressing.pixel_offsets(out, e).ravel()
            same = np.array_equal(found, wanted - wanted[0])
            clear = addressing.bank_conflicts(out, e, self._config) == 0
            self._right[key] = same and clear
        return self._right[key]


class _Verifier:
    """Checks of the tiles of one operation."""

    def __init__(self, op: Op, tiled: Tiled, shapes: _Shapes, config: ArchConfig) -> None:
        self.op, self.placed, self.shapes, self.config = op, tiled.placed, shapes, config
        self.result = self.placed.layouts[op.result]
        self.written = np.zeros(
            (self.result.planes * self.result.slots, op.region.rows, op.region.columns), np.uint8
        )
        self.orders: set[Hashable] = set()

    def verify(self, tiles: list[Tile], words: set[Hashable]) -> None:
        """Make all checks; ``words`` holds the weights that have been compared before."""
        op = self.op
        groups: dict[Hashable, list[Tile]] = defaultdict(list)
        for t in tiles:
            self._segments(t)
            groups[t.blocks, t.walk, t.out.base if op.kind != "conv" and t.out else None].append(t)
            if t.out is not None:
                self._writes(t, t.out)
                self._constants(t, words)
        slots = -(-op.channels // self.config.ic_lanes)
        first = op.channel // self.config.ic_lanes
        wanted = np.zeros((self.result.planes, self.result.slots), np.uint8)
        wanted[:, first : first + slots] = 1
        once = (self.written == wanted.reshape(-1, 1, 1)).all()
        require(bool(once), f"{op.name}: its tiles do not write every element exactly once")
        for group in groups.values():
            self._order(group)
            if op.kind == "conv":
                if op.operands[0].right:
                    self._product(group)
                    continue
                parts = digests(t.weights for t in group)
                key = (parts, digests(o.weights for o in op.operands), group[0].blocks)
                if key not in words:
                    words.add(key)
                    self._words(group)

    def _segments(self, t: Tile) -> None:
        """Check that every segment begins at its element and steps correctly."""
        op, e = self.op, t.execute
        mac = op.kind == "conv"
        ends = [s.words + s.steps for s in t.segments]
        size = e.block_words * e.n_ocb * self.config.weight_word_bytes
        require(not mac or max(ends) == e.block_words, f"{op.name}: weights do not fit the steps")
        counts = e.n_ocb == t.blocks.count and e.n_seg == len(t.segments) == len(t.parts)
        found = t.weights.size + sum(w.count for w in t.words) * self.config.weight_word_bytes
        require(counts and found == size, f"{op.name}: weights do not fit the steps")
        fields = addressing.column_steps(e.wrap, self.config)
        right = e.block_step == fields["block_step"] and e.group_step == fields["group_step"]
        require(right and t.walk.rows * t.walk.columns == e.n_rows * e.run, f"{op.name}: pixels")
        for i, (s, part) in enumerate(zip(t.segments, t.parts, strict=True)):
            operand = op.operands[part.operand]
            layout, base = self.placed.layouts[operand.value], self.placed.bases[operand.value]
            y = t.walk.y * operand.stride[0] - operand.padding[0] + part.row * operand.dilation[0]
            x = t.walk.x * operand.stride[1] - operand.padding[1]
            x += part.column * operand.dilation[1]
            slot = operand.channel // self.config.ic_lanes + t.blocks.slots[part.operand]
            plane = part.plane if mac else self._plane(t)
            right = s.index == i and s.base == base + layout.at(plane, slot + part.slot, y, x)
            require(right, f"{op.name}: segment {i} begins at the wrong slot")
            who = f"{op.name}: segment {i} strays from its windows"
            require(self.shapes.taps(s, part, operand, layout), who)
            step = t.blocks.steps[part.operand]
            require(self.shapes.lanes(s, x, t, operand, layout, step), who)

    def _plane(self, t: Tile) -> int:
        """Digit with which a maximum or copy begins."""
        assert t.out is not None
        return (t.out.base - self.placed.bases[self.op.result]) // self.result.plane_step

    def _writes(self, t: Tile, out: Out) -> None:
        """Check that pixels and slots are those of the tile, and mark them."""
        op, layout, config = self.op, self.result, self.config
        who = f"{op.name}: its tiles write other elements"
        first = t.walk.part(op.region)
        start = out.base - self.placed.bases[op.result] - layout.at(0, 0, first.y, first.x)
        slot, rest = divmod(start, layout.slot_step)
        count = addressing.channel_slots(out, t.execute, config)
        mac = op.kind == "conv"
        per_block = config.slots_per_block if mac else 1
        plane = slot // layout.slots
        named = plane * layout.slots + op.channel // config.ic_lanes + t.blocks.first * per_block
        require(rest == 0 and slot == named and out.d_slot == layout.slot_step, who)
        planes = layout.planes if mac else 1
        require(out.n_planes == planes and out.d_plane == layout.plane_step, who)
        end = slot + count + (planes - 1) * layout.slots
        require(end <= len(self.written), who)
        if not mac:
            source = self.placed.layouts[op.operands[0].value]
            whole = count == 1 or source.slots == layout.slots
            require(whole or slot % layout.slots + count <= layout.slots, who)
        require(self.shapes.writes(out, t, op, layout), who)
        rows = slice(t.walk.y, t.walk.y + t.walk.rows)
        columns = slice(t.walk.x, t.walk.x + t.walk.columns)
        for p in range(planes):
            at = slot + p * layout.slots
            self.written[at : at + count, rows, columns] += 1

    def _constants(self, t: Tile, known: set[Hashable]) -> None:
        """Check that parameters and tables are those of the tile's channels."""
        op, c = self.op, self.config
        if op.kind != "conv":
            return
        arrays = [a for a in (op.base, op.step, op.tie) if a is not None]
        require(len(arrays) == 3, f"{op.name} has no parameters")
        key = (digests([t.params, t.tables, *arrays, op.table]), t.blocks)
        if key in known:
            return
        known.add(key)
        first = t.blocks.first * c.oc_lanes
        count = t.blocks.count * c.oc_lanes
        found = images.unpack_params(t.params, c)
        right = all(
            a.size == count and np.array_equal(a[: op.channels - first], b[first : first + count])
            for a, b in zip(found, arrays, strict=True)
        )
        require(right, f"{op.name}: parameters of other channels")
        value = self.placed.network.values[op.result]
        tables = value.grid(c).decode(images.unpack_table(t.tables, c))
        require(np.array_equal(tables, np.asarray(op.table)), f"{op.name}: another table")
        if value.weights:
            lanes = min(count, -(-op.channels // c.ic_lanes) * c.ic_lanes - first)
            rest = (a[max(0, op.channels - first) : lanes] for a in found)
            zero = tables[numerics.table_index(numerics.requantize(0, *rest, bits=c.result_bits))]
            require(not zero.any(), f"{op.name}: channels that do not exist are not 0")

    def _order(self, group: list[Tile]) -> None:
        """Check that the tiles of one reduction together contain every element of the window once
        for every digit pair, in descending order of digit weight with one shift between adjacent
        ones, and that the first clears the accumulators and the last drains them."""
        op = self.op
        flags = [(t.execute.keep, t.execute.drain) for t in group]
        last = len(group) - 1
        wanted = [(int(i > 0), int(i == last)) for i in range(len(group))]
        require(flags == wanted, f"{op.name}: accumulators are cleared or drained out of turn")
        blocks = group[0].blocks
        shifts = [s.shift for t in group for s in t.segments]
        key = (tuple(t.parts for t in group), blocks, tuple(shifts))
        if key in self.orders:
            return
        self.orders.add(key)
        parts = [p for t in group for p in t.parts]
        for index, operand in enumerate(op.operands):
            layout = self.placed.layouts[operand.value]
            planes = 1 if op.kind == "copy" else layout.planes
            seen = np.zeros(
                (operand.terms, planes, *operand.kernel, blocks.counts[index]), np.uint8
            )
            for p in parts:
                if p.operand == index:
                    rows, columns, slots = _ranges(p)
                    seen[p.term, p.plane, rows, columns, slots] += 1
            right = bool((seen == 1).all())
            require(right, f"{op.name}: steps are not the windows of {operand.value}")
        weights = [p.term + p.plane for p in parts]
        falls = [a - b for a, b in itertools.pairwise(weights)]
        right = shifts == [0, *falls] and weights[-1] == 0
        require(right, f"{op.name}: digits are out of order")

    def _product(self, group: list[Tile]) -> None:
        """Check that the words of a product's tiles are those of the right value's pixels, digits
        and channel slots."""
        op, c, network = self.op, self.config, self.placed.network
        value = network.values[op.operands[0].right]
        one = all(o.right == value.name for o in op.operands)
        require(one and value.store is not None, f"{op.name} multiplies by several values")
        assert value.store is not None
        slots, size = -(-value.shape[0] // c.ic_lanes), block_words(value, c)
        for t in group:
            named = all(w.memory == value.store.memory for w in t.words)
            require(named, f"{op.name}: its words are those of another value")
            words = np.concatenate([w.first + np.arange(w.count) for w in t.words])
            words = words.reshape(t.blocks.count, -1)
            block = (t.blocks.first + np.arange(t.blocks.count)[:, None]) * size
            for p, s in zip(t.parts, t.segments, strict=True):
                o = op.operands[p.operand]
                slot = o.right_channel // c.ic_lanes + t.blocks.slots[p.operand] + p.slot
                wanted = block + p.term * slots + slot + np.arange(p.slots)
                found = words[:, s.words : s.words + p.steps]
                right = np.array_equal(found, wanted) and slot + p.slots <= slots
                require(right, f"{op.name}: its words are not those of {value.name}")

    def _words(self, group: list[Tile]) -> None:
        """Check that the words of a reduction's tiles, summed over terms, are the weights of the
        output blocks, for every digit of the operands."""
        op, c, blocks = self.op, self.config, group[0].blocks
        shape = (blocks.count, c.oc_lanes, c.ic_lanes)
        sums = [
            np.zeros(
                (self.placed.layouts[o.value].planes, *o.kernel, blocks.counts[i], *shape), np.int32
            )
            for i, o in enumerate(op.operands)
        ]
        values = np.asarray(c.weight_format.decode(np.arange(1 << c.weight_format.bits)), np.int32)
        for t in group:
            words = values[images.unpack_weights(t.weights, c)]
            words = words.reshape(blocks.count, -1, c.oc_lanes, c.ic_lanes).swapaxes(0, 1)
            for p, s in zip(t.parts, t.segments, strict=True):
                part = words[s.words : s.words + p.steps].reshape(
                    p.rows, p.columns, p.slots, *shape
                )
                rows, columns, slots = _ranges(p)
                sums[p.operand][p.plane, rows, columns, slots] += part << (
                    c.term_radix_bits * p.term
                )
        for i, operand in enumerate(op.operands):
            found = sums[i].transpose(0, 4, 5, 3, 6, 1, 2)  # plane, block, lane, slot, lane, ky, kx
            right = all(
                np.array_equal(plane[b], self._weights(operand, i, blocks.first + b, t))
                for plane in found
                for b in range(blocks.count)
            )
            require(right, f"{op.name}: its words are not the weights of {operand.value}")

    def _weights(self, operand: Operand, index: int, block: int, t: Tile) -> Ints:
        """Weights of an output block ``[oc_lanes, slots, ic_lanes, kh, kw]``, lane by lane."""
        c, op, blocks = self.config, self.op, t.blocks
        assert operand.weights is not None
        inputs = operand.channels // operand.groups
        slots = blocks.counts[index]
        first = blocks.slots[index] + (block - blocks.first) * blocks.steps[index]
        exist = first >= 0 and first + slots <= -(-operand.channels // c.ic_lanes)
        require(exist, f"{op.name}: an output block reads channels that do not exist")
        full = np.zeros((c.oc_lanes, slots * c.ic_lanes, *operand.kernel), np.int64)
        outputs = range(block * c.oc_lanes, min((block + 1) * c.oc_lanes, op.channels))
        for lane, output in enumerate(outputs):
            group = output * operand.groups // op.channels
            start = group * inputs - first * c.ic_lanes
            inside = start >= 0 and start + inputs <= slots * c.ic_lanes
            require(inside, f"{op.name}: an output block does not read its groups' inputs")
            full[lane, start : start + inputs] = operand.weights[output]
        return full.reshape(c.oc_lanes, slots, c.ic_lanes, *operand.kernel)


def _ranges(part: Segment) -> Iterable[slice]:
    """Kernel rows, kernel columns and channel slots of a part of a reduction."""
    last = part.column + (part.columns - 1) * part.spacing
    yield slice(part.row, part.row + part.rows)
    yield slice(part.column, last + 1, part.spacing)
    yield slice(part.slot, part.slot + part.slots)
