"""The drain's order: the results that are post-processed in each cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.compute.drain_slots import group_layout
from sigbit_hw.gateware.parts.pipeline import at_most

_OUT = {f.name: f.width for f in isa.LAYOUTS[isa.Opcode.OUT]}
_EXEC = {f.name: f.width for f in isa.LAYOUTS[isa.Opcode.EXEC]}


def drain_layout(config: ArchConfig) -> data.StructLayout:
    """Fields of an ``EXEC`` and its ``OUT`` that the drain needs; slots modulo the memory's
    size."""
    slots = {"base", "d_slot", "d_pix", "d_col", "d_line", "d_row", "d_plane"}
    sizes = {"param": ceil_log2(config.param_groups), "table": ceil_log2(config.tables)}
    return data.StructLayout(
        {name: _EXEC[name] for name in ("mode", "n_ocb", "n_rows", "run", "wrap")}
        | {"group_step": config.drain_pixels.bit_length()}
        | {
            name: sizes.get(name, ceil_log2(config.act_slots) if name in slots else width)
            for name, width in _OUT.items()
        }
    )


_PLACE = data.StructLayout(
    {"left": _EXEC["run"], "final": 1, "room": _EXEC["wrap"], "ends": 1, "near": 1, "fresh": 1}
)
"""Start of a group of pixels: ``left`` pixels of the run from there on, ``final`` if all of them
are in the group; ``room`` pixels of the line after the first, ``ends`` if all of them are in the
group, ``near`` if they end in the next group; ``fresh`` if a line began after the previous
group."""


_LOOPS = ("n_planes", "n_rows", "n_ocb")
"""Loops whose iterations are counted. ``n_planes_one``, ``n_planes_two`` and so on, beside the
fields of an EXEC in the drain, tell whether there are exactly that many iterations."""


class _Count:
    """A loop counter that counts down. ``last``, in the last iteration, and ``comes``, in the one
    before, are registers."""

    def __init__(self, m: Module, name: str, width: int) -> None:
        self._m, self._name = m, name
        self._left = Signal(width, name=f"{name}_left")
        self.last = Signal(name=f"{name}_last")
        self.comes = Signal(name=f"{name}_comes")

    def restart(self, changes: Value, job: data.View, other: data.View) -> None:
        """Reload from the iterations of ``job`` if ``changes``, else of ``other``."""
        one, two = f"{self._name}_one", f"{self._name}_two"
        self._m.d.sync += [
            self._left.eq(Mux(changes, job[self._name], other[self._name])),
            self.last.eq(Mux(changes, job[one], other[one])),
            self.comes.eq(Mux(changes, job[two], other[two])),
        ]

    def step(self) -> None:
        self._m.d.sync += [
            self._left.eq(self._left - 1),
            self.last.eq(self.comes),
            self.comes.eq(self._left == 3),
        ]


class _Ring:
    """A one-hot ring of ``size`` bits that advances with ``step``; ``comes`` if a step leads to the
    last bit."""

    def __init__(self, m: Module, name: str, size: int, step: Value) -> None:
        self.at = Signal(size, name=name, init=1)
        self.comes = self.at[-2] if size > 1 else Const(1)
        with m.If(step):
            m.d.sync += self.at.eq(self.at.rotate_left(1))


class DrainWalker(wiring.Component):
    """Nested loops of a drain: ocb, row, block, plane, group of pixels; one parameter group per
    cycle.

    Members
    -------
    ``i : In(stream(drain_layout))``
        The EXECs that drain, in order; each must have been accepted before its first ``start``.
    ``start : In(1)``
        The next cycle is the first of a block's drain. At least the block's drain time apart.
    ``active : Out(1)``, ``pool : Out(1)``, ``param : Out``, ``table : Out``
        In a cycle of the drain: flag that it drains a maximum, parameter group, activation table.
    ``entry : Out``, ``pool_entry : Out``
        One cycle later, one bit: of ``group of pixels * groups_per_block + parameter group of the
        block``; or, of a maximum, of the group of pixels.
    ``group : Out(group_layout)``
        One cycle later (:attr:`latency` after ``start``), the cycle's writes: none for pixels past
        the run and channel slots from ``n_slots`` on.
    """

    latency = 2

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        self._steps = config.pixels // config.drain_pixels
        super().__init__(
            {
                "i": In(stream.Signature(drain_layout(config))),
                "start": In(1),
                "active": Out(1),
                "pool": Out(1),
                "param": Out(ceil_log2(config.param_groups)),
                "table": Out(ceil_log2(config.tables)),
                "entry": Out(self._steps * config.groups_per_block),
                "pool_entry": Out(self._steps),
                "group": Out(group_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        pixels, count = config.drain_pixels, ceil_log2(config.drain_pixels)
        groups, drain_slots = config.groups_per_block, config.drain_slots

        # An EXEC, the one after it, and values derived from their fields: the columns after the
        # first of a line, and those added when the line of a group's first pixel ends; a step back;
        # flags that the run, or a line, fits one group, that a line does not fit two, and that
        # ``line`` has exactly one whole group of pixels; pixels between line ends in a group.
        wrap = self.i.p.wrap
        more = {
            "line": len(wrap),
            "refill": len(wrap),
            "back": signed(count + 2),
            "single": 1,
            "short": 1,
            "long": 1,
            "period": count,
            "near": 1,
            **{f"{loop}_{turns}": 1 for loop in _LOOPS for turns in ("one", "two")},
        }
        job, offered = (
            Signal(data.StructLayout({**drain_layout(config).members, **more}), name=name)
            for name in ("job", "offered")
        )
        held, offers, load = Signal(), Signal(), Signal()
        # Whole groups of pixels in the job's ``refill``: flags for exactly one, and none.
        one, none = Signal(), Signal()
        with m.If(~offers):
            m.d.sync += [
                offers.eq(self.i.valid),
                *(offered[name].eq(self.i.p[name]) for name in drain_layout(config).members),
                *(offered[f"{loop}_one"].eq(self.i.p[loop] == 1) for loop in _LOOPS),
                *(offered[f"{loop}_two"].eq(self.i.p[loop] == 2) for loop in _LOOPS),
                offered.line.eq(wrap - 1),
                offered.refill.eq(wrap - self.i.p.group_step),
                offered.near.eq(at_most(wrap, count + 1) & ~at_most(wrap, count)),
                offered.back.eq(-self.i.p.group_step),
                offered.single.eq(at_most(self.i.p.run, count)),
                offered.short.eq(at_most(wrap, count)),
                offered.long.eq(wrap[count + 1 :].any()),
                offered.period.eq(Mux(wrap[count:].any(), 0, wrap)),
            ]
        with m.Elif(load):
            m.d.sync += offers.eq(0)

        # Loops within a block. The flags for the last cycle of a group of pixels, and of a plane,
        # are in registers. When a block begins, the rings are back at their start.
        step_end, plane_end, block_end, row_end, ocb_end, job_end = (
            Signal(name=f"{loop}_end") for loop in ("step", "plane", "block", "row", "ocb", "job")
        )
        step_last = Signal()
        if groups == 1:
            entries = pools = _Ring(m, "entries", self._steps, self.active)
            m.d.comb += step_last.eq(1)
        else:
            entries = _Ring(m, "entries", self._steps * groups, self.active & ~job.mode)
            pools = _Ring(m, "pools", self._steps, self.active & job.mode)
            with m.If(self.active):
                m.d.sync += step_last.eq(job.mode | entries.at[groups - 2 :: groups].any())
            with m.If(load):
                m.d.sync += step_last.eq(offered.mode)
        if self._steps * groups == 1:
            m.d.comb += plane_end.eq(self.active)
        else:
            short_plane = Mux(load, offered.mode, job.mode) if self._steps == 1 else Const(0)
            m.d.sync += plane_end.eq(
                Mux(
                    self.active & ~block_end,
                    Mux(job.mode, pools.comes, entries.comes),
                    self.start & short_plane,
                )
            )
        planes, rows, ocbs = (_Count(m, loop, len(job[loop])) for loop in _LOOPS)
        # An EXEC is taken over when the previous one ends. While there is none, its placeholder
        # changes nothing. With the current row the EXEC ends, or there is none.
        row_begins, changes = Signal(), Signal(init=1)
        here, after, first = (Signal(_PLACE, name=name) for name in ("here", "after", "first"))
        m.d.comb += [
            step_end.eq(self.active & step_last),
            block_end.eq(plane_end & planes.last),
            row_end.eq(block_end & here.final),
            ocb_end.eq(row_end & rows.last),
            job_end.eq(row_end & changes),
            self.pool.eq(job.mode),
            row_begins.eq(~held | row_end),
            load.eq(row_begins & changes),
            self.i.ready.eq(~offers),
        ]
        with m.If(row_begins):
            m.d.sync += changes.eq(
                Mux(
                    changes,
                    ~offers | (offered.n_rows_one & offered.n_ocb_one),
                    Mux(rows.last, job.n_rows_one & ocbs.comes, rows.comes & ocbs.last),
                )
            )
        m.d.sync += [
            self.active.eq(self.start | (self.active & ~block_end)),
            self.entry.eq(Mux(self.active & ~job.mode, entries.at, 0)),
            self.pool_entry.eq(Mux(self.active & job.mode, pools.at, 0)),
        ]
        row_changes = changes & (here.final | ~held)
        for loop, end, new in (
            (planes, plane_end, row_changes),
            (rows, row_end, changes),
            (ocbs, ocb_end, Const(1)),
        ):
            with m.If(end | ~held):
                with m.If(loop.last | ~held):
                    loop.restart(new, offered, job)
                with m.Else():
                    loop.step()

        # Pixels of the run and of the line. Every plane starts again with the block's first group.
        # A line that is no longer than a group ends in every group; a longer one next ends when one
        # group is left or, if it begins in this group, if it ends in the next one.
        new_line = here.ends & (here.room[: count + 1] < job.group_step)
        carries = here.room[:count] + job.refill[:count] >= pixels
        m.d.comb += [
            after.left.eq(Mux(here.final, 0, here.left - pixels)),
            after.final.eq(at_most(here.left, count + 1)),
            after.room.eq(here.room + Mux(new_line, job.refill, job.back)),
            after.ends.eq(
                job.short
                | Mux(
                    here.ends,
                    ~job.long & (here.room[:count] + job.wrap[:count] < pixels),
                    here.near,
                )
            ),
            after.near.eq(
                Mux(here.ends, new_line & Mux(carries, none, one), here.room[count:] == 2)
            ),
            after.fresh.eq(here.ends),
            first.left.eq(Mux(changes, offered.run, job.run)),
            first.final.eq(Mux(changes, offered.single, job.single)),
            first.room.eq(Mux(changes, offered.line, job.line)),
            first.ends.eq(Mux(changes, offered.short, job.short)),
            first.near.eq(Mux(changes, offered.near, job.near)),
            first.fresh.eq(1),
        ]
        turns_back = plane_end & ~planes.last
        if self._steps == 1:
            block = here
        else:
            block = Signal(_PLACE, name="block")
            with m.If(Mux(job.mode, pools.at[0], entries.at[:groups].any())):
                m.d.sync += block.eq(here)
        with m.If(row_begins | step_end):  # the value that is computed last is selected last
            m.d.sync += here.eq(Mux(row_begins, first, Mux(turns_back, block, after)))

        # Channels: distance from channel slot 0, channel slots left, parameter group; and the same
        # for the output-channel block's first group.
        channels = data.StructLayout(
            {"offset": len(job.d_slot), "left": len(job.n_slots), "param": len(job.param)}
        )
        channel, channel_after, channel_first, channel_offered = (
            Signal(channels, name=f"channel{kind}") for kind in ("", "_after", "_first", "_offered")
        )
        slots = Mux(job.mode, 1, drain_slots)
        m.d.comb += [
            channel_after.offset.eq(
                channel.offset + Mux(job.mode, job.d_slot, job.d_slot << ceil_log2(drain_slots))
            ),
            channel_after.left.eq(Mux(channel.left <= slots, 0, channel.left - slots)),
            channel_after.param.eq(channel.param + 1),
            self.param.eq(channel.param),
        ]
        m.d.comb += [
            channel_offered.left.eq(offered.n_slots),
            channel_offered.param.eq(offered.param),
        ]
        with m.If(self.active | ~held):
            m.d.sync += channel.eq(
                Mux(load, channel_offered, Mux(ocb_end | ~step_end, channel_after, channel_first))
            )
        with m.If(ocb_end | ~held):
            m.d.sync += channel_first.eq(Mux(ocbs.last | ~held, channel_offered, channel_after))

        # Planes.
        plane_offset = Signal(len(job.d_plane))
        with m.If(plane_end):
            m.d.sync += plane_offset.eq(Mux(planes.last, 0, plane_offset + job.d_plane))
        with m.If(plane_end | ~held):
            m.d.sync += self.table.eq(
                Mux(planes.last | ~held, Mux(row_changes, offered.table, job.table), self.table + 1)
            )

        # The next EXEC, if there is one.
        with m.If(load):
            m.d.sync += [
                held.eq(offers),
                job.eq(offered),
                one.eq(offered.refill[count:] == 1),
                none.eq(offered.refill[count:] == 0),
            ]

        out = self.group
        m.d.sync += [
            out.inside.eq(
                Cat(
                    self.active & (~here.final | (here.left[: count + 1] > d))
                    for d in range(pixels)
                )
            ),
            out.inside[pixels].eq(~here.final),
            out.ends.eq(here.ends),
            out.first_end.eq(here.room),
            out.period.eq(job.period),
            out.fresh.eq(here.fresh),
            out.column.eq(job.line - here.room),
            out.leaves.eq(step_end),
            out.channels.eq(
                Cat((channel.left > j) & (~job.mode if j else 1) for j in range(drain_slots))
            ),
            out.offset.eq(channel.offset + plane_offset),
            *(
                out[name].eq(job[name])
                for name in ("phases", "d_pix", "d_col", "d_line", "d_row", "d_slot")
            ),
            out.base.eq(Mux(changes, offered.base, job.base)),
            out.again.eq(turns_back),
            out.block_end.eq(block_end),
            out.restart.eq(~held | ocb_end),
            out.end.eq(job_end),
        ]
        return m
