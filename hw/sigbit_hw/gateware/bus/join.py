"""Several bus ports as one: bursts go to all ports, and beats are assembled from their parts."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.timing import BURSTS_AHEAD, WRITES_MAX
from sigbit_hw.gateware.bus.axi import BusRead, BusWrite, burst_layout, read_beat, write_beat
from sigbit_hw.gateware.parts.queue import Queue


class PortJoin(wiring.Component):
    """One wide bus over ``config.ports`` ports, each of which carries its part of every beat.

    No port ever waits for another one on the bus: there is room for the read data of every
    requested burst (at most ``outstanding_reads``, which the requester observes), and a write burst
    is announced when all of its data have arrived. The ports may therefore end in one interconnect,
    whatever its order.

    Members
    -------
    read : In(BusRead), write : In(BusWrite)
    port_reads : Out(BusRead).array(ports), port_writes : Out(BusWrite).array(ports)

    Timing: a read burst goes to all ports in the same cycle, when all of them accept it; a beat
    leaves from the second cycle on after its last part came. The beats of a write burst are
    accepted from the cycle after the burst on, while every port has room; ports see the burst from
    the second cycle on after its last beat. It is done one cycle after the last port is.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        ports = config.ports
        super().__init__(
            {
                "read": In(BusRead(config)),
                "write": In(BusWrite(config)),
                "port_reads": Out(BusRead(config, ports)).array(ports),
                "port_writes": Out(BusWrite(config, ports)).array(ports),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._pending = Signal(range(WRITES_MAX + 1))  # write bursts that are not done
        self._join_reads(m)
        self._split_writes(m)
        self._join_responses(m)
        return m

    def _join_reads(self, m: Module) -> None:
        config = self.config
        burst, beat = self.read.burst, self.read.beat
        free = Cat(port.burst.ready for port in self.port_reads).all()
        m.d.comb += burst.ready.eq(free)
        parts = []
        for k, port in enumerate(self.port_reads):
            m.submodules[f"read_{k}"] = queue = Queue(
                read_beat(config, config.ports), config.outstanding_reads * config.burst_beats
            )
            wiring.connect(m, wiring.flipped(port.beat), queue.i)
            m.d.comb += [
                port.burst.valid.eq(burst.valid & free),
                port.burst.payload.eq(burst.payload),
                queue.o.ready.eq(beat.valid & beat.ready),
            ]
            parts.append(queue.o)
        m.d.comb += [
            beat.valid.eq(Cat(part.valid for part in parts).all()),
            beat.p.data.eq(Cat(part.p.data for part in parts)),
            beat.p.resp.eq(reduce(or_, (part.p.resp for part in parts))),
            beat.p.last.eq(parts[0].p.last),
        ]

    def _split_writes(self, m: Module) -> None:
        """Accept one burst at a time and distribute its beats; the burst goes to the ports with its
        last beat."""
        config = self.config
        burst, beat = self.write.burst, self.write.beat
        current = Signal(burst_layout(config), reset_less=True)
        filling = Signal()
        left = Signal(8, reset_less=True)
        rooms = []
        moved, last = Signal(), Signal()
        for k, port in enumerate(self.port_writes):
            m.submodules[f"burst_{k}"] = bursts = Queue(burst_layout(config), 2 * BURSTS_AHEAD)
            m.submodules[f"write_{k}"] = beats = Queue(
                write_beat(config, config.ports), BURSTS_AHEAD * config.burst_beats
            )
            wiring.connect(m, bursts.o, wiring.flipped(port.burst))
            wiring.connect(m, beats.o, wiring.flipped(port.beat))
            m.d.comb += [
                bursts.i.valid.eq(moved & last),
                bursts.i.payload.eq(current),
                beats.i.valid.eq(moved),
                beats.i.p.data.eq(beat.p.data.word_select(k, 8 * config.port_bytes)),
                beats.i.p.strobe.eq(beat.p.strobe.word_select(k, config.port_bytes)),
            ]
            rooms += [bursts.i.ready, beats.i.ready]
        m.d.comb += [
            burst.ready.eq(~filling & (self._pending != WRITES_MAX)),
            beat.ready.eq(filling & Cat(rooms).all()),
            moved.eq(beat.valid & beat.ready),
            last.eq(left == 0),
        ]
        with m.If(burst.valid & burst.ready):
            m.d.sync += [current.eq(burst.payload), left.eq(burst.p.length), filling.eq(1)]
        with m.Elif(moved):
            m.d.sync += [left.eq(left - 1), filling.eq(~last)]

    def _join_responses(self, m: Module) -> None:
        """Complete a burst when every port has answered it; report an error immediately."""
        opened = self.write.burst.valid & self.write.burst.ready
        answers = []
        for k, port in enumerate(self.port_writes):
            answered = Signal(range(WRITES_MAX + 1), name=f"answered_{k}")
            m.d.sync += answered.eq(answered + port.done - self.write.done)
            answers.append(answered != 0)
        m.d.sync += self._pending.eq(self._pending + opened - self.write.done)
        m.d.comb += [
            self.write.done.eq(Cat(answers).all()),
            self.write.resp.eq(reduce(or_, (port.resp for port in self.port_writes))),
        ]
