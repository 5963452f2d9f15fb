"""Frames from bytes: unstuffed, checked, and held until they are executed."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch import link

HEADER = data.StructLayout(link.HEADER)
"""The header of a frame."""
CRC = crc.catalog.CRC32_ISO_HDLC
"""``zlib.crc32``."""


class FrameReceiver(wiring.Component):
    """Receives one frame at a time.

    Members
    -------
    i : In(stream of 8 bits)
        The line's bytes; not taken while a frame is held.
    valid : Out(1), take : In(1)
        A frame is held; release it.
    damaged : Out(1)
        With ``valid``: the received bytes are not a frame, and the other outputs are meaningless.
    header : Out(HEADER)
    words : Out(range(WORDS_MAX + 1))
        Words of data in the frame.
    index : In, word : Out(32)
        The word of this index, one cycle later.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "valid": Out(1),
                "take": In(1),
                "damaged": Out(1),
                "header": Out(HEADER),
                "words": Out(range(link.WORDS_MAX + 1)),
                "index": In(range(link.WORDS_MAX)),
                "word": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.check = check = CRC(data_width=8).create()
        m.submodules.storage = storage = Memory(shape=32, depth=link.WORDS_MAX, init=[])
        writer, reader = storage.write_port(), storage.read_port(transparent_for=())
        m.d.comb += [reader.addr.eq(self.index), self.word.eq(reader.data)]

        # Unstuffing: one byte is produced for every byte except the delimiter and the first length.
        left, begun, whole = Signal(8), Signal(), Signal()
        emitted, byte = Signal(), Signal(8)
        m.d.sync += emitted.eq(0)

        # Unstuffed bytes: header, words, and the CRC as if it were another word.
        count, place, item = Signal(range(link.HEADER_BYTES + 1)), Signal(2), Signal(7)
        overlong, shift, held = Signal(), Signal(32), self.header.as_value()
        next_word = Cat(shift[8:], byte)
        m.d.comb += [
            check.data.eq(byte),
            check.valid.eq(emitted),
            writer.addr.eq(item),
            writer.data.eq(next_word),
        ]
        with m.If(emitted):
            with m.If(count != link.HEADER_BYTES):
                m.d.sync += [count.eq(count + 1), held.eq(Cat(held[8:], byte))]
            with m.Elif(item == link.WORDS_MAX + 1):
                m.d.sync += overlong.eq(1)
            with m.Else():
                m.d.sync += [place.eq(place + 1), shift.eq(next_word)]
                with m.If(place == 3):
                    m.d.sync += item.eq(item + 1)
                    m.d.comb += writer.en.eq(item != link.WORDS_MAX)

        with m.FSM():
            with m.State("RECEIVE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    with m.If(self.i.payload == link.DELIMITER):
                        m.d.sync += whole.eq(left == 0)
                        with m.If(begun):
                            m.next = "LAST"
                    with m.Elif(left == 0):
                        m.d.sync += [
                            left.eq(self.i.payload - 1),
                            begun.eq(1),
                            emitted.eq(begun),
                            byte.eq(0),
                        ]
                    with m.Else():
                        m.d.sync += [left.eq(left - 1), emitted.eq(1), byte.eq(self.i.payload)]
            with m.State("LAST"):  # the last byte passes the CRC
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [
                    self.damaged.eq(
                        ~(whole & ~overlong & check.match_detected & (place == 0) & (item != 0))
                    ),
                    self.words.eq(Mux(item == 0, 0, item - 1)),
                ]
                m.next = "HOLD"
            with m.State("HOLD"):
                m.d.comb += self.valid.eq(1)
                with m.If(self.take):
                    m.d.comb += check.start.eq(1)
                    m.d.sync += [left.eq(0), begun.eq(0), count.eq(0), place.eq(0), item.eq(0)]
                    m.d.sync += overlong.eq(0)
                    m.next = "RECEIVE"
        return m
