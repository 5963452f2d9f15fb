"""Legality of instructions, generated from the tables of ``arch.isa``: the gateware's counterpart
of ``isa.decode``."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch import isa
from sigbit_hw.arch.isa import INDEX_BITS, Opcode
from sigbit_hw.gateware.interfaces import ENGINES, instruction_layout
from sigbit_hw.gateware.memory.fetch import FETCHED

DECODED = data.StructLayout(
    {
        "word": isa.WORD_BITS,
        "index": INDEX_BITS,
        "engine": ENGINES,
        "halt": 1,
        "legal": 1,
    }
)
"""A checked instruction: its engine (one-hot) or ``halt``, if ``legal``."""


def violations(opcode: Opcode, word: Value) -> Value:
    """One bit for every rule that ``word``, taken as an instruction of ``opcode``, may violate."""
    layout = instruction_layout(opcode)
    view = data.View(layout, word[: layout.size])
    broken = [word[layout.size :].any()]
    for field in isa.fields_of(opcode):
        if field.least is not None:
            broken.append(view[field.name] < field.least)
    every = (1 << ENGINES) - 1
    own = 1 << isa.ENGINE_OF[opcode] if opcode in isa.ENGINE_OF else every
    broken.append((view["wait"] & own).any())
    broken.append((view["signal"] & (own if opcode in isa.SIGNALLING else every)).any())
    return Cat(*broken)


class Decode(wiring.Component):
    """Checks one instruction in two cycles, while the previous one leaves. A program's last
    instruction is legal only if it is ``HALT``.

    Members
    -------
    i : In(stream of FETCHED), o : Out(stream of DECODED)
    """

    i: In(stream.Signature(FETCHED))
    o: Out(stream.Signature(DECODED))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, opcode = self.i.p.word, self.i.p.word[: isa.HEADER[0].width]
        flags = {}
        for code in Opcode:
            broken = violations(code, word)
            flags[code] = Signal(len(broken), name=f"broken_{code.name.lower()}", reset_less=True)
            m.d.sync += flags[code].eq(broken)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("FLAG"):
                with m.If(self.i.valid):
                    m.next = "DECIDE"
            with m.State("DECIDE"):
                with m.If(~self.o.valid):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += [
                        self.o.valid.eq(1),
                        self.o.p.word.eq(word),
                        self.o.p.index.eq(self.i.p.index),
                        self.o.p.engine.eq(0),
                        self.o.p.halt.eq(opcode == Opcode.HALT),
                        self.o.p.legal.eq(0),
                    ]
                    with m.Switch(opcode):
                        for code in Opcode:
                            with m.Case(code):
                                ends = Const(1) if code == Opcode.HALT else ~self.i.p.last
                                m.d.sync += self.o.p.legal.eq(~flags[code].any() & ends)
                                if code in isa.ENGINE_OF:
                                    m.d.sync += self.o.p.engine.eq(1 << isa.ENGINE_OF[code])
                    m.next = "FLAG"
        return m
