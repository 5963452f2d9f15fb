"""The bus shell: what stands between the engines, which may be reset at any time, and the AXI4
master port, which must keep every promise made on it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.bus import ADDRESS_BITS, PAGE_BITS
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.timing import WRITES_MAX
from sigbit_hw.gateware.parts.queue import Skid
from sigbit_hw.gateware.ports import axi_master

_INCR = 1
_CACHE = 0b0011  # normal memory, bufferable, not cached


def burst_layout(config: ArchConfig) -> data.StructLayout:
    """One INCR burst of full-width beats: the first one's number in the DMA window and AxLEN
    (beats less one).

    Beat n lies at ``n * port_bytes`` of every port's part of the window. A burst must not cross 4
    KiB there.
    """
    return data.StructLayout(
        {
            "beat": isa.ADDRESS_BITS - exact_log2(config.bus_bytes),
            "length": 8,
        }
    )


def read_beat(config: ArchConfig, ports: int = 1) -> data.StructLayout:
    """A read beat, or its part on one of ``ports`` ports: data, response code, last of its
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
    """Read bursts and their beats, in order; with ``ports``, of one of so many ports."""

    def __init__(self, config: ArchConfig, ports: int = 1) -> None:
        super().__init__(
            {
                "burst": Out(stream.Signature(burst_layout(config))),
                "beat": In(stream.Signature(read_beat(config, ports))),
            }
        )


class BusWrite(wiring.Signature):
    """Write bursts and their beats in the same order; with ``ports``, of one of so many ports.

    ``done``, for one cycle a burst: it has its response, from every port. ``resp``: the worst
    response code of this cycle, 0 (OKAY) when there is none.
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
    """One AXI4 master port with a plug that can be pulled.

    While ``enable`` is high, bursts and beats pass through, one register each way (two for read
    data). When it falls, whatever the engines do: addresses that were accepted stay valid until
    the bus takes them, beats that accepted write bursts still need are supplied with strobes 0,
    late read data and responses are swallowed. ``idle`` says that nothing is outstanding. All
    outputs to the bus are registers, but RREADY's source is one too.

    Members
    -------
    read : In(BusRead), write : In(BusWrite)
        The engines' side, as wide as the port. A write burst is accepted when all beats of the one
        before are; WLAST is made here.
    base : In(28), size : In(32)
        Bus address of this port's part of the DMA window, in pages of 4 KiB; bytes of the window,
        over all ports. Both are stable while ``enable`` is high, and for two cycles before.
    wraps : Out(1)
        The part ends beyond the last bus address.
    enable : In(1), idle : Out(1)
    progress : Out(1)
        Some channel transferred in the last cycle.
    ar…, r…, aw…, w…, b… : as in ``ports.axi_master``

    Timing: a burst or write beat accepted in cycle t is on the bus from t + 1 on, until the bus
    takes it; the next one is accepted in the cycle in which the bus takes it, or later. A write
    burst is accepted from the cycle on after the last beat of the one before was, its first beat
    from the cycle on after the burst. A read beat that the bus gives in cycle t is offered from t +
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
                "wraps": Out(1),
                "enable": In(1),
                "idle": Out(1),
                "progress": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size = exact_log2(self.config.port_bytes)
        for burst, cache, beat_size in (
            (self.arburst, self.arcache, self.arsize),
            (self.awburst, self.awcache, self.awsize),
        ):
            m.d.comb += [burst.eq(_INCR), cache.eq(_CACHE), beat_size.eq(size)]
        self._check_base(m)
        reads = self._read_channels(m)
        writes = self._write_channels(m)
        m.d.comb += self.idle.eq((reads == 0) & (writes == 0))
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
        """Whether the page of the window's last byte can be addressed."""
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

    def _read_channels(self, m: Module) -> Signal:
        """Address register and read data; returns the number of bursts not yet passed on."""
        burst, beat = self.read.burst, self.read.beat
        m.submodules.skid = skid = Skid(read_beat(self.config, self.config.ports))
        # A burst is counted for a cycle longer than it takes.
        reads = Signal(range(self.config.outstanding_reads + 2))
        m.d.comb += [
            burst.ready.eq(self.enable & (~self.arvalid | self.arready)),
            skid.i.valid.eq(self.rvalid),
            skid.i.p.data.eq(self.rdata),
            skid.i.p.resp.eq(self.rresp),
            skid.i.p.last.eq(self.rlast),
            self.rready.eq(skid.i.ready),
            beat.valid.eq(self.enable & skid.o.valid),
            beat.payload.eq(skid.o.payload),
            skid.o.ready.eq(~self.enable | beat.ready),
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
        return reads

    def _write_channels(self, m: Module) -> Signal:
        """Address and data registers, responses; returns the number of bursts without response."""
        burst, beat = self.write.burst, self.write.beat
        writes = Signal(range(WRITES_MAX + 1))
        owing = Signal()
        left = Signal(8, reset_less=True)
        free = ~self.wvalid | self.wready
        m.d.comb += [
            burst.ready.eq(
                self.enable & ~owing & (~self.awvalid | self.awready) & (writes != WRITES_MAX)
            ),
            beat.ready.eq(self.enable & owing & free),
            self.bready.eq(1),
        ]
        opened = burst.valid & burst.ready
        m.d.sync += [
            writes.eq(writes + opened - self.bvalid),
            self.write.done.eq(self.enable & self.bvalid),
            self.write.resp.eq(Mux(self.enable & self.bvalid, self.bresp, 0)),
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
                self.wvalid.eq(owing & (beat.valid | ~self.enable)),
                self.wdata.eq(beat.p.data),
                self.wstrb.eq(Mux(self.enable, beat.p.strobe, 0)),
                self.wlast.eq(left == 0),
            ]
            with m.If(owing & (beat.valid | ~self.enable)):
                m.d.sync += [left.eq(left - 1), owing.eq(left != 0)]
        return writes
