"""A queue between two clocks."""

from amaranth.hdl import Cat, DomainRenamer, Module, Shape, ShapeLike, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2


class AsyncQueue(wiring.Component):
    """A stream through a memory of ``depth`` entries, a power of two, of which the ends have
    unrelated clocks.

    Each end has a counter, and sees the other one's in Gray code some cycles later (Cummings,
    *Simulation and synthesis techniques for asynchronous FIFO design*, SNUG 2002). There is no
    reset: the counters begin equal.

    Parameters
    ----------
    shape : ShapeLike
    depth : int
    i_domain, o_domain : str
        Clock domains of both ends.

    Members
    -------
    i : In(stream), o : Out(stream)
    level : Out
        For the first end: number of entries, those included that have just left.
    """

    def __init__(self, shape: ShapeLike, depth: int, i_domain: str, o_domain: str) -> None:
        self.shape, self.depth = shape, depth
        self.i_domain, self.o_domain = i_domain, o_domain
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = exact_log2(self.depth)
        written, read = Signal(bits + 1), Signal(bits + 1)
        next_written, next_read = Signal(bits + 1), Signal(bits + 1)
        written_gray, read_gray = Signal(bits + 1), Signal(bits + 1)
        written_seen, read_seen = Signal(bits + 1), Signal(bits + 1)
        m.submodules.written = FFSynchronizer(written_gray, written_seen, o_domain=self.o_domain)
        m.submodules.read = FFSynchronizer(read_gray, read_seen, o_domain=self.i_domain)
        m.d.comb += [
            next_written.eq(written + (self.i.valid & self.i.ready)),
            next_read.eq(read + (self.o.valid & self.o.ready)),
            self.level.eq((written - _binary(read_seen))[: bits + 1]),
            self.i.ready.eq(~self.level[bits]),
            self.o.valid.eq(read_gray != written_seen),
        ]
        m.d[self.i_domain] += [written.eq(next_written), written_gray.eq(_gray(next_written))]
        m.d[self.o_domain] += [read.eq(next_read), read_gray.eq(_gray(next_read))]
        words = _Words(Shape.cast(self.shape).width, self.depth)
        m.submodules.words = DomainRenamer(self.i_domain)(words)
        m.d.comb += [
            words.write.eq(self.i.valid & self.i.ready),
            words.write_index.eq(written),
            words.data.eq(self.i.payload),
            words.index.eq(read),
            Value.cast(self.o.payload).eq(words.word),
        ]
        return m


class _Words(wiring.Component):
    """A memory that is written with a clock and read without one."""

    def __init__(self, width: int, depth: int) -> None:
        self.width, self.depth = width, depth
        super().__init__(
            {
                "write": In(1),
                "write_index": In(exact_log2(depth)),
                "data": In(width),
                "index": In(exact_log2(depth)),
                "word": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = memory.Memory(shape=self.width, depth=self.depth, init=[])
        writer, reader = words.write_port(), words.read_port(domain="comb")
        m.d.comb += [
            writer.en.eq(self.write),
            writer.addr.eq(self.write_index),
            writer.data.eq(self.data),
            reader.addr.eq(self.index),
            self.word.eq(reader.data),
        ]
        return m


def _gray(number: Value) -> Value:
    return number ^ number >> 1


def _binary(code: Value) -> Value:
    """The number of a Gray code: each bit is the parity of the code's bits from there on."""
    return Cat(code[k:].xor() for k in range(len(code)))
