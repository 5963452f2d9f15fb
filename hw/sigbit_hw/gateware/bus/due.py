"""Outstanding obligations of a port's slave: the beats of accepted read bursts, and the responses
of complete write bursts."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.timing import WRITES_MAX


class ReadsDue(wiring.Component):
    """Compares read beats with the requested bursts.

    Members
    -------
    opened : In(1), length : In(8)
        The bus accepts an address in this cycle; AxLEN of its burst, less than ``burst_beats``. At
        most ``outstanding_reads`` bursts are open.
    moved : In(1), last : In(1)
        The bus delivers a beat in this cycle; its RLAST.
    forget : In(1)
        Nothing is owed any more.
    wrong : Out(1)
        In the same cycle: the beat belongs to no burst that was accepted before, or its RLAST does
        not agree with the burst's length. After that, the counts are meaningless until ``forget``.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "opened": In(1),
                "length": In(8),
                "moved": In(1),
                "last": In(1),
                "forget": In(1),
                "wrong": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self.config.outstanding_reads
        shape = range(max(2, self.config.burst_beats))
        lengths = Signal(data.ArrayLayout(shape, depth), reset_less=True)
        waiting = Signal(range(depth))  # bursts behind the one whose beats arrive; newest first
        left = Signal(shape, reset_less=True)  # beats after the next one
        due = Signal()
        final, free, some = Signal(), Signal(), Signal()
        m.d.comb += [
            final.eq(left == 0),
            free.eq(~due | (self.moved & final)),
            some.eq(waiting != 0),
            self.wrong.eq(self.moved & (~due | (self.last != final))),
        ]
        m.d.sync += waiting.eq(waiting + (self.opened & ~(free & ~some)) - (free & some))
        with m.If(self.opened):
            m.d.sync += lengths.eq(Cat(self.length[: len(left)], lengths.as_value()))
        with m.If(free):
            m.d.sync += [
                due.eq(some | self.opened),
                left.eq(Mux(some, lengths[(waiting - 1)[: len(waiting)]], self.length)),
            ]
        with m.Elif(self.moved):
            m.d.sync += left.eq(left - 1)
        with m.If(self.forget):
            m.d.sync += [due.eq(0), waiting.eq(0)]
        return m


class ResponsesDue(wiring.Component):
    """Compares write responses with the bursts that the bus has received completely.

    Members
    -------
    opened : In(1)
        A burst begins: its address is offered from the next cycle on.
    offered : In(1)
        An address waits for the bus: that of the newest burst.
    sent : In(1)
        The bus takes the last beat of a burst in this cycle.
    answered : In(1)
        The bus delivers a response in this cycle.
    forget : In(1)
        Nothing is owed any more.
    right : Out(1)
        In the same cycle: there is a burst that a response can belong to. After a response that
        belongs to none, the counts are meaningless until ``forget``.
    open : Out(range(WRITES_MAX + 1))
        Bursts without response, at most ``WRITES_MAX``.
    """

    opened: In(1)
    offered: In(1)
    sent: In(1)
    answered: In(1)
    forget: In(1)
    right: Out(1)
    open: Out(range(WRITES_MAX + 1))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        whole = Signal.like(self.open)  # of these, the ones whose data the bus has received
        unaddressed = self.offered & (self.open == 1)
        m.d.comb += self.right.eq((whole != 0) & ~unaddressed)
        m.d.sync += [
            self.open.eq(self.open + self.opened - self.answered),
            whole.eq(whole + self.sent - self.answered),
        ]
        with m.If(self.forget):
            m.d.sync += [self.open.eq(0), whole.eq(0)]
        return m
