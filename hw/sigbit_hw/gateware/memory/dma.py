"""DMA: window checks, requests split into AXI bursts, two readers on one read port, write
completion.

Requests are offsets into the DMA window, in whole bus beats. Bursts never cross a boundary of
``burst_beats`` beats, hence never one of 4 KiB on any port.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import BEATS_BITS
from sigbit_hw.arch.timing import WRITES_MAX
from sigbit_hw.gateware.bus.axi import BusRead, BusWrite, burst_layout, write_beat
from sigbit_hw.gateware.parts.queue import Queue

REQUEST = data.StructLayout({"offset": isa.ADDRESS_BITS, "beats": BEATS_BITS})
"""A transfer: byte offset into the window, a multiple of the bus width, and the number of bus
beats, at least 1."""


class Window(wiring.Signature):
    """The guards, from the register file."""

    def __init__(self) -> None:
        super().__init__(
            {
                "size": Out(32),
                "write_lo": Out(32),
                "write_hi": Out(32),
            }
        )


def client_beat(config: ArchConfig) -> data.StructLayout:
    """A read beat in the form that its reader receives."""
    return data.StructLayout({"data": config.bus_bits, "resp": 2})


class ReadClient(wiring.Signature):
    """Read requests and their beats, in order."""

    def __init__(self, config: ArchConfig) -> None:
        super().__init__(
            {
                "request": Out(stream.Signature(REQUEST)),
                "beat": In(stream.Signature(client_beat(config))),
            }
        )


class WindowCheck(wiring.Component):
    """Checks a transfer before it is requested; latency ``CHECK_LATENCY`` cycles, no handshake.

    Members
    -------
    offset : In(32), beats : In(beats_bits), window : In(Window)
    misaligned : Out(1)
        The offset is not a multiple of the bus width.
    outside : Out(1)
        The transfer leaves the window (for writes: or the range that may be written).
    """

    def __init__(self, config: ArchConfig, *, writes: bool, beats_bits: int = BEATS_BITS) -> None:
        self.writes = writes
        self._size = exact_log2(config.bus_bytes)
        super().__init__(
            {
                "offset": In(isa.ADDRESS_BITS),
                "beats": In(beats_bits),
                "window": In(Window()),
                "misaligned": Out(1),
                "outside": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        end = Signal(len(self.offset) + 1, reset_less=True)
        assert len(self.beats) + self._size <= len(self.offset)
        m.d.sync += [
            end.eq(self.offset + (self.beats << self._size)),
            self.misaligned.eq(self.offset[: self._size].any()),
        ]
        breaks = [end > self.window.size]
        if self.writes:
            breaks += [self.offset < self.window.write_lo, end > self.window.write_hi]
        found = Signal(len(breaks), reset_less=True)
        m.d.sync += found.eq(Cat(breaks))
        m.d.comb += self.outside.eq(found.any())
        return m


class BurstSplitter(wiring.Component):
    """Splits requests into bursts: one every two cycles.

    Members
    -------
    i : In(stream of REQUEST)
    o : Out(stream of ``burst_layout``)

    Timing: the first burst of a request accepted in cycle t is offered from t + 2 on; two cycles
    after a burst is taken the next is offered; the next request is accepted from the cycle after
    the last burst is taken.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(REQUEST)),
                "o": Out(stream.Signature(burst_layout(self.config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size = exact_log2(self.config.bus_bytes)
        limit = self.config.burst_beats
        low_bits = exact_log2(limit)
        beat = Signal.like(self.o.p.beat, reset_less=True)  # next
        left = Signal(BEATS_BITS, reset_less=True)
        count = Signal(range(limit + 1), reset_less=True)
        last = Signal(reset_less=True)
        to_boundary = Signal(range(limit + 1), reset_less=True)  # after the first burst: limit
        m.d.comb += [
            self.o.p.beat.eq(beat),
            self.o.p.length.eq(count - 1),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                first = self.i.p.offset >> size
                m.d.sync += [
                    beat.eq(first),
                    left.eq(self.i.p.beats),
                    to_boundary.eq(limit - first[:low_bits]),
                ]
                with m.If(self.i.valid):
                    m.next = "SPLIT"
            with m.State("SPLIT"):
                goes_on = to_boundary < left
                m.d.sync += [count.eq(Mux(goes_on, to_boundary, left)), last.eq(~goes_on)]
                m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [
                        beat.eq(beat + count),
                        left.eq(left - count),
                        to_boundary.eq(limit),
                    ]
                    with m.If(last):
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "SPLIT"
        return m


class ReadDma(wiring.Component):
    """Two readers on one bus port. ``fetch`` has priority; beats return in order of the bursts.

    A reader that does not take its beats blocks the other, so ``fetch`` must only request beats for
    which it has room, and ``load`` must take its beats without waiting for anything that needs a
    fetch.

    Members
    -------
    fetch, load : In(ReadClient)
    bus : Out(BusRead)
        At most ``outstanding_reads`` bursts at a time.

    Timing: a burst that a splitter offers is offered to the bus in the same cycle, unless
    ``outstanding_reads`` are in flight, or the other reader has the bus: fetch has priority if both
    begin, and an offered burst stays until it is taken. Beats pass combinationally.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "fetch": In(ReadClient(config)),
                "load": In(ReadClient(config)),
                "bus": Out(BusRead(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fetch = fetch = BurstSplitter(self.config)
        m.submodules.load = load = BurstSplitter(self.config)
        m.submodules.owners = owners = Queue(1, self.config.outstanding_reads)
        for splitter, client in ((fetch, self.fetch), (load, self.load)):
            wiring.connect(m, wiring.flipped(client.request), splitter.i)

        chosen = Signal()  # 1: load; held while a burst waits for the bus
        holding = Signal()
        held = Signal()
        burst = self.bus.burst
        m.d.comb += [
            chosen.eq(Mux(holding, held, ~fetch.o.valid)),
            burst.valid.eq((fetch.o.valid | load.o.valid) & owners.i.ready),
            burst.payload.eq(Mux(chosen, load.o.payload, fetch.o.payload)),
            fetch.o.ready.eq(~chosen & burst.ready & owners.i.ready),
            load.o.ready.eq(chosen & burst.ready & owners.i.ready),
            owners.i.valid.eq(burst.valid & burst.ready),
            owners.i.payload.eq(chosen),
        ]
        m.d.sync += [holding.eq(burst.valid & ~burst.ready), held.eq(chosen)]

        beat = self.bus.beat
        for client, mine in ((self.fetch, ~owners.o.payload), (self.load, owners.o.payload)):
            m.d.comb += [
                client.beat.valid.eq(beat.valid & owners.o.valid & mine),
                client.beat.p.data.eq(beat.p.data),
                client.beat.p.resp.eq(beat.p.resp),
            ]
        m.d.comb += [
            beat.ready.eq(
                owners.o.valid & Mux(owners.o.payload, self.load.beat.ready, self.fetch.beat.ready)
            ),
            owners.o.ready.eq(beat.valid & beat.ready & beat.p.last),
        ]
        return m


class WriteDma(wiring.Component):
    """Converts write requests to bursts, and counts unacknowledged bursts.

    Members
    -------
    request : In(stream of REQUEST)
    beat : In(stream)
        The beats of all requests, in order.
    bus : Out(BusWrite)
    idle : Out(1)
        Every burst of every request accepted so far has its response.
    resp : Out(2)
        The worst response code of this cycle, 0 (OKAY) if there is none.

    Timing: bursts and beats pass combinationally; ``idle`` in the cycle after ``bus.done`` of the
    last burst.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "request": In(stream.Signature(REQUEST)),
                "beat": In(stream.Signature(write_beat(config))),
                "bus": Out(BusWrite(config)),
                "idle": Out(1),
                "resp": Out(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.splitter = splitter = BurstSplitter(self.config)
        wiring.connect(m, wiring.flipped(self.request), splitter.i)
        wiring.connect(m, splitter.o, wiring.flipped(self.bus.burst))
        wiring.connect(m, wiring.flipped(self.beat), wiring.flipped(self.bus.beat))
        # The shell admits WRITES_MAX bursts; it reports a response one cycle late.
        pending = Signal(range(WRITES_MAX + 2))
        opened = splitter.o.valid & splitter.o.ready
        m.d.sync += pending.eq(pending + opened - self.bus.done)
        m.d.comb += [
            self.idle.eq(splitter.i.ready & (pending == 0)),
            self.resp.eq(self.bus.resp),
        ]
        return m
