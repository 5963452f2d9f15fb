"""The sequencer: dispatches checked instructions in order to the engines' queues, and manages the
tokens."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import INDEX_BITS, Engine
from sigbit_hw.arch.regs import Cause
from sigbit_hw.arch.timing import IN_FLIGHT, SETTLE
from sigbit_hw.gateware.control.decode import DECODED
from sigbit_hw.gateware.interfaces import (
    ENGINES,
    Error,
    InstructionStream,
    Retire,
    instruction_layout,
)
from sigbit_hw.gateware.parts.pipeline import delay
from sigbit_hw.gateware.parts.product import truth_table
from sigbit_hw.gateware.parts.queue import Queue
from sigbit_hw.gateware.ports import ENGINE_NAMES

_HEADER = data.StructLayout({f.name: f.width for f in isa.HEADER})


def _queue_bits(engine: Engine) -> int:
    """Bits of a word that the engine's instructions use."""
    return max(instruction_layout(op).size for op, e in isa.ENGINE_OF.items() if e is engine)


class Event(wiring.Signature):
    """Event of the instruction with this index, in this cycle."""

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "index": Out(INDEX_BITS)})


class EngineQueue(wiring.Component):
    """Queue of one engine: instructions wait at its head for their tokens; those in the engine are
    tracked.

    Members
    -------
    i : In(stream of {word, index}), o : Out(InstructionStream)
        An instruction leaves when every engine in its wait mask has a token for it.
    tokens : In(3), take : Out(3)
        Engines that have a token for this one; the tokens taken in this cycle.
    retired : In(1)
        The oldest signalling instruction in the engine has finished.
    start : Out(Event)
        A signalling instruction enters the engine.
    waiting : Out(1)
        The head lacks a token.
    executing : Out(1)
        Signalling instructions are in the engine.
    empty : Out(1)
    oldest : Out(Event)
        ``valid`` while there is an unfinished instruction in engine or queue; the oldest one's
        index.
    """

    def __init__(self, config: ArchConfig, engine: Engine) -> None:
        self.config, self.engine = config, engine
        self._shape = data.StructLayout({"word": _queue_bits(engine), "index": INDEX_BITS})
        super().__init__(
            {
                "i": In(stream.Signature(self._shape)),
                "o": Out(InstructionStream),
                "tokens": In(ENGINES),
                "take": Out(ENGINES),
                "retired": In(1),
                "start": Out(Event()),
                "waiting": Out(1),
                "executing": Out(1),
                "empty": Out(1),
                "oldest": Out(Event()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # In the queue an instruction has a mark if its opcode retires; the others finish
        # immediately.
        m.submodules.queue = queue = Queue(
            data.StructLayout({**self._shape.members, "tracked": 1}), self.config.queue_depth
        )
        m.submodules.inside = inside = Queue(INDEX_BITS, IN_FLIGHT)
        head = queue.o
        header = data.View(_HEADER, head.p.word[: _HEADER.size])
        opcode = data.View(_HEADER, self.i.p.word[: _HEADER.size]).opcode
        granted = Signal()
        signalling = [op for op in isa.SIGNALLING if isa.ENGINE_OF[op] is self.engine]
        enters = self.o.valid & self.o.ready
        in_flight = Signal(range(IN_FLIGHT + 1))
        room = Signal(init=1)  # for another one in flight
        m.d.comb += [
            queue.i.valid.eq(self.i.valid),
            queue.i.p.word.eq(self.i.p.word),
            queue.i.p.index.eq(self.i.p.index),
            queue.i.p.tracked.eq(Cat(opcode == op for op in sorted(signalling)).any()),
            self.i.ready.eq(queue.i.ready),
            granted.eq((header.wait & ~self.tokens) == 0),
            self.o.p.word.eq(head.p.word),
            self.o.p.index.eq(head.p.index),
            self.o.valid.eq(head.valid & granted & room),
            head.ready.eq(enters),
            self.take.eq(Mux(enters, header.wait, 0)),
            self.start.valid.eq(enters & head.p.tracked),
            self.start.index.eq(head.p.index),
            inside.i.valid.eq(self.start.valid),
            inside.i.payload.eq(head.p.index),
            inside.o.ready.eq(self.retired),
            self.waiting.eq(head.valid & ~granted),
            self.oldest.index.eq(Mux(inside.o.valid, inside.o.payload, head.p.index)),
            self.oldest.valid.eq(inside.o.valid | head.valid),
        ]
        queued = Signal(range(self.config.queue_depth + 1))
        m.d.sync += [
            in_flight.eq(in_flight + self.start.valid - self.retired),
            room.eq(
                Mux(
                    self.start.valid == self.retired,
                    room,
                    self.retired | (in_flight != IN_FLIGHT - 1),
                )
            ),
            self.executing.eq(
                Mux(
                    self.start.valid == self.retired,
                    self.executing,
                    self.start.valid | (in_flight != 1),
                )
            ),
            queued.eq(queued + (self.i.valid & self.i.ready) - enters),
        ]
        m.d.comb += self.empty.eq(queued == 0)
        return m


def _counted(i: int) -> int:
    """The next token count, from the current count, one token given and one taken: as a table it
    takes one 6-input LUT per bit."""
    most = 1 << isa.TOKEN_MAX.bit_length()
    return i % most + int(i // most == 1) - int(i // most == 2)


class Tokens(wiring.Component):
    """The token counters of every ordered pair of engines.

    Members
    -------
    retire_{engine} : In(Retire), take_{engine} : In(3)
        Tokens given and taken in this cycle.
    tokens_{engine} : Out(3)
        Engines that have a token for this one.
    error : Out(Error)
        TOKEN_OVERFLOW, with the index of the instruction that gave one too many, one cycle late.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                **{f"retire_{e}": In(Retire()) for e in ENGINE_NAMES},
                **{f"take_{e}": In(ENGINES) for e in ENGINE_NAMES},
                **{f"tokens_{e}": Out(ENGINES) for e in ENGINE_NAMES},
                "error": Out(Error()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.error.cause.eq(Cause.TOKEN_OVERFLOW)
        exceeded = Signal(len(ENGINE_NAMES))  # by giver
        m.d.comb += self.error.valid.eq(exceeded.any())
        for g, giver in enumerate(ENGINE_NAMES):
            retire = getattr(self, f"retire_{giver}")
            overflows = Signal(ENGINES, name=f"overflows_{giver}")
            for t, taker in enumerate(ENGINE_NAMES):
                if g == t:
                    continue
                count = Signal(range(isa.TOKEN_MAX + 1), name=f"{giver}_to_{taker}")
                some = Signal(name=f"some_{giver}_to_{taker}")
                give = retire.valid & retire.signal[t]
                take = getattr(self, f"take_{taker}")[g]
                m.d.sync += [
                    count.eq(truth_table(Cat(count, give, take), _counted, len(count))),
                    some.eq(Mux(give == take, some, give | (count != 1))),
                ]
                m.d.comb += [
                    getattr(self, f"tokens_{taker}")[g].eq(some),
                    overflows[t].eq(give & ~take & (count == isa.TOKEN_MAX)),
                ]
            index = delay(m, retire.index, 1, f"index_{giver}")
            m.d.sync += exceeded[g].eq(overflows.any())
            with m.If(exceeded[g]):
                m.d.comb += self.error.index.eq(index)
        return m


class Sequencer(wiring.Component):
    """Dispatch, queues, tokens, end of program.

    Members
    -------
    i : In(stream of DECODED)
    fetch_index : In(24), fetch_quiet : In(1)
        Index of the instruction being fetched; no instruction reads outstanding.
    stop : Out(1)
        ``HALT`` has been reached: fetch no further.
    o_{engine} : Out(InstructionStream), retire_{engine} : In(Retire), start_{engine} : Out(Event)
    compute_busy : In(1)
        The COMPUTE engine has work, ``SEG`` and ``OUT`` included.
    waiting : Out(3), executing : Out(3)
        By engine: the queue's head lacks a token; instructions are in the engine.
    oldest : Out(24)
        Index of the oldest unfinished instruction, three cycles late.
    done : Out(1)
        ``HALT``, and everything before it has finished.
    error : Out(Error)
        ILLEGAL, TOKEN_OVERFLOW, TOKEN_UNDERFLOW.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(DECODED)),
                "fetch_index": In(INDEX_BITS),
                "fetch_quiet": In(1),
                "stop": Out(1),
                **{f"o_{e}": Out(InstructionStream) for e in ENGINE_NAMES},
                **{f"retire_{e}": In(Retire()) for e in ENGINE_NAMES},
                **{f"start_{e}": Out(Event()) for e in ENGINE_NAMES},
                "compute_busy": In(1),
                "waiting": Out(ENGINES),
                "executing": Out(ENGINES),
                "oldest": Out(INDEX_BITS),
                "done": Out(1),
                "error": Out(Error()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.tokens = tokens = Tokens()
        queues = {}
        for engine, name in zip(Engine, ENGINE_NAMES, strict=True):
            queue = queues[engine] = EngineQueue(self.config, engine)
            m.submodules[f"queue_{name}"] = queue
            retire = getattr(self, f"retire_{name}")
            wiring.connect(m, wiring.flipped(getattr(self, f"o_{name}")), queue.o)
            wiring.connect(m, wiring.flipped(getattr(self, f"start_{name}")), queue.start)
            wiring.connect(m, wiring.flipped(retire), getattr(tokens, f"retire_{name}"))
            m.d.comb += [
                queue.tokens.eq(getattr(tokens, f"tokens_{name}")),
                getattr(tokens, f"take_{name}").eq(queue.take),
                queue.retired.eq(retire.valid),
                self.waiting[engine].eq(queue.waiting),
                self.executing[engine].eq(queue.executing),
                queue.i.valid.eq(self.i.valid & self.i.p.legal & self.i.p.engine[engine]),
                queue.i.p.word.eq(self.i.p.word),
                queue.i.p.index.eq(self.i.p.index),
            ]
        ready = Cat(queue.i.ready for queue in queues.values())
        halted = Signal()
        m.d.comb += [
            halted.eq(self.i.valid & self.i.p.legal & self.i.p.halt),
            self.stop.eq(halted),
            self.i.ready.eq(self.i.p.legal & (self.i.p.engine & ready).any()),
        ]
        self._find_oldest(m, queues)
        self._conclude(m, queues, tokens, halted)
        return m

    def _find_oldest(self, m: Module, queues: dict[Engine, EngineQueue]) -> None:
        """The smallest index of the engines' oldest instructions, or else of the one being fetched;
        one comparison per stage."""
        best_found, best = Const(0), Const(0, INDEX_BITS)
        for engine, queue in queues.items():
            found = Signal(name=f"found_{engine.name.lower()}")
            index = Signal(INDEX_BITS, name=f"index_{engine.name.lower()}", reset_less=True)
            event = queue.oldest
            mine = event.valid & (~best_found | (event.index < best))
            m.d.sync += [
                found.eq(event.valid | best_found),
                index.eq(Mux(mine, event.index, best)),
            ]
            best_found, best = found, index
        m.d.comb += self.oldest.eq(Mux(best_found, best, self.fetch_index))

    def _conclude(
        self, m: Module, queues: dict[Engine, EngineQueue], tokens: Tokens, halted: Signal
    ) -> None:
        """Detect the end, or an error of instruction or tokens.

        The machine stands still when no instruction is in an engine, every queue's head, if there
        is one, lacks a token, and dispatch cannot proceed. This is the end if no head is left, else
        a token that will never arrive.
        """
        still = Signal()
        settled = Signal(range(SETTLE + 1))
        at_rest = Cat(queue.empty | queue.waiting for queue in queues.values()).all()
        blocked = halted | (self.i.valid & self.i.p.legal & ~self.i.ready)
        m.d.comb += still.eq(at_rest & blocked & ~self.executing.any() & ~self.compute_busy)
        with m.If(~still):
            m.d.sync += settled.eq(0)
        with m.Elif(settled != SETTLE):
            m.d.sync += settled.eq(settled + 1)
        standstill = settled == SETTLE
        m.d.comb += self.done.eq(standstill & ~self.waiting.any() & halted & self.fetch_quiet)

        with m.If(tokens.error.valid):
            m.d.comb += [
                self.error.valid.eq(1),
                self.error.cause.eq(tokens.error.cause),
                self.error.index.eq(tokens.error.index),
            ]
        with m.Elif(self.i.valid & ~self.i.p.legal):
            m.d.comb += [
                self.error.valid.eq(1),
                self.error.cause.eq(Cause.ILLEGAL),
                self.error.index.eq(self.i.p.index),
            ]
        with m.Elif(standstill & self.waiting.any()):
            m.d.comb += [
                self.error.valid.eq(1),
                self.error.cause.eq(Cause.TOKEN_UNDERFLOW),
                self.error.index.eq(self.oldest),
            ]
