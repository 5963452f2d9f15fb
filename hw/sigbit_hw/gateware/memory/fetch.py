"""Instruction fetch: prefetches the program and assembles instruction words."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import INDEX_BITS
from sigbit_hw.arch.regs import PROGRAM_ALIGN, Cause
from sigbit_hw.arch.timing import CHECK_LATENCY, FETCH_AHEAD
from sigbit_hw.gateware.interfaces import Error
from sigbit_hw.gateware.memory.dma import ReadClient, Window, WindowCheck, client_beat
from sigbit_hw.gateware.parts.queue import Queue

FETCHED = data.StructLayout({"word": isa.WORD_BITS, "index": INDEX_BITS, "last": 1})
"""An instruction word; ``last``: the program ends here."""


class Fetch(wiring.Component):
    """Reads ``count`` instructions starting at ``offset``, beginning at reset.

    It only requests bursts for which the buffer has room, so it never blocks the read port.

    Members
    -------
    window : In(Window), offset : In(32), count : In(32)
    read : Out(ReadClient)
    stop : In(1)
        Request nothing more and drop arriving beats.
    quiet : Out(1)
        Nothing is outstanding or buffered.
    o : Out(stream of FETCHED)
    index : Out(24)
        Index of the instruction being assembled.
    error : Out(Error)
        ILLEGAL: no instructions, more than an index can count, or a misaligned offset; WINDOW: the
        program (in whole bus beats) leaves the window; read errors, a cycle after the beat.

    Timing: the first chunk, of ``burst_beats`` beats or the remainder, is requested in the fifth
    cycle after the first out of reset; the next one two cycles after a request was taken, or when
    the buffer of :data:`FETCH_AHEAD` chunks has had room for a whole one a cycle before. Beats pass
    the buffer in two cycles; one is taken from it each cycle, except that the beat after a word's
    last one is taken only when the word leaves. A word is offered in the cycle after its last beat
    was taken, a further one of the same beat in the cycle after the previous one left.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "window": In(Window()),
                "offset": In(32),
                "count": In(32),
                "read": Out(ReadClient(config)),
                "stop": In(1),
                "quiet": Out(1),
                "o": Out(stream.Signature(FETCHED)),
                "index": Out(INDEX_BITS),
                "error": Out(Error()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._left, self._last = Signal(INDEX_BITS, reset_less=True), Signal(reset_less=True)
        self._request(m)
        self._assemble(m)
        return m

    def _request(self, m: Module) -> None:
        """Request chunks of at most one burst while the buffer has room for one."""
        config = self.config
        chunk_max = config.burst_beats
        room = FETCH_AHEAD * chunk_max
        size = exact_log2(config.bus_bytes)
        word_size = exact_log2(isa.WORD_BYTES)
        beats_bits = INDEX_BITS + max(word_size - size, 0)
        m.submodules.check = check = WindowCheck(config, writes=False, beats_bits=beats_bits)
        m.submodules.buffer = buffer = Queue(client_beat(config), room)
        wiring.connect(m, wiring.flipped(self.window), check.window)
        wiring.connect(m, wiring.flipped(self.read.beat), buffer.i)
        self._beat = buffer.o

        credit = Signal(range(room + 1), init=room)
        beats = Signal(beats_bits, reset_less=True)
        left = Signal(beats_bits, reset_less=True)
        offset = Signal(isa.ADDRESS_BITS, reset_less=True)
        chunk = Signal(range(chunk_max + 1), reset_less=True)
        countable = Signal(reset_less=True)
        aligned = Signal(reset_less=True)
        wait = Signal(range(CHECK_LATENCY + 1))
        per_beat = max(config.bus_bytes // isa.WORD_BYTES, 1)
        granted = self.read.request.valid & self.read.request.ready
        popped = buffer.o.valid & buffer.o.ready
        m.d.comb += [
            check.offset.eq(self.offset),
            check.beats.eq(beats),
            self.read.request.p.offset.eq(offset),
            self.read.request.p.beats.eq(chunk),
            self.quiet.eq(credit == room),
        ]
        m.d.sync += credit.eq(credit + popped - Mux(granted, chunk, 0))
        with m.FSM():
            with m.State("START"):
                m.d.sync += [
                    beats.eq(
                        ((self.count << word_size) >> size)
                        if per_beat == 1
                        else (self.count + per_beat - 1) // per_beat
                    ),
                    self._left.eq(self.count),
                    self._last.eq(self.count == 1),
                    countable.eq((self.count != 0) & (self.count < 1 << INDEX_BITS)),
                    aligned.eq(self.offset % PROGRAM_ALIGN == 0),
                    wait.eq(CHECK_LATENCY),
                ]
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [wait.eq(wait - 1), left.eq(beats), offset.eq(self.offset)]
                with m.If(wait == 0):
                    with m.If(~countable | ~aligned):
                        m.d.comb += [self.error.valid.eq(1), self.error.cause.eq(Cause.ILLEGAL)]
                    with m.Elif(check.outside):
                        m.d.comb += [self.error.valid.eq(1), self.error.cause.eq(Cause.WINDOW)]
                    with m.Else():
                        m.next = "CHUNK"
            with m.State("CHUNK"):
                m.d.sync += chunk.eq(Mux(left < chunk_max, left, chunk_max))
                with m.If((left != 0) & (credit >= chunk_max) & ~self.stop):
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += self.read.request.valid.eq(1)
                with m.If(self.read.request.ready):
                    m.d.sync += [
                        left.eq(left - chunk),
                        offset.eq(offset + (chunk << size)),
                    ]
                    m.next = "CHUNK"

    def _assemble(self, m: Module) -> None:
        """Assemble words from beats: several beats per word, or several words per beat."""
        bus_bits = self.config.bus_bits
        beat = self._beat
        failed, wrong_address = Signal(), Signal(reset_less=True)
        word = Signal(max(isa.WORD_BITS, bus_bits), reset_less=True)
        parts = max(isa.WORD_BITS // bus_bits, 1)  # beats per word
        words = max(bus_bits // isa.WORD_BITS, 1)  # words per beat
        part = Signal(range(parts))
        words_left = Signal(range(words))
        m.d.comb += [
            self.o.p.word.eq(word),
            self.o.p.index.eq(self.index),
            self.o.p.last.eq(self._last),
        ]
        free = ~self.o.valid | (self.o.ready & (words_left == 0))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                self.index.eq(self.index + 1),
                self._left.eq(self._left - 1),
                self._last.eq(self._left == 2),
            ]
            with m.If(words_left != 0):
                m.d.sync += [word.eq(word >> isa.WORD_BITS), words_left.eq(words_left - 1)]
            with m.Else():
                m.d.sync += self.o.valid.eq(0)
        m.d.comb += beat.ready.eq(free | self.stop)
        with m.If(beat.valid & free & ~self.stop):
            m.d.sync += [
                word.eq(Cat(word, beat.p.data)[bus_bits:]),
                part.eq(part + 1),
                words_left.eq(words - 1),
                self.o.valid.eq(part == parts - 1),
            ]
            with m.If(beat.p.resp[1]):
                m.d.sync += self.o.valid.eq(0)
                m.d.sync += [failed.eq(1), wrong_address.eq(beat.p.resp[0])]
        # A beat that is taken while a word leaves belongs to the next instruction: one cycle later
        # the index is right in either case.
        m.d.comb += self.error.index.eq(self.index)
        with m.If(failed):
            m.d.comb += [
                self.error.valid.eq(1),
                self.error.cause.eq(Mux(wrong_address, Cause.READ_DECERR, Cause.READ_SLVERR)),
            ]
