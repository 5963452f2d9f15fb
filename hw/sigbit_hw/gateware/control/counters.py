"""Cost counters of a run, and its cycle limit."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch import regs
from sigbit_hw.gateware.interfaces import ENGINES

_WORD = regs.WORD_BITS


class Counters(wiring.Component):
    """The counters of ``regs.COUNTERS``, one member each.

    Members
    -------
    clear : In(1), enable : In(1)
    add_{counter} : In(3)
        Increment in this cycle; takes effect in the next.
    {counter} : Out(32)
    cycles_hi : Out(32)
        The high word of ``cycles``, one cycle late.
    overflow : Out(9)
        By number in ``regs.COUNTERS``: a counter of one word has wrapped.
    """

    def __init__(self) -> None:
        names = [name.lower() for name, _ in regs.COUNTERS]
        super().__init__(
            {
                "clear": In(1),
                "enable": In(1),
                **{f"add_{name}": In(range(ENGINES + 2)) for name in names},
                **{name: Out(_WORD) for name in names},
                "cycles_hi": Out(_WORD),
                "overflow": Out(len(names)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        carries, tops = Signal(len(regs.COUNTERS)), Signal(len(regs.COUNTERS))
        for i, (name, _) in enumerate(regs.COUNTERS):
            value = getattr(self, name.lower())
            top = value[-1]
            m.d.comb += carries[i].eq(tops[i] & ~top)
            m.d.sync += tops[i].eq(top & ~self.clear)
            with m.If(self.clear):
                m.d.sync += value.eq(0)
            with m.Elif(self.enable):
                m.d.sync += value.eq(value + getattr(self, f"add_{name.lower()}"))
        with m.If(self.clear):
            m.d.sync += [self.cycles_hi.eq(0), self.overflow.eq(0)]
        with m.Else():
            m.d.sync += [
                self.cycles_hi.eq(self.cycles_hi + carries[0]),
                self.overflow.eq(self.overflow | Cat(0, carries[1:])),
            ]
        return m


class CycleLimit(wiring.Component):
    """Compares the cycles of a run with their limit.

    Members
    -------
    clear : In(1)
        The cycles are 0 from the next cycle on.
    cycles : In(64), limit : In(64)
        A limit of 0 means no limit. ``cycles`` may be low by a carry for one cycle.
    reached : Out(1)
        The cycles are at least the limit; two or three cycles late.
    """

    clear: In(1)
    cycles: In(2 * _WORD)
    limit: In(2 * _WORD)
    reached: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        low, same, above, some = Signal(), Signal(), Signal(), Signal()
        words = [
            (self.cycles.word_select(k, _WORD), self.limit.word_select(k, _WORD)) for k in (0, 1)
        ]
        m.d.sync += [
            some.eq(self.limit.any()),
            low.eq(words[0][0] >= words[0][1]),
            same.eq(words[1][0] == words[1][1]),
            above.eq(words[1][0] > words[1][1]),
            self.reached.eq(some & (above | (same & low))),
        ]
        with m.If(self.clear):
            m.d.sync += [low.eq(0), above.eq(0), self.reached.eq(0)]
        return m
