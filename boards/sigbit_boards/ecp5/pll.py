"""The clock generator of an ECP5.

Limits, phase and analog settings are those of prjtrellis, ``libtrellis/tools/ecppll.cpp``, whose
authors determined them with Lattice's own tool.
"""

from amaranth.hdl import ClockDomain, Instance, Module, Signal
from amaranth.lib.cdc import FFSynchronizer

_LOCK_CYCLES = 64


def dividers(oscillator: float, clock: float) -> tuple[int, int, int]:
    """Dividers of reference, feedback and output for the fastest clock up to ``clock`` Hertz from
    one of ``oscillator`` Hertz.

    Raises ``ValueError`` if there are none: the generator's own oscillator, of 400 to 800 MHz, has
    dividers of 1 to 128, and the phase detector needs at least 3.125 MHz.
    """
    found = [
        (oscillator * feedback / reference, -reference, feedback)
        for reference in range(1, int(oscillator / 3.125e6) + 1)
        for feedback in range(1, 81)
        if 10e6 <= oscillator * feedback / reference <= min(clock, 400e6)
    ]
    if not found:
        raise ValueError(f"the board can make clocks of 10 to 400 MHz, not {clock / 1e6:g} MHz")
    made, reference, feedback = max(found)
    return -reference, feedback, round(600e6 / made)


def made_clock(oscillator: float, clock: float) -> float:
    """The fastest clock up to ``clock`` Hertz; raises ``ValueError`` as :func:`dividers` does."""
    reference, feedback, _ = dividers(oscillator, clock)
    return oscillator * feedback / reference


def add_clocks(m: Module, pin: Signal, oscillator: float, clock: float) -> None:
    """Add the domain ``sync`` of ``clock`` Hertz to ``m``, from the oscillator at ``pin``.

    There is no reset. Registers start with their configured initial values, and nothing is clocked
    until the clock generator has been locked for a while: a reset net to every register would be
    the slowest of all.
    """
    reference, feedback, output = dividers(oscillator, clock)
    m.domains.oscillator = outside = ClockDomain(reset_less=True)
    m.domains.made = made = ClockDomain(reset_less=True)
    m.domains.sync = gated = ClockDomain(reset_less=True)
    locked, steady = Signal(), Signal()
    count, lasting, runs = Signal(range(_LOCK_CYCLES)), Signal(), Signal()
    m.submodules.pll = Instance(
        "EHXPLLL",
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_OUTDIVIDER_MUXB="DIVB",
        p_OUTDIVIDER_MUXC="DIVC",
        p_OUTDIVIDER_MUXD="DIVD",
        p_FEEDBK_PATH="CLKOP",
        p_CLKI_DIV=reference,
        p_CLKFB_DIV=feedback,
        p_CLKOP_DIV=output,
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_CPHASE=output // 2,
        p_CLKOP_FPHASE=0,
        i_CLKI=pin,
        i_CLKFB=made.clk,
        i_RST=0,
        i_STDBY=0,
        i_PHASESEL0=0,
        i_PHASESEL1=0,
        i_PHASEDIR=1,
        i_PHASESTEP=1,
        i_PHASELOADREG=1,
        i_PLLWAKESYNC=0,
        i_ENCLKOP=0,
        o_CLKOP=made.clk,
        o_LOCK=locked,
    )
    m.d.comb += outside.clk.eq(pin)
    m.submodules.steady = FFSynchronizer(locked, steady, o_domain="oscillator")
    m.d.oscillator += [
        count.eq(count + 1),
        lasting.eq(lasting | (count == _LOCK_CYCLES - 1)),
    ]
    with m.If(~steady):
        m.d.oscillator += [count.eq(0), lasting.eq(0)]
    # With only two registers, tools would not give this clock a network before the gate.
    m.submodules.runs = FFSynchronizer(lasting, runs, o_domain="made")
    m.submodules.gate = Instance("DCCA", i_CLKI=made.clk, i_CE=runs, o_CLKO=gated.clk)
