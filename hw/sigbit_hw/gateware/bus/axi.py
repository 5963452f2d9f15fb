"""The bus shell between the engines, which may be reset at any time, and the AXI4 master port,
which must keep every protocol obligation."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.bus import ADDRESS_BITS, ATTRIBUTES, PAGE_BITS
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.timing import WRITES_MAX
from sigbit_hw.gateware.bus.due import ReadsDue, ResponsesDue
from sigbit_hw.gateware.parts.queue import Skid
from sigbit_hw.gateware.ports import axi_master

_INCR = 1


def burst_layout(config: ArchConfig) -> data.StructLayout:
    """One INCR burst of full-width beats: the number of its first beat in the DMA window, and AxLEN
    (number of beats minus one).

    Beat n is at ``n * port_bytes`` of every port's part of the window. A burst must not cross 4
    KiB there.
    """
    return data.StructLayout(
        {
            "beat": isa.ADDRESS_BITS - exact_log2(config.bus_bytes),
            "length": 8,
        }
    )


def read_beat(config: ArchConfig, ports: int = 1) -> data.StructLayout:
    """A read beat, or its part on one of ``ports`` ports: data, response code, last beat of its
    burst."""
    return data.StructLayout({"data": config.bus_bits // ports, "resp": 2, "last": 1})


def write_beat(config: ArchConfig, ports: int = 1) -> data.StructLayout:
    """A write beat, or its part on one of ``ports`` ports: data and byte strobes."""
    return data.StructLayout(
        {
            "data": config.bus_bits // ports,
            "strobe": config.bus_bytes // ports,
        }
    )


class BusRead(wiring.Signature):
    """Read bursts and their beats, in order; with ``ports``, those of one of ``ports`` ports."""

    def __init__(self, config: ArchConfig, ports: int = 1) -> None:
        super().__init__(
            {
                "burst": Out(stream.Signature(burst_layout(config))),
                "beat": In(stream.Signature(read_beat(config, ports))),
            }
        )


class BusWrite(wiring.Signature):
    """Write bursts and their beats in the same order; with ``ports``, those of one of ``ports``
    ports.

    ``done``, for one cycle per burst: the burst has its response, from every port. ``resp``: the
    worst response code of this cycle, 0 (OKAY) if there is none.
    """

    def __init__(self, config: ArchConfig, ports: int = 1) -> None:
        super().__init__(
            {
                "burst": Out(stream.Signature(burst_layout(config))),
                "beat": Out(stream.Signature(write_beat(config, ports))),
                "done": In(1),
                "resp": In(2),
            }
        )


class AxiShell(wiring.Component):
    """One AXI4 master port that can be disconnected, and that trusts no slave.

    While ``enable`` is high, bursts and beats pass through, one register each way (two for read
    data). When it falls, regardless of the engines: addresses that were accepted stay valid until
    the bus takes them, beats that accepted write bursts still need are supplied with strobes 0, and
    late read data and responses are discarded. ``idle`` says that nothing is outstanding. All
    outputs to the bus are registers, as is the source of RREADY.

    Beats and responses are compared with the outstanding ones (:mod:`~sigbit_hw.gateware.bus.due`),
    and identifiers with the only valid one. After the first mismatch, the port is *astray*: it no
    longer knows what is outstanding. It then passes nothing on, including that beat or response,
    behaves as if disconnected, and is not idle until ``forget`` says that no more will arrive.

    Members
    -------
    read : In(BusRead), write : In(BusWrite)
        The engines' side, as wide as the port. A write burst is accepted when all beats of the
        previous one have been; WLAST is generated here.
    base : In(28), size : In(32)
        Bus address of this port's part of the DMA window, in pages of 4 KiB; bytes of the window,
        over all ports. Both are stable while ``enable`` is high, and for two cycles before.
    attributes : In(12)
        AxCACHE, AxPROT and AxQOS with the layout of ``bus.ATTRIBUTES``, stable while the port is
        not idle.
    wraps : Out(1)
        The part ends beyond the last bus address.
    enable : In(1), idle : Out(1)
    violated : Out(1)
        For one cycle, the one after it: the slave broke the protocol.
    forget : In(1)
        Everything that the slave was going to send has arrived; an astray port with nothing to send
        itself starts afresh.
    progress : Out(1)
        Some channel transferred in the last cycle.
    ar…, r…, aw…, w…, b… : as in ``ports.axi_master``

    Timing: a burst or write beat accepted in cycle t is on the bus from t + 1 on, until the bus
    takes it; the next one is accepted in the cycle in which the bus takes it, or later. A write
    burst is accepted from the cycle after the last beat of the previous one was, its first beat
    from the cycle after the burst. A read beat that the bus delivers in cycle t is offered from t +
    1 on, a response from the bus in t reported in t + 1.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                **axi_master(8 * config.port_bytes),
                "read": In(BusRead(config, config.ports)),
                "write": In(BusWrite(config, config.ports)),
                "base": In(ADDRESS_BITS - PAGE_BITS),
                "size": In(isa.ADDRESS_BITS),
                "attributes": In(max(part.stop for part in ATTRIBUTES.values())),
                "wraps": Out(1),
                "enable": In(1),
                "violated": Out(1),
                "forget": In(1),
                "idle": Out(1),
                "progress": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size = exact_log2(self.config.port_bytes)
        for way in ("ar", "aw"):
            m.d.comb += [
                getattr(self, f"{way}burst").eq(_INCR),
                getattr(self, f"{way}size").eq(size),
            ]
            for name, part in ATTRIBUTES.items():
                m.d.comb += getattr(self, way + name).eq(self.attributes[part])
        self._check_base(m)
        astray, anew, quiet = Signal(), Signal(), Signal()
        self._live, self._anew = Signal(), anew
        m.d.comb += [
            self._live.eq(self.enable & ~astray),
            quiet.eq(~(self.arvalid | self.awvalid | self.wvalid)),
            anew.eq(astray & self.forget & quiet),
        ]
        reads, wrong_beat = self._read_channels(m)
        writes, wrong_response = self._write_channels(m)
        wrong = wrong_beat | wrong_response
        m.d.sync += [
            astray.eq(wrong | (astray & ~anew)),
            self.violated.eq(wrong & ~astray),
        ]
        m.d.comb += self.idle.eq(~astray & (reads == 0) & (writes == 0))
        m.d.sync += self.progress.eq(
            Cat(
                self.arvalid & self.arready,
                self.rvalid & self.rready,
                self.awvalid & self.awready,
                self.wvalid & self.wready,
                self.bvalid,
            ).any()
        )
        return m

    def _check_base(self, m: Module) -> None:
        """Check that the page of the window's last byte is addressable."""
        last = Signal(isa.ADDRESS_BITS - PAGE_BITS - exact_log2(self.config.ports))
        some = Signal()
        m.d.sync += [
            last.eq((self.size - 1)[: isa.ADDRESS_BITS] >> isa.ADDRESS_BITS - len(last)),
            some.eq(self.size.any()),
            self.wraps.eq(some & (self.base + last)[len(self.base)]),
        ]

    def _address(self, beat: Signal) -> Cat:
        """Bus address of a beat of the window."""
        offset = beat << exact_log2(self.config.port_bytes)
        return Cat(offset[:PAGE_BITS], (self.base + offset[PAGE_BITS:])[: len(self.base)])

    def _read_channels(self, m: Module) -> tuple[Signal, Value]:
        """Address register and read data; returns the number of bursts not yet passed on, and a
        flag for a wrong beat from the bus."""
        burst, beat = self.read.burst, self.read.beat
        m.submodules.reads_due = due = ReadsDue(self.config)
        m.submodules.skid = skid = Skid(read_beat(self.config, self.config.ports))
        # A burst is counted for one cycle longer than it takes.
        reads = Signal(range(self.config.outstanding_reads + 2))
        m.d.comb += [
            burst.ready.eq(self._live & (~self.arvalid | self.arready)),
            skid.i.valid.eq(self.rvalid),
            skid.i.p.data.eq(self.rdata),
            skid.i.p.resp.eq(self.rresp),
            skid.i.p.last.eq(self.rlast),
            self.rready.eq(skid.i.ready),
            beat.valid.eq(self._live & skid.o.valid),
            beat.payload.eq(skid.o.payload),
            skid.o.ready.eq(~self._live | beat.ready),
            due.opened.eq(self.arvalid & self.arready),
            due.length.eq(self.arlen),
            due.moved.eq(self.rvalid & self.rready),
            due.last.eq(self.rlast),
            due.forget.eq(self._anew),
        ]
        opened = burst.valid & burst.ready
        closed = Signal()
        m.d.sync += [
            closed.eq(skid.o.valid & skid.o.ready & skid.o.p.last),
            reads.eq(reads + opened - closed),
        ]
        with m.If(opened):
            m.d.sync += [
                self.arvalid.eq(1),
                self.araddr.eq(self._address(burst.p.beat)),
                self.arlen.eq(burst.p.length),
            ]
        with m.Elif(self.arready):
            m.d.sync += self.arvalid.eq(0)
        with m.If(self._anew):
            m.d.sync += [reads.eq(0), closed.eq(0)]
        return reads, due.wrong | (due.moved & self.rid)

    def _write_channels(self, m: Module) -> tuple[Signal, Value]:
        """Address and data registers, responses; returns the number of bursts without a response,
        and a flag for a wrong response from the bus."""
        burst, beat = self.write.burst, self.write.beat
        m.submodules.responses_due = due = ResponsesDue()
        owing = Signal()
        left = Signal(8, reset_less=True)
        free = ~self.wvalid | self.wready
        opened = burst.valid & burst.ready
        answered = self.bvalid & ~self.bid
        m.d.comb += [
            burst.ready.eq(
                self._live & ~owing & (~self.awvalid | self.awready) & (due.open != WRITES_MAX)
            ),
            beat.ready.eq(self._live & owing & free),
            self.bready.eq(1),
            due.opened.eq(opened),
            due.offered.eq(self.awvalid),
            due.sent.eq(self.wvalid & self.wready & self.wlast),
            due.answered.eq(answered),
            due.forget.eq(self._anew),
        ]
        m.d.sync += [
            self.write.done.eq(self._live & answered & due.right),
            self.write.resp.eq(Mux(self._live & answered & due.right, self.bresp, 0)),
        ]
        with m.If(opened):
            m.d.sync += [
                self.awvalid.eq(1),
                self.awaddr.eq(self._address(burst.p.beat)),
                self.awlen.eq(burst.p.length),
                owing.eq(1),
                left.eq(burst.p.length),
            ]
        with m.Elif(self.awready):
            m.d.sync += self.awvalid.eq(0)
        with m.If(free):
            m.d.sync += [
                self.wvalid.eq(owing & (beat.valid | ~self._live)),
                self.wdata.eq(beat.p.data),
                self.wstrb.eq(Mux(self._live, beat.p.strobe, 0)),
                self.wlast.eq(left == 0),
            ]
            with m.If(owing & (beat.valid | ~self._live)):
                m.d.sync += [left.eq(left - 1), owing.eq(left != 0)]
        return due.open, self.bvalid & (self.bid | ~due.right)
