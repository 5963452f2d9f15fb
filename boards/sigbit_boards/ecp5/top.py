"""The complete design of the part: clock generator and clocked logic."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_boards.ecp5.pll import add_clocks
from sigbit_boards.system import LEDS


class Ecp5Top(wiring.Component):
    """The top module of a board's part.

    Parameters
    ----------
    core : Component
        With the members ``rx``, ``tx`` and ``leds`` of
        :class:`~sigbit_boards.system.SerialAccelerator`.
    oscillator : float
        Frequency of the board's own clock in Hertz.
    clock : float
        Frequency of the core's clock in Hertz, as returned by
        :func:`~sigbit_boards.ecp5.pll.made_clock`.

    Members
    -------
    clock : In(1)
        The board's own clock.
    rx : In(1), tx : Out(1), leds : Out(LEDS)
    """

    def __init__(self, core: wiring.Component, oscillator: float, clock: float) -> None:
        self.core, self.oscillator, self.clock_hz = core, oscillator, clock
        super().__init__(
            {"clock": In(1), "rx": In(1), "tx": Out(1, init=1), "leds": Out(LEDS)},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        add_clocks(m, self.clock, self.oscillator, self.clock_hz)
        m.submodules.core = core = self.core
        m.d.comb += [core.rx.eq(self.rx), self.tx.eq(core.tx), self.leds.eq(core.leds)]
        return m
