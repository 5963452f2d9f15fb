"""Pass: operations become tiles, one EXEC each, with the constants it needs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.errors import CompileError
from sigbit.compiler.memory import Placed
from sigbit.compiler.network import Op
from sigbit.compiler.segments import Segment, cut, reduction
from sigbit.compiler.walk import Walk, single_blocks, walk_of
from sigbit.compiler.weights import WeightWords
from sigbit.ir.integer import Conv
from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Instr, Mode, Opcode
from sigbit_hw.arch.numerics import TABLE_ENTRIES

Bytes = NDArray[np.uint8]

CHUNKS = 4
"""Weights of a tile fill at most this part of their memory, so that loads run ahead."""


@dataclass(frozen=True)
class Tile:
    """One EXEC of operation ``op``: the parts of its reduction, each a SEG.

    ``weights``, ``params`` and ``tables`` are bytes to be in on-chip memory when it runs; ``out``
    and ``execute`` get their addresses in the next pass. ``channel`` and ``pixel`` are the first it
    writes.
    """

    op: int
    parts: tuple[Segment, ...]
    segments: tuple[Instr, ...]
    out: Instr | None
    execute: Instr
    weights: Bytes
    params: Bytes
    tables: Bytes
    channel: int
    pixel: int


@dataclass(frozen=True)
class Tiled:
    """A placed network and its tiles in order of execution."""

    placed: Placed
    tiles: tuple[Tile, ...]


def tile(placed: Placed, config: ArchConfig) -> Tiled:
    """Cut every operation into tiles whose constants fit; :class:`CompileError` if none do."""
    tiles: list[Tile] = []
    for index, op in enumerate(placed.network.ops):
        try:
            tiles += _Tiler(index, op, placed, config).tiles()
        except ValueError as error:
            raise CompileError(
                f"{op.where}: too large for an instruction: {error}; use a smaller layer"
            ) from None
    return Tiled(placed, tuple(tiles))


class _Tiler:
    """The tiles of one operation."""

    def __init__(self, index: int, op: Op, placed: Placed, config: ArchConfig) -> None:
        self.index, self.op, self.placed, self.config = index, op, placed, config
        self.result = placed.layouts[op.result]
        self.base = placed.bases[op.result]
        self.whole = reduction(op, placed, config)
        self.words = WeightWords(op, config)

    def tiles(self) -> list[Tile]:
        """In order of execution."""
        if self.op.kind != "conv":
            return self._maximum()
        c = self.config
        steps = sum(s.steps for s in self.whole)
        if len(self.whole) <= c.segments and steps <= c.weight_words:
            walk = walk_of(self.op, self.placed, c)
            return [
                self._tile(walk, first, count, self._within(self.whole, first))
                for first, count in self._groups(steps)
            ]
        found = []
        for first in range(self._blocks()):
            segments = self._within(self.whole, first)
            parts = cut(segments, max(1, c.weight_words // 2), c.segments)
            for walk in single_blocks(self.op, self.placed, c):
                found += [
                    self._tile(walk, first, 1, part, keep=i > 0, drain=i == len(parts) - 1)
                    for i, part in enumerate(parts)
                ]
        return found

    def _blocks(self) -> int:
        """Output-channel blocks."""
        return -(-self.placed.network.values[self.op.result].shape[0] // self.config.oc_lanes)

    def _groups(self, steps: int) -> list[tuple[int, int]]:
        """Output-channel blocks (first, count) of every tile."""
        c = self.config
        if c.groups_per_block > c.param_groups:
            raise CompileError(
                f"{self.op.where}: an output-channel block has {c.groups_per_block} parameter "
                f"groups, but {c.name} holds {c.param_groups}: use larger param_groups"
            )
        count = max(
            1,
            min(
                c.weight_words // CHUNKS // steps, max(1, c.param_groups // 2) // c.groups_per_block
            ),
        )
        blocks = self._blocks()
        whole = blocks
        if any(o.depthwise for o in self.op.operands) and self.result.slots % c.slots_per_block:
            whole -= 1
        groups = [(i, min(count, whole - i)) for i in range(0, whole, count)]
        return groups + [(i, 1) for i in range(whole, blocks)]

    def _within(self, segments: list[Segment], first: int) -> list[Segment]:
        """``segments`` without channel slots past the last one (depthwise operands)."""
        c = self.config
        left = self.result.slots - first * c.slots_per_block
        return [
            Segment(**{**vars(s), "slots": min(s.slots, left)})
            if self.op.operands[s.operand].depthwise
            else s
            for s in segments
        ]

    def _tile(
        self,
        walk: Walk,
        first: int,
        count: int,
        segments: list[Segment],
        *,
        keep: bool = False,
        drain: bool = True,
    ) -> Tile:
        c, node = self.config, self.op.node
        assert isinstance(node, Conv)
        slot = first * c.slots_per_block
        out = self._out(walk, slot, self.result.slots - slot, self.result.planes)
        execute = Instr(
            Opcode.EXEC,
            mode=Mode.MAC,
            keep=keep,
            drain=drain,
            n_seg=len(segments),
            n_ocb=count,
            n_rows=walk.rows,
            run=walk.run,
            wrap=walk.wrap,
        )
        channels = slice(first * c.oc_lanes, (first + count) * c.oc_lanes)
        pad = (0, max(0, channels.stop - len(node.bias)))
        params = (np.pad(a[channels], pad) for a in (node.bias, node.mantissa, node.shift))
        tables = images.pack_table(c.act_grid(self.result.planes).encode(node.table))
        none = np.zeros(0, np.uint8)
        return Tile(
            self.index,
            tuple(segments),
            tuple(self._segment(i, s, walk, first) for i, s in enumerate(segments)),
            out if drain else None,
            execute,
            self.words.image(segments, first, count),
            images.pack_params(*params) if drain else none,
            tables if drain else none,
            channels.start,
            walk.y * walk.width + walk.x,
        )

    def _maximum(self) -> list[Tile]:
        """A running maximum, or a copy: all digits of a value as if they were channel slots."""
        c = self.config
        walk = walk_of(self.op, self.placed, c)
        slots = self.result.slots * self.result.planes
        if len(self.whole) > c.segments:
            raise CompileError(
                f"{self.op.where}: {len(self.whole)} column phases need as many segments, but "
                f"{c.name} has {c.segments}: use a smaller stride"
            )
        execute = Instr(
            Opcode.EXEC,
            mode=Mode.MAX,
            drain=1,
            n_seg=len(self.whole),
            n_ocb=slots,
            n_rows=walk.rows,
            run=walk.run,
            wrap=walk.wrap,
        )
        segments = tuple(self._segment(i, s, walk, 0) for i, s in enumerate(self.whole))
        identity = np.arange(TABLE_ENTRIES) % (1 << c.act_format.bits)
        none = np.zeros(0, np.uint8)
        out = self._out(walk, 0, slots, 1)
        return [
            Tile(
                self.index,
                tuple(self.whole),
                segments,
                out,
                execute,
                none,
                none,
                images.pack_table(identity),
                0,
                0,
            )
        ]

    def _out(self, walk: Walk, slot: int, n_slots: int, planes: int) -> Instr:
        return Instr(
            Opcode.OUT,
            base=self.base + self.result.at(0, slot, walk.y, walk.x),
            d_slot=self.result.slot_step,
            n_slots=n_slots,
            n_planes=planes,
            d_plane=self.result.plane_step,
            **walk.out_fields(self.result),
        )

    def _segment(self, index: int, s: Segment, walk: Walk, first: int) -> Instr:
        operand, pixels = self.op.operands[s.operand], self.config.pixels
        layout = self.placed.layouts[operand.value]
        mac = self.op.kind == "conv"
        follows = (self.config.slots_per_block if operand.depthwise else 0) if mac else 1
        y = walk.y * operand.stride[0] + s.row - operand.padding[0]
        x = walk.x * operand.stride[1] + s.column - operand.padding[1]
        inner = (s.slots - 1) * layout.slot_step
        jump = operand.stride[0] * layout.pitch
        return Instr(
            Opcode.SEG,
            index=index,
            shift=s.shift,
            base=self.placed.bases[operand.value]
            + layout.at(s.plane, s.slot + first * follows, y, x),
            n_ic=s.slots,
            n_kx=s.columns,
            n_ky=s.rows,
            d_ic=layout.slot_step,
            d_kx=1 - inner,
            d_ky=layout.pitch - (s.columns - 1) - inner,
            d_wrap=pixels + jump - walk.width if walk.lines and not walk.merged else pixels,
            d_row=jump - (-(-walk.run // pixels) - 1) * pixels,
            d_ocb=follows * layout.slot_step - walk.last_block(jump, pixels),
        )
