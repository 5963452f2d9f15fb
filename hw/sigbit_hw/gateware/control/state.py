"""Start, done, error, watchdog and counters: the machine's state as shown by the register file."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch import regs
from sigbit_hw.arch.isa import INDEX_BITS, Engine
from sigbit_hw.arch.regs import Cause
from sigbit_hw.gateware.control.counters import Counters, CycleLimit
from sigbit_hw.gateware.interfaces import ENGINES, Error
from sigbit_hw.gateware.parts.pipeline import delay
from sigbit_hw.gateware.ports import ENGINE_NAMES

ERROR_SOURCES = ("sequencer", "fetch", "load", "store")
"""Sources of errors; of several in the same cycle the first in this order counts."""


COUNTER_NAMES = (*(name.lower() for name, _ in regs.COUNTERS), "cycles_hi", "overflow")
"""Names of the registers driven by the counters."""


class Hold(wiring.Component):
    """A block's reset, in a register of its own: a single register for all blocks would be far from
    most of them, and tools merge equal registers of one module.

    Members
    -------
    runs : In(1)
        Value of ``Control.running`` in the next cycle.
    reset : Out(1)
        The block is to be held in reset in this cycle: its complement.
    """

    runs: In(1)
    reset: Out(1, init=1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.reset.eq(~self.runs)
        return m


class Control(wiring.Component):
    """Runs the machine from start to done or error.

    Members
    -------
    control : In(32), watchdog : In(32), cycle_limit : In(64)
        Registers CONTROL (pulses), WATCHDOG and CYCLE_LIMIT.
    status, cause, cause_index, irq_set, irq_clear : Out(32)
        Registers STATUS, CAUSE, CAUSE_INDEX; bits to set and to clear in IRQ_STATUS.
    locked : Out(1), write_refused : In(1)
        The registers of a run must not be written: something runs or is outstanding; a write to one
        of them is refused.
    count_{counter} : Out(32)
        Inputs of the registers of ``regs.COUNTERS``, and of ``cycles_hi`` and ``overflow``.
    running : Out(1)
        Between start and done, error or soft reset. The engines are held in reset while it is low.
    runs : Out(1)
        Its value in the next cycle.
    bus_idle : In(1), bus_progress : In(1), bus_wraps : In(1)
        Combined from the bus ports, from any or from all. ``bus_wraps``: a window lies beyond the
        addresses of a port, which the start reports.
    bus_violated : In(1), bus_quiet : Out(1)
        A slave broke the protocol, which is an error whether something runs or not; nothing runs,
        and nothing has moved on any port for WATCHDOG cycles.
    error_{source} : In(Error)
    done : In(1), oldest : In(24)
        From the sequencer: end of program; the instruction to report for a standstill.
    waiting, executing, started, retired : In(3)
        By engine.
    compute_busy, compute_feeding, compute_stalled, setup_retired : In(1)
    act_written, table_written : In(1)
        ``act_written``: some slot of the activation memory is written; ``table_written``: a table
        entry is written; one beat holds hundreds of entries.

    Timing: signals from the engines are registered first. ``done`` or an error in cycle t ends the
    run in t + 1: ``running`` falls in t + 2, and the counters stand still from t + 3 on.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "control": In(32),
                "watchdog": In(32),
                "cycle_limit": In(64),
                **{
                    name: Out(32)
                    for name in ("status", "cause", "cause_index", "irq_set", "irq_clear")
                },
                **{f"count_{name}": Out(32) for name in COUNTER_NAMES},
                "locked": Out(1),
                "write_refused": In(1),
                "running": Out(1),
                "runs": Out(1),
                "bus_idle": In(1),
                "bus_progress": In(1),
                "bus_wraps": In(1),
                "bus_violated": In(1),
                "bus_quiet": Out(1),
                **{f"error_{source}": In(Error()) for source in ERROR_SOURCES},
                "done": In(1),
                "oldest": In(INDEX_BITS),
                **{name: In(ENGINES) for name in ("waiting", "executing", "started", "retired")},
                **{
                    name: In(1)
                    for name in (
                        "compute_busy",
                        "compute_feeding",
                        "compute_stalled",
                        "setup_retired",
                        "act_written",
                        "table_written",
                    )
                },
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        done, error = Signal(), Signal()
        wanted, start, reset, failed = Signal(), Signal(), Signal(), Signal()
        hung, spent = self._watch(m, start), Signal()
        violated = Signal()
        finished = Signal()
        sources = {}
        for name in ERROR_SOURCES:
            said = getattr(self, f"error_{name}")
            source = sources[name] = Error().create(path=(f"noted_{name}",))
            m.d.sync += [
                source.valid.eq(said.valid & self.running),
                source.cause.eq(said.cause),
                source.index.eq(said.index),
            ]
        m.d.sync += [finished.eq(self.done & self.running), violated.eq(self.bus_violated)]
        m.d.comb += [
            reset.eq((self.control & regs.CONTROL_SOFT_RESET).any()),
            wanted.eq((self.control & regs.CONTROL_START).any() & ~reset),
            start.eq(wanted & ~self.locked & ~error & ~violated),
            self.irq_clear.eq(
                Mux(start, regs.IRQ_DONE | regs.IRQ_ERROR, 0) | Mux(reset, regs.IRQ_BITS, 0)
            ),
            self.status.eq(
                Mux(self.running, regs.STATUS_BUSY, 0)
                | Mux(done, regs.STATUS_DONE, 0)
                | Mux(error, regs.STATUS_ERROR, 0)
                | Mux(self.bus_idle, regs.STATUS_BUS_IDLE, 0)
            ),
        ]
        misplaced = start & self.bus_wraps
        stopped = self.running & (hung | spent | Cat(s.valid for s in sources.values()).any())
        m.d.comb += [
            failed.eq(stopped | (violated & ~error)),
            self.bus_quiet.eq(hung & ~self.running),
        ]
        ended = self.running & finished & ~failed
        refused = (wanted & ~start) | self.write_refused
        m.d.comb += self.irq_set.eq(
            Mux(ended & ~reset, regs.IRQ_DONE, 0)
            | Mux((failed & ~reset) | misplaced, regs.IRQ_ERROR, 0)
            | Mux(refused, regs.IRQ_REFUSED, 0)
        )
        goes_on = self.running & ~failed & ~ended
        m.d.comb += self.runs.eq(~reset & ((start & ~misplaced) | goes_on))
        m.d.sync += [self.running.eq(self.runs), self.locked.eq(self.runs | ~self.bus_idle)]
        with m.If(reset):
            m.d.sync += [
                done.eq(0),
                error.eq(0),
                self.cause.eq(Cause.NONE),
                self.cause_index.eq(0),
            ]
        with m.Elif(start):
            m.d.sync += done.eq(0)
            with m.If(misplaced):
                m.d.sync += [error.eq(1), self.cause.eq(Cause.BASE)]
        with m.Elif(failed):
            m.d.sync += [
                error.eq(1),
                self.cause.eq(Mux(hung, Cause.WATCHDOG, Cause.CYCLE_LIMIT)),
                self.cause_index.eq(self.oldest),
            ]
            for source in reversed(sources.values()):
                with m.If(source.valid):
                    m.d.sync += [self.cause.eq(source.cause), self.cause_index.eq(source.index)]
            with m.If(violated):
                m.d.sync += [
                    self.cause.eq(Cause.BUS_PROTOCOL),
                    self.cause_index.eq(self.oldest),
                ]
        with m.Elif(ended):
            m.d.sync += done.eq(1)
        self._count(m, start | reset, spent)
        return m

    def _watch(self, m: Module, start: Signal) -> Signal:
        """The watchdog: high when nothing has moved for WATCHDOG cycles since the start or the last
        movement."""
        hung = Signal()
        idle = Signal.like(self.watchdog)
        events = Cat(
            self.bus_progress,
            self.compute_feeding,
            self.act_written,
            self.table_written,
            self.setup_retired,
            self.started,
            self.retired,
        )
        with m.If(delay(m, events, 1, "events", reset=True).any() | start):
            m.d.sync += [idle.eq(0), hung.eq(0)]
        with m.Elif(~hung):
            m.d.sync += [
                idle.eq(idle + 1),
                hung.eq((idle >= self.watchdog) & (self.watchdog != 0)),
            ]
        return hung

    def _count(self, m: Module, clear: Signal, spent: Signal) -> None:
        """The counters; ``spent``: the run has reached its limit."""
        m.submodules.counters = counters = Counters()
        m.submodules.limit = limit = CycleLimit()
        m.d.sync += [
            counters.clear.eq(clear),
            counters.enable.eq(self.running),
            counters.add_compute_busy.eq(self.compute_feeding),
            counters.add_compute_wait.eq(self.waiting[Engine.COMPUTE] & ~self.compute_busy),
            counters.add_compute_stall.eq(self.compute_stalled),
        ]
        m.d.comb += [
            counters.add_cycles.eq(1),
            *(getattr(self, f"count_{name}").eq(getattr(counters, name)) for name in COUNTER_NAMES),
            limit.clear.eq(counters.clear),
            limit.cycles.eq(Cat(counters.cycles, counters.cycles_hi)),
            limit.limit.eq(self.cycle_limit),
            spent.eq(counters.enable & limit.reached),
        ]
        for engine in (Engine.LOAD, Engine.STORE):
            busy = self.executing[engine]
            name = ENGINE_NAMES[engine]
            m.d.sync += [
                getattr(counters, f"add_{name}_busy").eq(busy),
                getattr(counters, f"add_{name}_wait").eq(self.waiting[engine] & ~busy),
            ]
        events = delay(m, Cat(self.retired, self.setup_retired), 1, "finished", reset=True)
        m.d.comb += counters.add_retired.eq(sum(events[1:], events[0]))
