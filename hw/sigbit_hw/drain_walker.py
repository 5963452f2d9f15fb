"""The drain's order: what is post-processed in a cycle, and which slots that writes."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.pipeline import delay

_OUT = {f.name: f.width for f in isa.LAYOUTS[isa.Opcode.OUT]}
_EXEC = {f.name: f.width for f in isa.LAYOUTS[isa.Opcode.EXEC]}


def drain_layout(config: ArchConfig) -> data.StructLayout:
    """What the drain needs of an ``EXEC`` and its ``OUT``; slots modulo the memory's size."""
    slots = {"base", "d_slot", "d_pix", "d_col", "d_line", "d_row", "d_plane"}
    sizes = {"param": ceil_log2(config.param_groups), "table": ceil_log2(config.tables)}
    return data.StructLayout(
        {name: _EXEC[name] for name in ("mode", "n_ocb", "n_rows", "run", "wrap")}
        | {name: sizes.get(name, ceil_log2(config.act_slots) if name in slots else width)
           for name, width in _OUT.items()})


def move_layout(config: ArchConfig) -> data.StructLayout:
    """One cycle of the drain, for the addresses: ``write`` the channel slots of a mask at the
    pixel's slot plus ``offset`` and multiples of ``d_slot``. Then the pixel's slot moves on by
    ``advance``; or, if ``again``, back to the block's first; or, if ``restart``, to ``base``. After
    a ``block_end`` the next block begins there. ``end``: the last cycle of an EXEC."""
    slot = ceil_log2(config.act_slots)
    return data.StructLayout({
        "write": config.drain_slots, "offset": slot, "d_slot": slot, "advance": slot, "base": slot,
        "again": 1, "block_end": 1, "restart": 1, "end": 1})


class OutputSlots(wiring.Component):
    """Output addresses as running sums.

    Members
    -------
    ``move : In(move_layout)``
        All zero in a cycle without drain.
    ``write : Out(drain_slots)``, ``slots : Out(slot).array(drain_slots)``, ``end : Out(1)``
        The slots that the ``move`` of :attr:`latency` cycles ago writes.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__({
            "move": In(move_layout(config)),
            "write": Out(config.drain_slots),
            "slots": Out(ceil_log2(config.act_slots)).array(config.drain_slots),
            "end": Out(1),
        })

    @property
    def latency(self) -> int:
        """The pixel's slot, then the channel slots by halves."""
        return 1 + ceil_log2(self.config.drain_slots)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        move = self.move
        pixel, block, after = (Signal(move.base.shape(), name=name)
                               for name in ("pixel", "block", "after"))
        m.d.comb += after.eq(pixel + move.advance)
        m.d.sync += pixel.eq(Mux(move.restart, move.base, Mux(move.again, block, after)))
        with m.If(move.block_end | move.restart):
            m.d.sync += block.eq(Mux(move.restart, move.base, after))

        first = Signal(pixel.shape(), reset_less=True)
        m.d.sync += first.eq(pixel + move.offset)
        slots, d_slot = [first], delay(m, move.d_slot, 1, "d_slot")
        for level in reversed(range(ceil_log2(self.config.drain_slots))):
            step, nodes = d_slot << level, []
            for k, slot in enumerate(slots):
                near, far = (Signal(pixel.shape(), name=f"slot_{level}_{2 * k + i}",
                                    reset_less=True) for i in range(2))
                m.d.sync += [near.eq(slot), far.eq(slot + step)]
                nodes += [near, far]
            slots, d_slot = nodes, delay(m, d_slot, 1, f"d_slot_{level}")
        m.d.comb += [
            *(out.eq(slot) for out, slot in zip(self.slots, slots, strict=True)),
            self.write.eq(delay(m, move.write, self.latency, "write", reset=True)),
            self.end.eq(delay(m, move.end, self.latency, "end", reset=True)),
        ]
        return m


class DrainWalker(wiring.Component):
    """The loops of a drain: ocb, row, block, plane, pixel, and one parameter group a cycle.

    Members
    -------
    ``i : In(stream(drain_layout))``
        The EXECs that drain, in order; each must have been accepted before its first ``start``.
    ``start : In(1)``
        The next cycle is the first of a block's drain. At least the block's drain time apart.
    ``active : Out(1)``, ``entry : Out``, ``pool : Out(1)``, ``param : Out``, ``table : Out``
        In a cycle of the drain: ``pixel * groups_per_block + group`` (for ``pool`` there is one
        group), parameter group, activation table.
    ``move : Out(move_layout)``
        What the cycle before writes: nothing for pixels past the run and channel slots from
        ``n_slots`` on.
    """

    latency = 1

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(drain_layout(config))),
            "start": In(1),
            "active": Out(1),
            "entry": Out(ceil_log2(config.pixels * config.groups_per_block)),
            "pool": Out(1),
            "param": Out(ceil_log2(config.param_groups)),
            "table": Out(ceil_log2(config.tables)),
            "move": Out(move_layout(config)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        groups, drain_slots = config.groups_per_block, config.drain_slots
        job, held = Signal(drain_layout(config)), Signal()
        load = self.i.valid & self.i.ready

        # Loops within a block.
        group, pixel = Signal(range(groups)), Signal(range(config.pixels))
        plane = Signal(job.n_planes.shape(), init=1)
        pixel_end, plane_end, block_end = (
            Signal(name=f"{loop}_end") for loop in ("pixel", "plane", "block"))
        m.d.comb += [
            pixel_end.eq(self.active & (job.mode | (group == groups - 1))),
            plane_end.eq(pixel_end & (pixel == config.pixels - 1)),
            block_end.eq(plane_end & (plane == job.n_planes)),
            self.pool.eq(job.mode),
            self.entry.eq(Mux(job.mode, pixel, Cat(group, pixel) if groups > 1 else pixel)),
        ]
        m.d.sync += self.active.eq(self.start | (self.active & ~block_end))
        with m.If(self.active):
            m.d.sync += group.eq(group + 1)
        with m.If(pixel_end):
            m.d.sync += [group.eq(0), pixel.eq(pixel + 1)]
        with m.If(plane_end):
            m.d.sync += plane.eq(plane + 1)
        with m.If(block_end):
            m.d.sync += plane.eq(1)

        # Pixels left of the run and of the line, this one included, and its column phase, from 1.
        # Every plane begins again with the block's first pixel.
        place = data.StructLayout({
            "left": job.run.shape(), "room": job.wrap.shape(), "phase": job.phases.shape()})
        here, after, block = (Signal(place, name=name) for name in ("here", "after", "block"))
        inside, line_end, phase_end, row_end = (
            Signal(name=name) for name in ("inside", "line_end", "phase_end", "row_end"))
        m.d.comb += [
            inside.eq(here.left != 0),
            line_end.eq(here.room == 1),
            phase_end.eq(here.phase == job.phases),
            after.eq(here),
            row_end.eq(block_end & ~here.left[1:].any()),
        ]
        with m.If(inside):
            m.d.comb += [
                after.left.eq(here.left - 1),
                after.room.eq(Mux(line_end, job.wrap, here.room - 1)),
                after.phase.eq(Mux(line_end | phase_end, 1, here.phase + 1)),
            ]
        first = Signal(place)
        m.d.comb += [
            first.left.eq(Mux(load, self.i.p.run, job.run)),
            first.room.eq(Mux(load, self.i.p.wrap, job.wrap)),
            first.phase.eq(1),
        ]
        with m.If(pixel_end):
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
        step = Mux(job.mode, 1, drain_slots)
        m.d.comb += [
            channel_after.offset.eq(
                channel.offset + Mux(job.mode, job.d_slot, job.d_slot << ceil_log2(drain_slots))),
            channel_after.left.eq(Mux(channel.left <= step, 0, channel.left - step)),
            channel_after.param.eq(channel.param + 1),
            self.param.eq(channel.param),
        ]
        with m.If(self.active):
            m.d.sync += channel.eq(channel_after)
        with m.If(pixel_end):
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
                held.eq(1), job.eq(self.i.p), row.eq(1), ocb.eq(1),
                self.table.eq(self.i.p.table),
            ]
            for there in (channel, channel_first):
                m.d.sync += [
                    there.offset.eq(0),
                    there.left.eq(self.i.p.n_slots),
                    there.param.eq(self.i.p.param),
                ]

        move = self.move
        m.d.sync += [
            move.write.eq(Cat(self.active & inside & (channel.left > j) & (~job.mode if j else 1)
                              for j in range(drain_slots))),
            move.offset.eq(channel.offset + plane_offset),
            move.d_slot.eq(job.d_slot),
            move.advance.eq(Mux(
                ~(pixel_end & inside), 0, Mux(here.left[1:].any(), Mux(
                    line_end, job.d_line, Mux(phase_end, job.d_col, job.d_pix)), job.d_row))),
            move.base.eq(Mux(load, self.i.p.base, job.base)),
            move.again.eq(plane_end & ~block_end),
            move.block_end.eq(block_end),
            move.restart.eq(load | ocb_end),
            move.end.eq(job_end),
        ]
        return m
