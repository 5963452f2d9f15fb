"""The drain's order: which results are post-processed in a cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.drain_slots import group_layout
from sigbit_hw.pipeline import at_most

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
    {"left": _EXEC["run"], "final": 1, "room": _EXEC["wrap"], "ends": 1, "near": 1, "fresh": 1})
"""Where a group of pixels begins: ``left`` pixels of the run from there on, ``final`` if all of
these are in the group; ``room`` pixels of the line after the first, ``ends`` if all of these are in
the group, ``near`` if they end as far behind it; ``fresh`` if a line began after the group
before."""


class _Count:
    """A loop counted down, whose ``last``, in the last turn, is a register."""

    def __init__(self, m: Module, name: str, width: int) -> None:
        self._m = m
        self._left = Signal(width, name=f"{name}_left")
        self.last = Signal(name=f"{name}_last")

    def restart(self, changes: Value, turns: Value, others: Value) -> None:
        """From ``turns`` if ``changes``, else from ``others``."""
        self._m.d.sync += [
            self._left.eq(Mux(changes, turns, others)),
            self.last.eq(Mux(changes, turns == 1, others == 1)),
        ]

    def step(self) -> None:
        self._m.d.sync += [self._left.eq(self._left - 1), self.last.eq(self._left == 2)]


class _Ring:
    """One bit of ``size``, which moves on with ``step``."""

    def __init__(self, m: Module, name: str, size: int, step: Value) -> None:
        self.at = Signal(size, name=name, init=1)
        with m.If(step):
            m.d.sync += self.at.eq(self.at.rotate_left(1))


class DrainWalker(wiring.Component):
    """The loops of a drain: ocb, row, block, plane, group of pixels, and one parameter group a
    cycle.

    Members
    -------
    ``i : In(stream(drain_layout))``
        The EXECs that drain, in order; each must have been accepted before its first ``start``.
    ``start : In(1)``
        The next cycle is the first of a block's drain. At least the block's drain time apart.
    ``active : Out(1)``, ``pool : Out(1)``, ``param : Out``, ``table : Out``
        In a cycle of the drain: whether it drains a maximum, parameter group, activation table.
    ``entry : Out``, ``pool_entry : Out``
        One cycle later, one bit: of ``group of pixels * groups_per_block + parameter group of the
        block``; or, of a maximum, of the group of pixels.
    ``group : Out(group_layout)``
        One cycle later (:attr:`latency` after ``start``), what the cycle writes: nothing for pixels
        past the run and channel slots from ``n_slots`` on.
    """

    latency = 2

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        self._steps = config.pixels // config.drain_pixels
        super().__init__({
            "i": In(stream.Signature(drain_layout(config))),
            "start": In(1),
            "active": Out(1),
            "pool": Out(1),
            "param": Out(ceil_log2(config.param_groups)),
            "table": Out(ceil_log2(config.tables)),
            "entry": Out(self._steps * config.groups_per_block),
            "pool_entry": Out(self._steps),
            "group": Out(group_layout(config)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        pixels, count = config.drain_pixels, ceil_log2(config.drain_pixels)
        groups, drain_slots = config.groups_per_block, config.drain_slots

        # An EXEC, the one after it, and what follows from their fields: the columns after a line's
        # first, and after a group's first pixel's line ends; a step back; whether the run, or a
        # line, fits one group; whether a line fits no two; pixels between line ends in a group;
        # whether ``line`` has one whole group of pixels.
        wrap = self.i.p.wrap
        more = {"line": len(wrap), "refill": len(wrap), "back": signed(count + 2), "single": 1,
                "short": 1, "long": 1, "period": count, "near": 1}
        job, offered = (Signal(data.StructLayout({**drain_layout(config).members, **more}),
                               name=name) for name in ("job", "offered"))
        held, offers, load = Signal(), Signal(), Signal()
        # Whole groups of pixels in the job's ``refill``: whether there is one, or none.
        one, none = Signal(), Signal()
        with m.If(~offers):
            m.d.sync += [
                offers.eq(self.i.valid),
                *(offered[name].eq(self.i.p[name]) for name in drain_layout(config).members),
                offered.line.eq(wrap - 1),
                offered.refill.eq(wrap - self.i.p.group_step),
                offered.near.eq(at_most(wrap, count + 1) & ~at_most(wrap, count)),
                offered.back.eq(-self.i.p.group_step),
                offered.single.eq(at_most(self.i.p.run, count)),
                offered.short.eq(at_most(wrap, count)),
                offered.long.eq(wrap[count + 1:].any()),
                offered.period.eq(Mux(wrap[count:].any(), 0, wrap)),
            ]

        # Loops within a block.
        if groups == 1:
            entries = pools = _Ring(m, "entries", self._steps, self.active)
            group_last: Value = Const(1)
        else:
            entries = _Ring(m, "entries", self._steps * groups, self.active & ~job.mode)
            pools = _Ring(m, "pools", self._steps, self.active & job.mode)
            group_last = job.mode | entries.at[groups - 1::groups].any()
        planes, rows, ocbs = (_Count(m, name[2:], len(job[name]))
                              for name in ("n_planes", "n_rows", "n_ocb"))
        step_end, plane_end, block_end, row_end, ocb_end, job_end = (
            Signal(name=f"{loop}_end") for loop in ("step", "plane", "block", "row", "ocb", "job"))
        # An EXEC starts in an idle drain; after a row, or before it starts, the EXEC changes.
        starts, changes = Signal(), Signal()
        here, after, block, first = (
            Signal(_PLACE, name=name) for name in ("here", "after", "block", "first"))
        m.d.comb += [
            step_end.eq(self.active & group_last),
            plane_end.eq(self.active & Mux(job.mode, pools.at[-1], entries.at[-1])),
            block_end.eq(plane_end & planes.last),
            row_end.eq(block_end & here.final),
            ocb_end.eq(row_end & rows.last),
            job_end.eq(ocb_end & ocbs.last),
            self.pool.eq(job.mode),
            load.eq(offers & (~held | job_end)),
            self.i.ready.eq(~offers),
            starts.eq(offers & ~held),
            changes.eq(~held | (rows.last & ocbs.last)),
        ]
        m.d.sync += [
            self.active.eq(self.start | (self.active & ~block_end)),
            self.entry.eq(Mux(self.active & ~job.mode, entries.at, 0)),
            self.pool_entry.eq(Mux(self.active & job.mode, pools.at, 0)),
        ]
        for loop, name, end, restart, new in (
                (planes, "n_planes", plane_end, block_end | starts,
                 changes & (here.final | ~held)),
                (rows, "n_rows", row_end, ocb_end | starts, changes),
                (ocbs, "n_ocb", ocb_end, load, Const(1))):
            with m.If(end):
                loop.step()
            with m.If(restart):
                loop.restart(new, offered[name], job[name])

        # Pixels of the run and of the line. Every plane begins again with the block's first group.
        # A line that is no longer than a group ends in all of them; another one next ends when one
        # group is left, or, if it begins in this group, if it ends in the next one.
        new_line = here.ends & (here.room[:count + 1] < job.group_step)
        carries = here.room[:count] + job.refill[:count] >= pixels
        m.d.comb += [
            after.left.eq(Mux(here.final, 0, here.left - pixels)),
            after.final.eq(at_most(here.left, count + 1)),
            after.room.eq(here.room + Mux(new_line, job.refill, job.back)),
            after.ends.eq(job.short | Mux(
                here.ends, ~job.long & (here.room[:count] + job.wrap[:count] < pixels),
                here.near)),
            after.near.eq(Mux(here.ends, new_line & Mux(carries, none, one),
                              here.room[count:] == 2)),
            after.fresh.eq(here.ends),
            first.left.eq(Mux(changes, offered.run, job.run)),
            first.final.eq(Mux(changes, offered.single, job.single)),
            first.room.eq(Mux(changes, offered.line, job.line)),
            first.ends.eq(Mux(changes, offered.short, job.short)),
            first.near.eq(Mux(changes, offered.near, job.near)),
            first.fresh.eq(1),
        ]
        row_begins, turns_back = starts | row_end, plane_end & ~block_end
        with m.If(row_begins | step_end):  # what is worked out last is chosen last
            m.d.sync += here.eq(Mux(row_begins | turns_back, Mux(row_begins, first, block), after))
        with m.If(row_begins | block_end):
            m.d.sync += block.eq(Mux(row_begins, first, after))

        # Channels: distance from channel slot 0, channel slots left, parameter group; and the same
        # of the output-channel block's first group.
        channels = data.StructLayout({
            "offset": len(job.d_slot), "left": len(job.n_slots), "param": len(job.param)})
        channel, channel_after, channel_first, channel_offered = (
            Signal(channels, name=f"channel{kind}")
            for kind in ("", "_after", "_first", "_offered"))
        slots = Mux(job.mode, 1, drain_slots)
        m.d.comb += [
            channel_after.offset.eq(
                channel.offset + Mux(job.mode, job.d_slot, job.d_slot << ceil_log2(drain_slots))),
            channel_after.left.eq(Mux(channel.left <= slots, 0, channel.left - slots)),
            channel_after.param.eq(channel.param + 1),
            self.param.eq(channel.param),
        ]
        m.d.comb += [
            channel_offered.left.eq(offered.n_slots),
            channel_offered.param.eq(offered.param),
        ]
        with m.If(self.active | load):
            m.d.sync += channel.eq(Mux(load | (step_end & ~ocb_end), Mux(
                load, channel_offered, channel_first), channel_after))
        with m.If(ocb_end | load):
            m.d.sync += channel_first.eq(Mux(load, channel_offered, channel_after))

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
                held.eq(1), offers.eq(0), job.eq(offered), self.table.eq(offered.table),
                one.eq(offered.refill[count:] == 1), none.eq(offered.refill[count:] == 0),
            ]

        out = self.group
        m.d.sync += [
            out.inside.eq(Cat(
                self.active & (~here.final | (here.left[:count + 1] > d)) for d in range(pixels))),
            out.inside[pixels].eq(~here.final),
            out.ends.eq(here.ends),
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
            out.base.eq(Mux(changes, offered.base, job.base)),
            out.again.eq(plane_end & ~block_end),
            out.block_end.eq(block_end),
            out.restart.eq(starts | ocb_end),
            out.end.eq(job_end),
        ]
        return m
