"""The compute engine: executes ``SEG``, ``OUT`` and ``EXEC``."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import INDEX_BITS
from sigbit_hw.arch.timing import EXECS_IN_FLIGHT
from sigbit_hw.gateware.compute.agu import NestWalker
from sigbit_hw.gateware.compute.array import MacArray
from sigbit_hw.gateware.compute.buffers import ActMemory, WeightMemory
from sigbit_hw.gateware.compute.drain import Drain
from sigbit_hw.gateware.compute.drain_walker import drain_layout
from sigbit_hw.gateware.compute.operands import OperandFetch
from sigbit_hw.gateware.interfaces import (
    ENGINES,
    ActRead,
    ActTrace,
    ActWrite,
    InstructionStream,
    ParamWrite,
    Retire,
    TableWrite,
    WeightWrite,
    instruction_layout,
)
from sigbit_hw.gateware.parts.pipeline import delay
from sigbit_hw.gateware.parts.queue import Queue

_RETIREMENT = data.StructLayout({"drain": 1, "signal": ENGINES, "index": INDEX_BITS})


class ComputeEngine(wiring.Component):
    """Executes SEG and OUT in one cycle each, and EXECs as steps of the array.

    Members
    -------
    ``i : In(InstructionStream)``
        SEG, OUT and EXEC whose tokens have been taken; ready while no EXEC waits or issues steps.
    ``setup_retired : Out(1)``
        A SEG or OUT was executed in this cycle.
    ``retire : Out(Retire)``
        An EXEC has written its last outputs, or its last step has left the array if it does not
        drain. In order.
    ``act_write : In(ActWrite)``, ``act_read : In(ActRead)``
        Slot writes of LOAD and FILL, slot reads of STORE, between the drain's writes.
    ``weight_write``, ``param_write``, ``table_write``
        Writes into the other memories.
    ``trace : Out(ActTrace)``
        All writes into the activation memory.
    ``busy, feeding, stalled : Out(1)``
        Any EXEC not retired; a step is issued in this cycle; none is, although there is an
        instruction.

    Timing: an EXEC accepted in cycle t begins in cycle t + 1, or later: with ``sync``, when all
    earlier EXECs have retired in earlier cycles; else when fewer than :data:`EXECS_IN_FLIGHT` are
    left. One cycle later it issues its first step, and from then on one per cycle; the last steps
    of draining blocks, however, are at least the drain time of the earlier block apart. It retires
    :attr:`result_latency` cycles after its last step if it does not drain, else
    :attr:`drain_latency` plus the drain time of its last block, minus one; at the earliest one
    cycle after the previous EXEC.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        self.acts, self.weights = ActMemory(config), WeightMemory(config)
        self.walker, self.fetch = NestWalker(config), OperandFetch(config)
        self.array, self.drain = MacArray(config), Drain(config)
        super().__init__(
            {
                "i": In(InstructionStream),
                "setup_retired": Out(1),
                "retire": Out(Retire()),
                "act_write": In(ActWrite(config)),
                "act_read": In(ActRead(config)),
                "weight_write": In(WeightWrite(config)),
                "param_write": In(ParamWrite(config)),
                "table_write": In(TableWrite(config)),
                "trace": Out(ActTrace(config)),
                "busy": Out(1),
                "feeding": Out(1),
                "stalled": Out(1),
            }
        )

    @property
    def result_latency(self) -> int:
        """Cycles from the issue of an EXEC's last step to its retirement if it does not drain."""
        return self.walker.latency + self.fetch.latency + self.array.latency + 1

    @property
    def drain_latency(self) -> int:
        """Cycles from the issue of a block's last step to one cycle after its first writes."""
        return self.result_latency - 1 + self.drain.latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.acts = acts = self.acts
        m.submodules.weights = weights = self.weights
        m.submodules.walker = walker = self.walker
        m.submodules.fetch = fetch = self.fetch
        m.submodules.array = array = self.array
        m.submodules.drain = drain = self.drain

        # SEG and OUT, in one cycle each.
        word, take = self.i.p.word, self.i.valid & self.i.ready
        views = {
            opcode: instruction_layout(opcode)(word[: instruction_layout(opcode).size])
            for opcode in (isa.Opcode.SEG, isa.Opcode.OUT, isa.Opcode.EXEC)
        }
        opcode = views[isa.Opcode.EXEC].opcode
        segment = views[isa.Opcode.SEG]
        out, execute = (
            Signal(instruction_layout(kind), name=kind.name.lower())
            for kind in (isa.Opcode.OUT, isa.Opcode.EXEC)
        )
        m.d.comb += [
            walker.segment.valid.eq(take & (opcode == isa.Opcode.SEG)),
            walker.segment.index.eq(segment.index),
            *(
                walker.segment.entry[name].eq(segment[name])
                for name in walker.segment.entry.shape().members
            ),
            self.setup_retired.eq(take & (opcode != isa.Opcode.EXEC)),
        ]
        with m.If(take & (opcode == isa.Opcode.OUT)):
            m.d.sync += out.eq(views[isa.Opcode.OUT])

        # EXEC: begins when everything that it has to wait for is done.
        waiting, begin = Signal(), Signal()
        in_flight = Signal(range(EXECS_IN_FLIGHT + 1))
        none, room = Signal(init=1), Signal(init=1)  # in flight; for another one
        config = self.config
        pool_wave = ceil_log2(config.pixels // config.drain_pixels)
        wave = pool_wave + ceil_log2(config.groups_per_block)
        m.d.comb += [
            begin.eq(waiting & Mux(execute.sync, none, room)),
            self.i.ready.eq(~waiting & ~walker.busy),
            walker.i.valid.eq(begin),
            walker.i.p.drain_cycles.eq(
                Mux(execute.mode, out.n_planes << pool_wave, out.n_planes << wave)
            ),
            *(
                walker.i.p[name].eq(execute[name])
                for name in walker.i.p.shape().members
                if name != "drain_cycles"
            ),
        ]
        index = Signal(INDEX_BITS)
        with m.If(begin):
            m.d.sync += waiting.eq(0)
        with m.If(take & (opcode == isa.Opcode.EXEC)):
            m.d.sync += [
                waiting.eq(1),
                execute.eq(views[isa.Opcode.EXEC]),
                index.eq(self.i.p.index),
            ]

        # EXECs in progress queue for the drain, if they drain, and for retirement.
        m.submodules.drains = drains = Queue(drain_layout(config), EXECS_IN_FLIGHT)
        m.submodules.retirements = retirements = Queue(_RETIREMENT, EXECS_IN_FLIGHT)
        connect(m, drains.o, drain.i)
        finished, drained, left = retirements.o, Signal.like(in_flight), Signal.like(in_flight)
        result = array.done_control
        m.d.comb += [
            drains.i.valid.eq(begin & execute.drain),
            *(
                drains.i.p[name].eq(source[name])
                for source in (execute, out)
                for name in drains.i.p.shape().members
                if name in source.shape().members
            ),
            retirements.i.valid.eq(begin),
            retirements.i.p.drain.eq(execute.drain),
            retirements.i.p.signal.eq(execute.signal),
            retirements.i.p.index.eq(index),
            finished.ready.eq(Mux(finished.p.drain, drained != 0, left != 0)),
            self.retire.valid.eq(finished.valid & finished.ready),
            self.retire.signal.eq(finished.p.signal),
            self.retire.index.eq(finished.p.index),
        ]
        m.d.sync += [
            in_flight.eq(in_flight + begin - self.retire.valid),
            none.eq(Mux(begin == self.retire.valid, none, ~begin & (in_flight == 1))),
            room.eq(
                Mux(begin == self.retire.valid, room, ~begin | (in_flight != EXECS_IN_FLIGHT - 1))
            ),
            drained.eq(drained + drain.end - (self.retire.valid & finished.p.drain)),
            left.eq(
                left
                + (array.done & result.end & ~result.drain)
                - (self.retire.valid & ~finished.p.drain)
            ),
        ]

        # Steps through the array, results into the drain.
        m.d.comb += [
            fetch.valid.eq(walker.valid),
            fetch.step.eq(walker.step),
            weights.word.eq(fetch.weight),
            array.valid.eq(fetch.fed),
            array.control.eq(fetch.control),
            array.weights.eq(weights.weights),
            *(a.eq(b) for a, b in zip(acts.words, fetch.words, strict=True)),
            *(a.eq(b) for a, b in zip(fetch.slots, acts.slots, strict=True)),
            *(a.eq(b) for a, b in zip(array.acts, fetch.acts, strict=True)),
            *(a.eq(b) for a, b in zip(drain.maxima, array.maxima, strict=True)),
            *(
                a.eq(b)
                for lanes, results in zip(drain.acc, array.acc, strict=True)
                for a, b in zip(lanes, results, strict=True)
            ),
            drain.start.eq(
                delay(
                    m,
                    fetch.fed & fetch.control.last & fetch.control.drain,
                    array.latency - 1,
                    "drain_start",
                    reset=True,
                )
            ),
            self.busy.eq(waiting | ~none),
            self.feeding.eq(walker.feeding),
            self.stalled.eq(~walker.feeding & (waiting | walker.busy | self.i.valid)),
        ]
        for bank, port in zip(acts.drain, drain.writes, strict=True):
            connect(m, port, bank)
        connect(m, flipped(self.act_write), acts.write)
        connect(m, flipped(self.act_read), acts.read)
        connect(m, acts.trace, flipped(self.trace))
        connect(m, flipped(self.weight_write), weights.write)
        connect(m, flipped(self.param_write), drain.param_write)
        connect(m, flipped(self.table_write), drain.table_write)
        return m
