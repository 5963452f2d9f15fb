"""The STORE engine: slots of the activation memory to the DMA window."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import BEATS_BITS, Opcode
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
from sigbit_hw.gateware.parts.queue import Queue, Skid
from sigbit_hw.gateware.parts.walker import BLOCK, BlockWalker


class SlotReader(wiring.Component):
    """Reads the slots of a block; at most :data:`READ_AHEAD`, and two more in the
    output's register, lie between request and ``o``.

    Members
    -------
    block : In(BLOCK), start : In(1)
        ``start`` begins; the block is stable until the last slot has left.
    act_read : Out(ActRead)
    o : Out(stream of {slot, last})

    Timing: the first slot is requested in the cycle after ``start``, then one a cycle while fewer
    than :data:`READ_AHEAD` have been requested and not passed on to the output's register; a slot
    is offered three cycles after the memory gave it.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        self._layout = data.StructLayout({"slot": config.slot_bits, "last": 1})
        super().__init__(
            {
                "block": In(BLOCK),
                "start": In(1),
                "act_read": Out(ActRead(config)),
                "o": Out(stream.Signature(self._layout)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.walker = walker = BlockWalker()
        m.submodules.slots = slots = Queue(self.config.slot_bits, READ_AHEAD)
        m.submodules.lasts = lasts = Queue(1, READ_AHEAD)
        m.submodules.out = out = Skid(self._layout)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        credit = Signal(range(READ_AHEAD + 1), init=READ_AHEAD)
        active = Signal()
        request = self.act_read.request
        taken = out.i.valid & out.i.ready
        m.d.comb += [
            walker.block.eq(self.block),
            walker.restart.eq(~active),
            walker.step.eq(request.valid & request.ready),
            request.valid.eq(active & (credit != 0)),
            request.payload.eq(walker.slot),
            lasts.i.valid.eq(walker.step),
            lasts.i.payload.eq(walker.last),
            slots.i.valid.eq(self.act_read.valid),
            slots.i.payload.eq(self.act_read.data),
            out.i.valid.eq(slots.o.valid & lasts.o.valid),
            out.i.p.slot.eq(slots.o.payload),
            out.i.p.last.eq(lasts.o.payload),
            slots.o.ready.eq(taken),
            lasts.o.ready.eq(taken),
        ]
        m.d.sync += credit.eq(credit + taken - walker.step)
        with m.If(self.start):
            m.d.sync += active.eq(1)
        with m.Elif(walker.step & walker.last):
            m.d.sync += active.eq(0)
        return m


class BeatPacker(wiring.Component):
    """Packs slots into beats; after a last slot the beat leaves with strobes for the slots it has.

    Members
    -------
    i : In(stream of {slot, last}), o : Out(stream of {beat, last})

    Timing: one slot a cycle, none while a complete beat waits; a beat is offered in the cycle after
    its last slot was taken.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"slot": config.slot_bits, "last": 1}))),
                "o": Out(
                    stream.Signature(data.StructLayout({"beat": write_beat(config), "last": 1}))
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = self.config.bus_bits // self.config.slot_bits
        slots = Signal(data.ArrayLayout(self.config.slot_bits, count), reset_less=True)
        have = Signal(count)  # ones from below
        taken = self.i.valid & self.i.ready
        free = Signal()  # nothing is in the beat register, or it leaves now
        last = Signal(reset_less=True)
        complete = Signal()
        m.d.comb += [
            self.o.valid.eq(complete),
            self.o.p.beat.data.eq(slots),
            self.o.p.beat.strobe.eq(Cat(bit.replicate(self.config.slot_bytes) for bit in have)),
            self.o.p.last.eq(last),
            free.eq(complete & self.o.ready),
            self.i.ready.eq(~complete | self.o.ready),
        ]
        before = Mux(free, 0, have)
        with m.If(taken):
            m.d.sync += [
                have.eq(Cat(1, before[:-1])),
                last.eq(self.i.p.last),
                complete.eq(self.i.p.last | (before[-2] if count > 1 else 1)),
            ]
            for k in range(count):
                with m.If(~before[k] & (before[k - 1] if k else 1)):
                    m.d.sync += slots[k].eq(self.i.p.slot)
        with m.Elif(free):
            m.d.sync += [have.eq(0), complete.eq(0)]
        return m


class StoreEngine(wiring.Component):
    """``STORE``, one at a time; it retires, and gives its tokens, when every port has answered
    every write: whoever waits for it reads what it wrote.

    Members
    -------
    i : In(InstructionStream), window : In(Window)
    act_read : Out(ActRead), bus : Out(BusWrite)
    retire : Out(Retire)
    error : Out(Error)
        ILLEGAL: misaligned address, or ``beats`` is not what the slots fill; WINDOW: outside what
        may be written, nothing is requested then; write errors.

    Timing: with an instruction taken in cycle t, the write is requested and the slots' reader
    started in t + 3. It retires in the cycle after the last beat was accepted, or when the DMA is
    idle; the next instruction is taken one cycle later.
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
        with m.If(dma.failed):
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
            with m.State("MOVE"):
                with m.If(moved & one_left):
                    m.next = "FINISH"
            with m.State("FINISH"):
                with m.If(dma.idle):
                    m.d.comb += self.retire.valid.eq(1)
                    m.next = "IDLE"
        return m
