"""The front end of LOAD: decodes and checks instructions, and requests their data."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import BEATS_BITS, INDEX_BITS, LoadKind, Opcode, field_of
from sigbit_hw.arch.regs import Cause
from sigbit_hw.arch.timing import CHECK_LATENCY
from sigbit_hw.gateware.interfaces import (
    ENGINES,
    Error,
    InstructionStream,
    instruction_layout,
)
from sigbit_hw.gateware.memory.dma import ReadClient, Window, WindowCheck
from sigbit_hw.gateware.parts.walker import BLOCK

COMMAND = data.StructLayout(
    {
        "block": BLOCK,
        "kind": field_of(Opcode.LOAD, "kind").width,
        "fill": 1,
        "code": field_of(Opcode.FILL, "code").width,
        "beats": BEATS_BITS,
        "signal": ENGINES,
        "index": INDEX_BITS,
    }
)
"""Fields of an instruction that the back end needs."""
_BLOCK_FIELDS = tuple(BLOCK.members)[1:]


class LoadFront(wiring.Component):
    """Decodes ``LOAD`` and ``FILL``, checks the window, and requests the data.

    Members
    -------
    i : In(InstructionStream), window : In(Window)
    request : Out(stream of REQUEST)
    o : Out(stream of COMMAND)
        One for each instruction, transferred together with its request.
    error : Out(Error)
        ILLEGAL: misaligned address; WINDOW: outside the window. In both cases nothing is requested.

    Timing: an instruction taken in cycle t is passed on, with its request, in t + 3 (``FILL``: in
    t + 2) or when there is room; the next one is taken one cycle later.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(InstructionStream),
                "window": In(Window()),
                "request": Out(ReadClient(config).members["request"].signature),
                "o": Out(stream.Signature(COMMAND)),
                "error": Out(Error()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.check = check = WindowCheck(self.config, writes=False)
        current = Signal.like(self.i.payload, reset_less=True)
        load_layout = instruction_layout(Opcode.LOAD)
        fill_layout = instruction_layout(Opcode.FILL)
        load = data.View(load_layout, current.word[: load_layout.size])
        fill = data.View(fill_layout, current.word[: fill_layout.size])
        is_fill = Signal()
        wait = Signal(range(CHECK_LATENCY))
        wiring.connect(m, wiring.flipped(self.window), check.window)
        command = self.o.payload
        m.d.comb += [
            is_fill.eq(load.opcode == Opcode.FILL),
            check.offset.eq(load.address),
            check.beats.eq(load.beats),
            self.request.p.offset.eq(load.address),
            self.request.p.beats.eq(load.beats),
            command.kind.eq(Mux(is_fill, LoadKind.ACTS, load.kind)),
            command.fill.eq(is_fill),
            command.code.eq(fill.code),
            command.beats.eq(load.beats),
            command.signal.eq(load.signal),
            command.index.eq(current.index),
            command.block.start.eq(Mux(is_fill, fill.dst, load.dst)),
            *(
                command.block[name].eq(Mux(is_fill, fill[name], load[name]))
                for name in _BLOCK_FIELDS
            ),
            self.error.index.eq(current.index),
            self.error.cause.eq(Mux(check.misaligned, Cause.ILLEGAL, Cause.WINDOW)),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [current.eq(self.i.payload), wait.eq(CHECK_LATENCY - 1)]
                with m.If(self.i.valid):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(is_fill | (wait == 0)):
                    m.next = "ISSUE"
            with m.State("ISSUE"):
                with m.If(is_fill):
                    m.d.comb += self.o.valid.eq(1)
                    with m.If(self.o.ready):
                        m.next = "IDLE"
                with m.Elif(check.misaligned | check.outside):
                    m.d.comb += self.error.valid.eq(1)
                with m.Else():
                    # The two streams transfer together: each is offered only when the other can
                    # proceed.
                    m.d.comb += [
                        self.request.valid.eq(self.o.ready),
                        self.o.valid.eq(self.request.ready),
                    ]
                    with m.If(self.o.ready & self.request.ready):
                        m.next = "IDLE"
        return m
