"""Bytes from frames: checksummed and stuffed; one frame is on the line while the next is made."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sigbit_boards.link.receive import CRC, HEADER
from sigbit_hw.arch import link

_PLACES = 1 << ceil_log2(link.LINE_BYTES)


class FrameSender(wiring.Component):
    """Sends frames on a line.

    Members
    -------
    start : In(1), ready : Out(1), header : In(HEADER)
        Begin a frame with this header when ``ready``; it has ``header.count`` words.
    i : In(stream of 32 bits)
        Its words.
    o : Out(stream of 8 bits)
        Bytes for the line.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "ready": Out(1),
                "header": In(HEADER),
                "i": In(stream.Signature(32)),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.check = check = CRC(data_width=8).create()
        m.submodules.storage = storage = Memory(shape=8, depth=2 * _PLACES, init=[])
        writer, reader = storage.write_port(), storage.read_port(transparent_for=())
        full = Signal(2)
        lengths = Array(Signal(range(_PLACES), name=f"length_{half}") for half in range(2))

        # Stuffing: a 0 is replaced by the length of the run before it.
        half, run, at = Signal(), Signal(range(_PLACES)), Signal(range(_PLACES))
        shift, bytes_left, words_left = Signal(72), Signal(4), Signal(8)
        byte, closing, checked = shift[:8], Signal(), Signal()
        writes, ends_run = Signal(), Signal()
        m.d.comb += [
            ends_run.eq(closing | (byte == 0)),
            writer.en.eq(writes),
            writer.addr.eq(Cat(Mux(ends_run, run, at), half)),
            writer.data.eq(Mux(ends_run, at - run, byte)),
            check.data.eq(byte),
            check.valid.eq(writes),
        ]
        with m.If(writes):
            m.d.sync += at.eq(at + 1)
            with m.If(ends_run):
                m.d.sync += run.eq(at)

        with m.FSM(name="make"):
            with m.State("IDLE"):
                m.d.comb += [self.ready.eq(~full.bit_select(half, 1)), check.start.eq(1)]
                m.d.sync += [
                    shift.eq(self.header),
                    bytes_left.eq(link.HEADER_BYTES),
                    words_left.eq(self.header.count),
                    run.eq(0),
                    at.eq(1),
                    checked.eq(0),
                ]
                with m.If(self.start & self.ready):
                    m.next = "BYTES"
            with m.State("BYTES"):
                m.d.comb += writes.eq(1)
                m.d.sync += [shift.eq(shift >> 8), bytes_left.eq(bytes_left - 1)]
                with m.If(bytes_left == 1):
                    m.next = "MORE"
            with m.State("MORE"):
                m.d.sync += bytes_left.eq(link.WORD_BYTES)
                with m.If(words_left != 0):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += shift.eq(self.i.payload)
                    with m.If(self.i.valid):
                        m.d.sync += words_left.eq(words_left - 1)
                        m.next = "BYTES"
                with m.Elif(~checked):
                    m.d.sync += [shift.eq(check.crc), checked.eq(1)]
                    m.next = "BYTES"
                with m.Else():
                    m.d.comb += [closing.eq(1), writes.eq(1)]
                    m.d.sync += [
                        lengths[half].eq(at),
                        full.bit_select(half, 1).eq(1),
                        half.eq(~half),
                    ]
                    m.next = "IDLE"

        out, sent = Signal(), Signal(range(_PLACES))
        ended = Signal()
        m.d.comb += [reader.addr.eq(Cat(sent, out)), ended.eq(sent == lengths[out])]
        with m.FSM(name="send"):
            with m.State("FETCH"):
                with m.If(full.bit_select(out, 1)):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(Mux(ended, link.DELIMITER, reader.data)),
                ]
                with m.If(self.o.ready):
                    m.d.sync += sent.eq(sent + 1)
                    m.next = "FETCH"
                    with m.If(ended):
                        m.d.sync += [sent.eq(0), out.eq(~out), full.bit_select(out, 1).eq(0)]
        return m
