"""The drain's order: which results are post-processed in a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.drain_slots import group_layout

_OUT = {f.name: f.width for f in isa.LAYOUTS[isa.Opcode.OUT]}
_EXEC = {f.name: f.width for f in isa.LAYOUTS[isa.Opcode.EXEC]}


def drain_layout(config: ArchConfig) -> data.StructLayout:
    """What the drain needs of an ``EXEC`` and its ``OUT``; slots modulo the memory's size."""
    slots = {"base", "d_slot", "d_pix", "d_col", "d_line", "d_row", "d_plane"}
    sizes = {"param": ceil_log2(config.param_groups), "table": ceil_log2(config.tables)}
    return data.StructLayout(
        {name: _EXEC[name] for name in ("mode", "n_ocb", "n_rows", "run", "wrap")}
        | {"group_step": config.drain_pixels.bit_length()}
        | {name: sizes.get(name, ceil_log2(config.act_slots) if name in slots else width)
           for name, width in _OUT.items()})


_PLACE = data.StructLayout(
    {"left": _EXEC["run"], "final": 1, "room": _EXEC["wrap"], "fresh": 1})
"""Where a group of pixels begins: ``left`` pixels of the run from there on, ``final`` if all of
these are in the group; ``room`` pixels of the line after the first; ``fresh`` if a line began after
the group before."""


class DrainWalker(wiring.Component):
    """The loops of a drain: ocb, row, block, plane, group of pixels, and one parameter group a
    cycle.

    Members
    -------
    ``i : In(stream(drain_layout))``
        The EXECs that drain, in order; each must have been accepted before its first ``start``.
    ``start : In(1)``
        The next cycle is the first of a block's drain. At least the block's drain time apart.
    ``active : Out(1)``, ``entry : Out``, ``pool : Out(1)``, ``param : Out``, ``table : Out``
        In a cycle of the drain: ``group of pixels * groups_per_block + parameter group of the
        block`` (for ``pool`` there is one), parameter group, activation table.
    ``group : Out(group_layout)``
        What the cycle writes: nothing for pixels past the run and channel slots from ``n_slots``
        on.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(drain_layout(config))),
            "start": In(1),
            "active": Out(1),
            "entry": Out(ceil_log2(config.pixels // config.drain_pixels
                                   * config.groups_per_block)),
            "pool": Out(1),
            "param": Out(ceil_log2(config.param_groups)),
            "table": Out(ceil_log2(config.tables)),
            "group": Out(group_layout(config)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        pixels, count = config.drain_pixels, ceil_log2(config.drain_pixels)
        groups, drain_slots = config.groups_per_block, config.drain_slots
        held = Signal()
        load = self.i.valid & self.i.ready

        # An EXEC, and constants that follow from it: the columns after a line's first; the columns
        # after a group's first pixel's line ends; pixels between line ends within a group.
        more = {"line": _EXEC["wrap"], "refill": _EXEC["wrap"], "period": count}
        job, offered = (Signal(data.StructLayout({**drain_layout(config).members, **more}),
                               name=name) for name in ("job", "offered"))
        m.d.comb += [
            *(offered[name].eq(self.i.p[name]) for name in drain_layout(config).members),
            offered.line.eq(self.i.p.wrap - 1),
            offered.refill.eq(self.i.p.wrap - self.i.p.group_step),
            offered.period.eq(Mux(self.i.p.wrap[count:].any(), 0, self.i.p.wrap)),
        ]

        # Loops within a block.
        group, step = Signal(range(groups)), Signal(range(config.pixels // pixels))
        plane = Signal(job.n_planes.shape(), init=1)
        step_end, plane_end, block_end = (
            Signal(name=f"{loop}_end") for loop in ("step", "plane", "block"))
        m.d.comb += [
            step_end.eq(self.active & (job.mode | (group == groups - 1))),
            plane_end.eq(step_end & (step == config.pixels // pixels - 1)),
            block_end.eq(plane_end & (plane == job.n_planes)),
            self.pool.eq(job.mode),
            self.entry.eq(Mux(job.mode, step, Cat(group, step) if groups > 1 else step)),
        ]
        m.d.sync += self.active.eq(self.start | (self.active & ~block_end))
        with m.If(self.active):
            m.d.sync += group.eq(group + 1)
        with m.If(step_end):
            m.d.sync += [group.eq(0), step.eq(step + 1)]
        with m.If(plane_end):
            m.d.sync += plane.eq(plane + 1)
        with m.If(block_end):
            m.d.sync += plane.eq(1)

        # Pixels of the run and of the line. Every plane begins again with the block's first group.
        here, after, block, first = (
            Signal(_PLACE, name=name) for name in ("here", "after", "block", "first"))
        ends, row_end = Signal(), Signal()
        new_line = ends & (here.room[:count + 1] < job.group_step)
        m.d.comb += [
            ends.eq(~here.room[count:].any()),
            row_end.eq(block_end & here.final),
            after.left.eq(Mux(here.final, 0, here.left - pixels)),
            after.final.eq(here.left <= 2 * pixels),
            after.room.eq(here.room + Mux(new_line, job.refill, -job.group_step)),
            after.fresh.eq(ends),
            first.left.eq(Mux(load, offered.run, job.run)),
            first.final.eq(first.left <= pixels),
            first.room.eq(Mux(load, offered.line, job.line)),
            first.fresh.eq(1),
        ]
        with m.If(step_end):
            m.d.sync += here.eq(after)
        with m.If(plane_end & ~block_end):
            m.d.sync += here.eq(block)
        with m.If(block_end):
            m.d.sync += block.eq(after)
        with m.If(load | row_end):
            m.d.sync += [here.eq(first), block.eq(first)]

        # Loops over blocks.
        row, ocb = Signal(job.n_rows.shape()), Signal(job.n_ocb.shape())
        ocb_end, job_end = Signal(), Signal()
        m.d.comb += [
            ocb_end.eq(row_end & (row == job.n_rows)),
            job_end.eq(ocb_end & (ocb == job.n_ocb)),
            self.i.ready.eq(~held | job_end),
        ]
        with m.If(row_end):
            m.d.sync += row.eq(row + 1)
        with m.If(ocb_end):
            m.d.sync += [row.eq(1), ocb.eq(ocb + 1)]

        # Channels: distance from channel slot 0, channel slots left, parameter group; and the same
        # of the output-channel block's first group.
        channels = data.StructLayout({
            "offset": len(job.d_slot), "left": len(job.n_slots), "param": len(job.param)})
        channel, channel_after, channel_first = (
            Signal(channels, name=name) for name in ("channel", "channel_after", "channel_first"))
        slots = Mux(job.mode, 1, drain_slots)
        m.d.comb += [
            channel_after.offset.eq(
                channel.offset + Mux(job.mode, job.d_slot, job.d_slot << ceil_log2(drain_slots))),
            channel_after.left.eq(Mux(channel.left <= slots, 0, channel.left - slots)),
            channel_after.param.eq(channel.param + 1),
            self.param.eq(channel.param),
        ]
        with m.If(self.active):
            m.d.sync += channel.eq(channel_after)
        with m.If(step_end):
            m.d.sync += channel.eq(channel_first)
        with m.If(ocb_end):
            m.d.sync += [channel.eq(channel_after), channel_first.eq(channel_after)]

        # Planes.
        plane_offset = Signal(len(job.d_plane))
        with m.If(plane_end):
            m.d.sync += [
                plane_offset.eq(Mux(block_end, 0, plane_offset + job.d_plane)),
                self.table.eq(Mux(block_end, job.table, self.table + 1)),
            ]

        # The next EXEC, if there is one.
        with m.If(job_end):
            m.d.sync += held.eq(0)
        with m.If(load):
            m.d.sync += [
                held.eq(1), job.eq(offered), row.eq(1), ocb.eq(1), self.table.eq(offered.table),
            ]
            for there in (channel, channel_first):
                m.d.sync += [
                    there.offset.eq(0),
                    there.left.eq(offered.n_slots),
                    there.param.eq(offered.param),
                ]

        out = self.group
        m.d.comb += [
            out.inside.eq(Cat(
                self.active & (~here.final | (here.left[:count + 1] > d)) for d in range(pixels))),
            out.inside[pixels].eq(~here.final),
            out.ends.eq(ends),
            out.first_end.eq(here.room),
            out.period.eq(job.period),
            out.fresh.eq(here.fresh),
            out.column.eq(job.line - here.room),
            out.leaves.eq(step_end),
            out.channels.eq(Cat((channel.left > j) & (~job.mode if j else 1)
                                for j in range(drain_slots))),
            out.offset.eq(channel.offset + plane_offset),
            *(out[name].eq(job[name])
              for name in ("phases", "d_pix", "d_col", "d_line", "d_row", "d_slot")),
            out.base.eq(Mux(load, offered.base, job.base)),
            out.again.eq(plane_end & ~block_end),
            out.block_end.eq(block_end),
            out.restart.eq(load | ocb_end),
            out.end.eq(job_end),
        ]
        return m
