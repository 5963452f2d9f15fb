"""The nest walker: an ``EXEC`` as one step per cycle, with the increments of all read addresses."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.compute.array import CONTROL
from sigbit_hw.gateware.parts.pipeline import at_most
from sigbit_hw.gateware.parts.walker import Countdown

_WIDTHS = {opcode: {f.name: f.width for f in isa.LAYOUTS[opcode]} for opcode in isa.LAYOUTS}
_DELTAS = ("d_ic", "d_kx", "d_ky", "gap", "d_block", "d_row", "d_ocb")
DRAIN_BITS = 16
"""Width of a block's drain time in cycles."""


def segment_layout(config: ArchConfig) -> data.StructLayout:
    """A segment as stored in the table: addresses modulo the size of the activation memory."""
    slot_bits, widths = ceil_log2(config.act_slots), _WIDTHS[isa.Opcode.SEG]
    return data.StructLayout(
        {"shift": 1, "base": slot_bits}
        | {name: widths[name] for name in ("n_ic", "n_kx", "n_ky")}
        | dict.fromkeys(_DELTAS, slot_bits)
        | {"words": ceil_log2(config.weight_words)}
    )


def nest_layout(config: ArchConfig) -> data.StructLayout:
    """Fields of an ``EXEC`` that the walker needs, and the cycles that a block's drain takes."""
    widths = _WIDTHS[isa.Opcode.EXEC]
    names = ("mode", "keep", "drain", "n_seg", "n_ocb", "n_rows", "run", "wrap", "block_step")
    return data.StructLayout(
        {name: widths[name] for name in names}
        | dict.fromkeys(("weights", "block_words"), ceil_log2(config.weight_words))
        | {"drain_cycles": DRAIN_BITS}
    )


def step_layout(config: ArchConfig) -> data.StructLayout:
    """One step. The first slot of ``segment``'s block is ``base`` if ``fresh``, else the current
    position of the segment; the segment then moves on by ``advance``. Steps other than the
    ``first`` of a segment add ``step``. An output line ends before lane ``room`` and after every
    further ``line`` lanes (``pixels`` stands for anything longer); for each line that has ended, a
    lane reads ``gap_words`` words further."""
    slot_bits, lane_bits = ceil_log2(config.act_slots), ceil_log2(config.pixels)
    return data.StructLayout(
        {
            "segment": ceil_log2(config.segments),
            "first": 1,
            "fresh": 1,
            "base": slot_bits,
            "advance": slot_bits,
            "step": slot_bits,
            "room": lane_bits + 1,
            "line": lane_bits + 1,
            "gap_words": slot_bits - lane_bits,
            "weight": ceil_log2(config.weight_words),
            "control": CONTROL,
        }
    )


class NestWalker(wiring.Component):
    """Nested loops of an ``EXEC``: ocb, row, block, segment, ky, kx, ic, from the outermost
    inwards.

    The last step of a draining block waits until the drain time of the previous draining block has
    passed since the last step of that block.

    Members
    -------
    ``segment : In``
        ``valid``, ``index``, ``entry``: a write into the segment table; only while not ``busy``.
    ``i : In(stream(nest_layout))``
        The next EXEC; accepted while not ``busy``. Its first step is issued in the next cycle.
    ``busy : Out(1)``, ``feeding : Out(1)``
        An EXEC is under way; a step is issued in this cycle.
    ``valid : Out(1)``, ``step : Out(step_layout)``
        The step issued one cycle ago.

    One step per cycle, without gaps between segments, blocks, rows and output-channel blocks.
    """

    latency = 1

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "segment": In(
                    wiring.Signature(
                        {
                            "valid": Out(1),
                            "index": Out(ceil_log2(config.segments)),
                            "entry": Out(segment_layout(config)),
                        }
                    )
                ),
                "i": In(stream.Signature(nest_layout(config))),
                "busy": Out(1),
                "feeding": Out(1),
                "valid": Out(1),
                "step": Out(step_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        pixels, lane_bits = config.pixels, ceil_log2(config.pixels)
        loops = {name: f"n_{name}" for name in ("ic", "kx", "ky")}
        entry = data.StructLayout(
            segment_layout(config).members | {f"one_{loop}": 1 for loop in loops}
        )
        nest = Signal(nest_layout(config))
        start = self.i.valid & self.i.ready

        # The current segment is in a register; meanwhile the next one is looked up, together with
        # the flags of its loops that have one iteration.
        m.submodules.segments = segments = memory.Memory(
            shape=entry.size, depth=config.segments, init=[]
        )
        writer, reader = segments.write_port(), segments.read_port(domain="comb")
        now, now_last = Signal(entry), Signal()
        skip = Signal(now.d_block.shape())  # to the next block, with one line end more
        index, after = Signal(reader.addr.shape()), Signal(reader.addr.shape())
        one_seg, next_to_last = Signal(), Signal(after.shape())
        after_last, found = Signal(), entry(reader.data)
        m.d.comb += [
            writer.addr.eq(self.segment.index),
            writer.data.eq(
                Cat(self.segment.entry, *(self.segment.entry[n] == 1 for n in loops.values()))
            ),
            writer.en.eq(self.segment.valid),
            reader.addr.eq(after),
            self.i.ready.eq(~self.busy),
        ]

        # Loops within a block.
        ic, kx, ky = (Countdown(len(now[n]), loop) for loop, n in loops.items())
        arrival = Signal(data.StructLayout({"kx": 1, "ky": 1}))
        seg_first, block_first, fresh = Signal(), Signal(), Signal()
        seg_last, block_last, block_end = Signal(), Signal(), Signal()
        m.d.comb += [
            seg_last.eq(ic.last & kx.last & ky.last),
            block_last.eq(seg_last & now_last),
            block_end.eq(self.feeding & block_last),
        ]

        # Loops over blocks: pixels left of the run and of the output line, including this block's.
        # From one block to the next, pixels // wrap lines end, plus one if the line has no room
        # left for block_step columns.
        left = Signal(nest.run.shape())
        room, refill = (Signal(nest.wrap.shape(), name=name) for name in ("room", "refill"))
        back = Signal(signed(len(nest.block_step) + 1))  # -block_step
        rows, ocbs = Countdown(len(nest.n_rows), "rows"), Countdown(len(nest.n_ocb), "ocbs")
        row_last, ocb_last, run_last = rows.last, ocbs.last, Signal()
        one_block, run_fits = Signal(), at_most(self.i.p.run, lane_bits)
        # Registered flag that this block crosses a line's end: of a row's first block and, by the
        # sign of a sum, of the block after one that does, or does not.
        crosses, first_crosses = Signal(), Signal()
        if_crossed, if_not = (
            Signal(signed(len(nest.wrap) + 2), name=name) for name in ("if_crossed", "if_not")
        )
        next_crosses = (room + Mux(crosses, if_crossed, if_not)) < 0

        # Spacing of the ends of draining blocks, in registers: the drain is free, and the EXEC
        # allows a block to end.
        open_, closed_for, may_end = Signal(init=1), Signal(DRAIN_BITS), Signal()
        closes = block_end & nest.drain
        opens = Mux(closes, nest.drain_cycles == 1, open_ | (closed_for == 1))
        m.d.comb += self.feeding.eq(self.busy & (~block_last | may_end))
        m.d.sync += [
            open_.eq(opens),
            may_end.eq(opens | ~Mux(start, self.i.p.drain, nest.drain)),
        ]
        with m.If(closes | ~open_):
            m.d.sync += closed_for.eq(Mux(closes, nest.drain_cycles, closed_for) - 1)

        # Weights: one word per step, every segment starting at its own word of the output-channel
        # block.
        word, ocb_word, next_ocb_word = (
            Signal(nest.weights.shape(), name=name)
            for name in ("word", "ocb_word", "next_ocb_word")
        )
        from_word = Mux(now_last & run_last & row_last, next_ocb_word, ocb_word)

        with m.If(self.feeding):
            m.d.sync += [
                seg_first.eq(seg_last),
                block_first.eq(block_last),
                *ic.step(),
                word.eq(Mux(seg_last, from_word + found.words, word + 1)),
                arrival.kx.eq(ic.last),
                arrival.ky.eq(ic.last & kx.last),
            ]
            with m.If(ic.last):
                m.d.sync += [*ic.restart(now.n_ic, now.one_ic), *kx.step()]
            with m.If(ic.last & kx.last):
                m.d.sync += [*kx.restart(now.n_kx, now.one_kx), *ky.step()]
            with m.If(block_last):
                m.d.sync += [
                    fresh.eq(0),
                    left.eq(Mux(run_last, nest.run, left - pixels)),
                    run_last.eq(Mux(run_last, one_block, at_most(left, lane_bits + 1))),
                    crosses.eq(Mux(run_last, first_crosses, next_crosses)),
                    room.eq(Mux(run_last, nest.wrap, room + Mux(crosses, refill, back))),
                ]
                with m.If(run_last):
                    m.d.sync += rows.step()
                    with m.If(row_last):
                        m.d.sync += [
                            *rows.restart(nest.n_rows),
                            *ocbs.step(),
                            ocb_word.eq(next_ocb_word),
                            next_ocb_word.eq(next_ocb_word + nest.block_words),
                        ]
                        with m.If(ocb_last):
                            m.d.sync += self.busy.eq(0)
        with m.If(start | (self.feeding & seg_last)):
            m.d.sync += [
                now.eq(found),
                skip.eq(found.d_block + found.gap),
                now_last.eq(after_last),
                index.eq(after),
                after.eq(Mux(after_last, 0, after + 1)),
                after_last.eq(Mux(after_last, one_seg, after == next_to_last)),
                *(
                    action
                    for loop, counter in (("ic", ic), ("kx", kx), ("ky", ky))
                    for action in counter.restart(found[loops[loop]], found[f"one_{loop}"])
                ),
            ]
        end = block_last & run_last & row_last & ocb_last
        with m.If(self.feeding & end):
            m.d.sync += after.eq(0)
        line_crosses = self.i.p.wrap <= self.i.p.block_step
        if_not_crossed = ~Cat(Const(0, 1), self.i.p.block_step, Const(0, 1)).as_signed()
        with m.If(start):
            m.d.sync += [
                self.busy.eq(1),
                nest.eq(self.i.p),
                seg_first.eq(1),
                block_first.eq(1),
                fresh.eq(1),
                one_seg.eq(self.i.p.n_seg == 1),
                next_to_last.eq(self.i.p.n_seg - 2),
                now_last.eq(self.i.p.n_seg == 1),
                after.eq(self.i.p.n_seg != 1),
                after_last.eq(self.i.p.n_seg <= 2),
                left.eq(self.i.p.run),
                run_last.eq(run_fits),
                one_block.eq(run_fits),
                *rows.restart(self.i.p.n_rows),
                *ocbs.restart(self.i.p.n_ocb),
                room.eq(self.i.p.wrap),
                refill.eq(self.i.p.wrap - self.i.p.block_step),
                back.eq(-self.i.p.block_step),
                crosses.eq(line_crosses),
                first_crosses.eq(line_crosses),
                if_crossed.eq(self.i.p.wrap + if_not_crossed),
                if_not.eq(if_not_crossed),
                word.eq(self.i.p.weights + found.words),
                ocb_word.eq(self.i.p.weights),
                next_ocb_word.eq(self.i.p.weights + self.i.p.block_words),
            ]

        step = self.step
        m.d.sync += [
            self.valid.eq(self.feeding),
            step.segment.eq(index),
            step.first.eq(seg_first),
            step.fresh.eq(fresh),
            step.base.eq(now.base),
            step.advance.eq(
                Mux(run_last, Mux(row_last, now.d_ocb, now.d_row), Mux(crosses, skip, now.d_block))
            ),
            step.step.eq(Mux(arrival.ky, now.d_ky, Mux(arrival.kx, now.d_kx, now.d_ic))),
            step.room.eq(Mux(room[lane_bits:].any(), pixels, room)),
            step.line.eq(Mux(nest.wrap[lane_bits:].any(), pixels, nest.wrap)),
            step.gap_words.eq(now.gap[lane_bits:]),
            step.weight.eq(word),
            step.control.pool.eq(nest.mode),
            step.control.clear.eq(block_first & ~(nest.keep & fresh)),
            step.control.shift.eq(seg_first & now.shift),
            step.control.last.eq(block_last),
            step.control.drain.eq(nest.drain),
            step.control.end.eq(end),
        ]
        return m
