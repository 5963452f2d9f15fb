"""A block memory behind AXI4, with a second port for a host."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from sigbit_hw.arch.bus import Response
from sigbit_hw.gateware.ports import axi_master


class AxiRam(wiring.Component):
    """A memory of ``words`` beats from address 0 on.

    Bursts are INCR, of full-width beats, as the accelerator makes them. One read burst and one
    write burst at a time; a beat a cycle; first read data two cycles after the address;
    bursts that begin beyond the memory get DECERR.

    Parameters
    ----------
    words : int
        Beats, a power of two.
    bus_bits : int
        Bits of a beat: 32 times a power of two.

    Members
    -------
    bus : In(axi_master(bus_bits))
        The AXI4 master's signals.
    host_index : In, host_write : In(1), host_read : In(1), host_data : In(32)
        Write or read 32-bit word ``host_index``: hold until ``host_done``.
    host_done : Out(1), host_word : Out(32)
        For one cycle: it is done; the word read, from a register.
    """

    def __init__(self, words: int, bus_bits: int) -> None:
        self.words, self.bus_bits = words, bus_bits
        super().__init__(
            {
                "bus": In(wiring.Signature(axi_master(bus_bits))),
                "host_index": In(exact_log2(words * bus_bits // 32)),
                "host_write": In(1),
                "host_read": In(1),
                "host_data": In(32),
                "host_done": Out(1),
                "host_word": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus, low, lanes = self.bus, exact_log2(self.bus_bits // 8), self.bus_bits // 32
        lines, bytes_ = [], self.bus_bits // 8
        for k in range(bytes_):
            m.submodules[f"byte_{k}"] = line = Memory(shape=8, depth=self.words, init=[])
            lines.append((line.read_port(transparent_for=()), line.write_port()))
        beat_bits = exact_log2(self.words)
        reads, read_index = Signal(), Signal(beat_bits)
        written, write_index, data = Signal(bytes_), Signal(beat_bits), Signal(self.bus_bits)
        word = Cat(read.data for read, _ in lines)
        for k, (read, write) in enumerate(lines):
            m.d.comb += [
                read.en.eq(reads),
                read.addr.eq(read_index),
                write.en.eq(written[k]),
                write.addr.eq(write_index),
                write.data.eq(data.word_select(k, 8)),
            ]
        index = self.host_index[exact_log2(lanes) :]
        lane = self.host_index[: exact_log2(lanes)]

        # Reads: the port's output is held until it is taken; the host reads between bursts.
        next_read, reads_left, read_fault = Signal(beat_bits), Signal(9), Signal()
        issue, host_reads, fetched, host_read_done = Signal(), Signal(), Signal(), Signal()
        accepts, free = Signal(), Signal()
        m.d.comb += [
            accepts.eq(bus.arvalid & bus.arready),
            free.eq((reads_left == 0) & ~bus.rvalid),
            issue.eq((reads_left != 0) & (~bus.rvalid | bus.rready)),
            host_reads.eq(self.host_read & ~fetched & ~host_read_done & free & ~bus.arvalid),
            reads.eq(issue | host_reads),
            read_index.eq(Mux(issue, next_read, index)),
            bus.rdata.eq(word),
            bus.rresp.eq(Mux(read_fault, Response.DECERR, Response.OKAY)),
        ]
        m.d.sync += [
            self.host_word.eq(word.word_select(lane, 32)),
            fetched.eq(host_reads),
            host_read_done.eq(fetched),
            bus.arready.eq(free & ~accepts & ~host_reads),
        ]
        with m.If(accepts):
            m.d.sync += [
                next_read.eq(bus.araddr[low:]),
                reads_left.eq(bus.arlen + 1),
                read_fault.eq(bus.araddr[low + beat_bits :].any()),
            ]
        with m.If(issue):
            m.d.sync += [
                next_read.eq(next_read + 1),
                reads_left.eq(reads_left - 1),
                bus.rvalid.eq(1),
                bus.rlast.eq(reads_left == 1),
            ]
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)

        # Writes: the host writes between bursts.
        next_write, writing, write_fault = Signal(beat_bits), Signal(), Signal()
        host_writes, host_write_done = Signal(), Signal()
        m.d.sync += host_write_done.eq(host_writes)
        m.d.comb += [
            bus.awready.eq(~writing & ~bus.bvalid),
            bus.wready.eq(writing),
            bus.bresp.eq(Mux(write_fault, Response.DECERR, Response.OKAY)),
            host_writes.eq(self.host_write & ~writing & ~host_write_done),
            write_index.eq(Mux(writing, next_write, index)),
            data.eq(Mux(writing, bus.wdata, self.host_data.replicate(lanes))),
            written.eq(
                Mux(
                    writing,
                    Mux(bus.wvalid & ~write_fault, bus.wstrb, 0),
                    Cat((host_writes & (lane == k)).replicate(4) for k in range(lanes)),
                )
            ),
            self.host_done.eq(host_write_done | host_read_done),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [
                writing.eq(1),
                next_write.eq(bus.awaddr[low:]),
                write_fault.eq(bus.awaddr[low + beat_bits :].any()),
            ]
        with m.If(writing & bus.wvalid):
            m.d.sync += next_write.eq(next_write + 1)
            with m.If(bus.wlast):
                m.d.sync += [writing.eq(0), bus.bvalid.eq(1)]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        return m
