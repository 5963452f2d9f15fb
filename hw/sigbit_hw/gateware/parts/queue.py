"""A first-in first-out queue of any shape, and a register for streams."""

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out


class Queue(wiring.Component):
    """A stream through a memory of ``depth`` entries with a registered output.

    Latency two cycles, throughput one entry per cycle (half of that with ``depth`` 2). A queue of
    depth 1 is a register: latency one cycle, one entry every other cycle. Both ``valid`` and
    ``ready`` are registers.

    Members
    -------
    i : In(stream), o : Out(stream)
    """

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        self.shape, self.depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.depth == 1:
            m.d.comb += self.i.ready.eq(~self.o.valid)
            with m.If(self.o.valid):
                m.d.sync += self.o.valid.eq(~self.o.ready)
            with m.Else():
                m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
            return m
        entries = self.depth - 1  # the oldest entry is in the read port's register
        m.submodules.storage = storage = memory.Memory(
            shape=Shape.cast(self.shape).width, depth=entries, init=[]
        )
        writer, reader = storage.write_port(), storage.read_port()
        level = Signal(range(entries + 1))
        free, some = Signal(init=1), Signal()  # the memory has room, has an entry
        write, move = Signal(), Signal()
        m.d.comb += [
            write.eq(self.i.valid & free),
            move.eq(some & (~self.o.valid | self.o.ready)),
            self.i.ready.eq(free),
            writer.data.eq(self.i.payload),
            writer.en.eq(write),
            reader.en.eq(move),
            Value.cast(self.o.payload).eq(reader.data),
        ]
        for port, used in ((writer, write), (reader, move)):
            with m.If(used):
                m.d.sync += port.addr.eq(Mux(port.addr == entries - 1, 0, port.addr + 1))
        with m.If(write & ~move):
            m.d.sync += [level.eq(level + 1), free.eq(level != entries - 1), some.eq(1)]
        with m.If(move & ~write):
            m.d.sync += [level.eq(level - 1), free.eq(1), some.eq(level != 1)]
        with m.If(move):
            m.d.sync += self.o.valid.eq(1)
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m


class Skid(wiring.Component):
    """A stream register whose ``ready`` is also a register: full throughput, latency one cycle.

    Members
    -------
    i : In(stream), o : Out(stream)
    """

    def __init__(self, shape: ShapeLike) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spare = Signal.like(self.i.payload, reset_less=True)
        free = Signal(init=1)  # the spare register is empty
        m.d.comb += self.i.ready.eq(free)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(self.i.valid | ~free),
                self.o.payload.eq(Mux(free, self.i.payload, spare)),
                free.eq(1),
            ]
        with m.Elif(self.i.valid & free):
            m.d.sync += [spare.eq(self.i.payload), free.eq(0)]
        return m
