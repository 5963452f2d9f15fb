"""The complete design of the part: clock generator and clocked logic."""

from amaranth.hdl import Const, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_boards.ecp5.pll import add_clocks
from sigbit_boards.memory.sdram import PINS, Sdram
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
    sdram : Sdram, optional
        The core's memory, if it is one.
    phase : float
        Degrees by which the clock at its pin comes after that of its controller.

    Members
    -------
    clock : In(1)
        The board's own clock.
    rx : In(1), tx : Out(1), leds : Out(LEDS)
    sdram_clk : Out(1), sdram_a : Out(13) ...
        Pins of the SDRAM, if there is one; those of its data, ``sdram_dq``, are bidirectional.
    """

    def __init__(
        self,
        core: wiring.Component,
        oscillator: float,
        clock: float,
        sdram: Sdram | None = None,
        phase: float = 0.0,
    ) -> None:
        self.core, self.oscillator, self.clock_hz = core, oscillator, clock
        self.sdram, self.phase = sdram, phase
        members = {"clock": In(1), "rx": In(1), "tx": Out(1, init=1), "leds": Out(LEDS)}
        if sdram is not None:
            members |= {f"sdram_{name}": Out(width) for name, width in {"clk": 1, **PINS}.items()}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = self.core
        m.d.comb += [core.rx.eq(self.rx), self.tx.eq(core.tx), self.leds.eq(core.leds)]
        if self.sdram is None:
            add_clocks(m, self.clock, self.oscillator, self.clock_hz)
            return m
        later = add_clocks(m, self.clock, self.oscillator, self.clock_hz, self.phase)
        m.submodules.sdram_clock = Instance(
            "ODDRX1F",
            i_D0=Const(1),
            i_D1=Const(0),
            i_SCLK=later,
            i_RST=Const(0),
            o_Q=self.sdram_clk,
        )
        m.d.comb += [
            getattr(self, f"sdram_{name}").eq(getattr(self.sdram.pins, name)) for name in PINS
        ]
        return m
