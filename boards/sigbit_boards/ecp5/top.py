"""The whole part: clock generator and what it clocks."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_boards.ecp5.pll import add_clocks
from sigbit_boards.system import LEDS


class Ecp5Top(wiring.Component):
    """A board's part.

    Parameters
    ----------
    core : Component
        With members ``rx``, ``tx`` and ``leds`` as those of
        :class:`~sigbit_boards.system.SerialAccelerator`.
    oscillator : float
        Hertz of the board's own clock.
    clock : float
        Hertz of the core's clock, as :func:`~sigbit_boards.ecp5.pll.made_clock` gives it.

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
