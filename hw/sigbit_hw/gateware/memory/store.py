"""The STORE engine: slots of the activation memory to the DMA window."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import BEATS_BITS, LoadKind, Opcode
from sigbit_hw.arch.regs import Cause
from sigbit_hw.arch.timing import CHECK_LATENCY, READ_AHEAD
from sigbit_hw.gateware.bus.axi import BusWrite, write_beat
from sigbit_hw.gateware.interfaces import (
    ActRead,
    Error,
    InstructionStream,
    Retire,
    instruction_layout,
)
from sigbit_hw.gateware.memory.dma import Window, WindowCheck, WriteDma
from sigbit_hw.gateware.parts.product import truth_table
from sigbit_hw.gateware.parts.queue import Queue, Skid
from sigbit_hw.gateware.parts.walker import BLOCK, BlockWalker


def pieces(config: ArchConfig) -> data.StructLayout:
    """Slots of one read: those at places ``first`` to ``end`` of a beat, place p in element ``p %
    slots_per_move`` of ``slots``; ``last`` of the block."""
    places = range(images.units_of_beat(LoadKind.ACTS, config))
    return data.StructLayout(
        {
            "slots": data.ArrayLayout(config.slot_bits, config.slots_per_move),
            "first": places,
            "end": places,
            "last": 1,
        }
    )


class SlotReader(wiring.Component):
    """Reads the slots of a block: up to ``slots_per_move`` at a time that are consecutive in one
    run and one beat; at most :data:`READ_AHEAD` reads, and two more in the output register, are
    between request and ``o``.

    Members
    -------
    block : In(BLOCK), start : In(1)
        ``start`` begins; the block is stable until the last slot has left.
    act_read : Out(ActRead)
    o : Out(stream of :func:`pieces`)

    Timing: the first slots are requested in the cycle after ``start``, then more every cycle while
    fewer than :data:`READ_AHEAD` reads have been requested and not passed on to the output
    register; slots are offered three cycles after the memory delivered them.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "block": In(BLOCK),
                "start": In(1),
                "act_read": Out(ActRead(config)),
                "o": Out(stream.Signature(pieces(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.config.slots_per_move
        per_beat = images.units_of_beat(LoadKind.ACTS, self.config)
        room = Signal(range(per_beat), reset_less=True)  # places left in the beat, 0 for all
        limit = Signal(range(width + 1), reset_less=True)  # of these, in one read
        m.submodules.walker = walker = BlockWalker(width)
        m.submodules.slots = slots = Queue(self.act_read.data.shape(), READ_AHEAD)
        m.submodules.places = places = Queue(
            data.StructLayout({"room": len(room), "count": len(limit), "last": 1}), READ_AHEAD
        )
        m.submodules.out = out = Skid(pieces(self.config))
        wiring.connect(m, out.o, wiring.flipped(self.o))
        credit = Signal(range(READ_AHEAD + 1), init=READ_AHEAD)
        active = Signal()
        request = self.act_read.request
        taken = out.i.valid & out.i.ready
        m.d.comb += [
            walker.block.eq(self.block),
            walker.restart.eq(~active),
            walker.limit.eq(limit),
            walker.step.eq(request.valid & request.ready),
            request.valid.eq(active & (credit != 0)),
            request.p.slot.eq(walker.slot),
            request.p.count.eq(walker.count),
            request.p.lane.eq(-room),
            places.i.valid.eq(walker.step),
            places.i.p.room.eq(room),
            places.i.p.count.eq(walker.count),
            places.i.p.last.eq(walker.last),
            slots.i.valid.eq(self.act_read.valid),
            slots.i.payload.eq(self.act_read.data),
            out.i.valid.eq(slots.o.valid & places.o.valid),
            out.i.p.slots.eq(slots.o.p.slots),
            out.i.p.first.eq(-places.o.p.room),
            out.i.p.end.eq(places.o.p.count - places.o.p.room - 1),
            out.i.p.last.eq(places.o.p.last),
            slots.o.ready.eq(taken),
            places.o.ready.eq(taken),
        ]
        m.d.sync += credit.eq(credit + taken - walker.step)
        rest = Signal.like(room)
        m.d.comb += rest.eq(room - walker.count)
        with m.If(~active | (walker.step & (rest == 0))):
            m.d.sync += [room.eq(0), limit.eq(width)]
        with m.Elif(walker.step):
            m.d.sync += [
                room.eq(rest),
                limit.eq(truth_table(rest, lambda r: min(r, width), len(limit))),
            ]
        with m.If(self.start):
            m.d.sync += active.eq(1)
        with m.Elif(walker.step & walker.last):
            m.d.sync += active.eq(0)
        return m


class BeatPacker(wiring.Component):
    """Packs slots into beats; after a last slot the beat leaves with strobes for its slots.

    Members
    -------
    i : In(stream of :func:`pieces`), o : Out(stream of {beat, last})

    Timing: one piece per cycle, none while a complete beat waits; a beat is offered in the cycle
    after its last slot was taken.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(pieces(config))),
                "o": Out(
                    stream.Signature(data.StructLayout({"beat": write_beat(config), "last": 1}))
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = images.units_of_beat(LoadKind.ACTS, self.config)
        slots = Signal(data.ArrayLayout(self.config.slot_bits, count), reset_less=True)
        have = Signal(count, reset_less=True)  # ones from below
        last = Signal(reset_less=True)
        complete = Signal()
        piece = self.i.payload
        m.d.comb += [
            self.o.valid.eq(complete),
            self.o.p.beat.data.eq(slots),
            self.o.p.beat.strobe.eq(Cat(bit.replicate(self.config.slot_bytes) for bit in have)),
            self.o.p.last.eq(last),
            self.i.ready.eq(~complete | self.o.ready),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                have.eq(Cat(place <= piece.end for place in range(count))),
                last.eq(piece.last),
                complete.eq(piece.last | (piece.end == count - 1)),
            ]
            for place in range(count):
                with m.If((piece.first <= place) & (place <= piece.end)):
                    m.d.sync += slots[place].eq(piece.slots[place % len(piece.slots)])
        with m.Elif(self.o.ready):
            m.d.sync += complete.eq(0)
        return m


class StoreEngine(wiring.Component):
    """Executes one ``STORE`` at a time; it retires, and gives its tokens, when every port has
    answered every write, so that a waiting engine reads the written data.

    Members
    -------
    i : In(InstructionStream), window : In(Window)
    act_read : Out(ActRead), bus : Out(BusWrite)
    retire : Out(Retire)
    error : Out(Error)
        ILLEGAL: misaligned address, or ``beats`` differs from the number that the slots fill;
        WINDOW: outside the writable range, in which case nothing is requested; write errors.

    Timing: with an instruction taken in cycle t, the write is requested and the slots' reader
    started in t + 3. It retires in the cycle after the last burst has its response; the next
    instruction is taken one cycle later.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(InstructionStream),
                "window": In(Window()),
                "act_read": Out(ActRead(config)),
                "bus": Out(BusWrite(config)),
                "retire": Out(Retire()),
                "error": Out(Error()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.check = check = WindowCheck(config, writes=True)
        m.submodules.reader = reader = SlotReader(config)
        m.submodules.packer = packer = BeatPacker(config)
        m.submodules.dma = dma = WriteDma(config)
        current = Signal.like(self.i.payload, reset_less=True)
        layout = instruction_layout(Opcode.STORE)
        store = data.View(layout, current.word[: layout.size])
        flipped = wiring.flipped
        wiring.connect(m, flipped(self.window), check.window)
        wiring.connect(m, flipped(self.act_read), reader.act_read)
        wiring.connect(m, flipped(self.bus), dma.bus)
        wiring.connect(m, reader.o, packer.i)

        wait = Signal(range(CHECK_LATENCY))
        beats_left = Signal(BEATS_BITS, reset_less=True)
        one_left = Signal(reset_less=True)
        miscounted = Signal()  # the slots end before or after the beats
        moved = dma.beat.valid & dma.beat.ready
        m.d.comb += [
            check.offset.eq(store.address),
            check.beats.eq(store.beats),
            dma.request.p.offset.eq(store.address),
            dma.request.p.beats.eq(store.beats),
            reader.block.start.eq(store.src),
            *(reader.block[name].eq(store[name]) for name in tuple(BLOCK.members)[1:]),
            dma.beat.payload.eq(packer.o.p.beat),
            dma.beat.valid.eq(packer.o.valid & (packer.o.p.last == one_left)),
            miscounted.eq(packer.o.valid & (packer.o.p.last != one_left)),
            packer.o.ready.eq(moved),
            self.retire.signal.eq(store.signal),
            self.retire.index.eq(current.index),
            self.error.index.eq(current.index),
        ]
        with m.If(moved):
            m.d.sync += [beats_left.eq(beats_left - 1), one_left.eq(beats_left == 2)]
        with m.If(dma.resp[1]):
            m.d.comb += [
                self.error.valid.eq(1),
                self.error.cause.eq(Mux(dma.resp[0], Cause.WRITE_DECERR, Cause.WRITE_SLVERR)),
            ]
        with m.Elif(miscounted):
            m.d.comb += [self.error.valid.eq(1), self.error.cause.eq(Cause.ILLEGAL)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [current.eq(self.i.payload), wait.eq(CHECK_LATENCY - 1)]
                with m.If(self.i.valid):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [
                    wait.eq(wait - 1),
                    beats_left.eq(store.beats),
                    one_left.eq(store.beats == 1),
                ]
                with m.If(wait == 0):
                    m.next = "ISSUE"
            with m.State("ISSUE"):
                with m.If(check.misaligned | check.outside):
                    m.d.comb += [
                        self.error.valid.eq(1),
                        self.error.cause.eq(Mux(check.misaligned, Cause.ILLEGAL, Cause.WINDOW)),
                    ]
                with m.Else():
                    m.d.comb += [dma.request.valid.eq(1), reader.start.eq(dma.request.ready)]
                    with m.If(dma.request.ready):
                        m.next = "MOVE"
            with m.State("MOVE"):  # until every burst has its response, hence all beats have left
                with m.If(dma.idle):
                    m.d.comb += self.retire.valid.eq(1)
                    m.next = "IDLE"
        return m
