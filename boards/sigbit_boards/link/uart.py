"""A serial line: eight bits, no parity, one stop bit."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out


class SerialReceiver(wiring.Component):
    """Receives bytes from a line.

    Parameters
    ----------
    divisor : int
        Cycles per bit, at least 4.

    Members
    -------
    rx : In(1)
        The line, high when idle; asynchronous.
    data : Out(8), valid : Out(1)
        A byte, valid for one cycle in the middle of its stop bit. A byte without a stop bit is
        dropped.
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__({"rx": In(1), "data": Out(8), "valid": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.line = FFSynchronizer(self.rx, line, init=1)
        wait, left = Signal(range(2 * self.divisor)), Signal(range(10))
        m.d.sync += self.valid.eq(0)
        with m.If(left == 0):
            with m.If(~line):
                m.d.sync += [left.eq(9), wait.eq(self.divisor + self.divisor // 2 - 2)]
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Else():
            m.d.sync += [left.eq(left - 1), wait.eq(self.divisor - 1)]
            with m.If(left == 1):
                m.d.sync += self.valid.eq(line)
            with m.Else():
                m.d.sync += self.data.eq(Cat(self.data[1:], line))
        return m


class SerialTransmitter(wiring.Component):
    """Sends bytes on a line.

    Parameters
    ----------
    divisor : int
        Cycles per bit.

    Members
    -------
    i : In(stream of 8 bits)
    tx : Out(1)
        The line, high when idle.
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wait, left, bits = Signal(range(self.divisor)), Signal(range(11)), Signal(10, init=1)
        m.d.comb += [self.i.ready.eq(left == 0), self.tx.eq(bits[0])]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [bits.eq(Cat(0, self.i.payload, 1)), left.eq(10), wait.eq(self.divisor - 1)]
        with m.Elif(left != 0):
            m.d.sync += wait.eq(wait - 1)
            with m.If(wait == 0):
                m.d.sync += [
                    wait.eq(self.divisor - 1),
                    left.eq(left - 1),
                    bits.eq(Cat(bits[1:], 1)),
                ]
        return m
