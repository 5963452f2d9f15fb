"""The clock generator of an ECP5.

Limits, phase and analog settings are those of prjtrellis, ``libtrellis/tools/ecppll.cpp``, whose
authors determined them with Lattice's own tool.
"""

import re
from math import ceil
from typing import Any

from amaranth.hdl import ClockDomain, Instance, Module, Signal
from amaranth.lib.cdc import FFSynchronizer

MEMORY_HZ = 90e6
"""Fastest clock of an SDRAM, below the 100 MHz of its CAS latency 2."""
_LOCK_CYCLES = 64
_LATER = "CLKOS2"
"""Output that clocks the memory's pin."""


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


def _divider(oscillator: float, clock: float) -> tuple[float, int]:
    """Frequency of the generator's own oscillator beside ``clock``, and the divider that makes the
    memory's clock from it."""
    _, _, output = dividers(oscillator, clock)
    own = made_clock(oscillator, clock) * output
    return own, ceil(own / MEMORY_HZ - 1e-9)


def memory_clock(oscillator: float, clock: float) -> float:
    """Frequency of the memory's clock in Hertz, up to :data:`MEMORY_HZ`, of a board whose other
    clock is ``clock``; raises ``ValueError`` as :func:`dividers` does."""
    own, divider = _divider(oscillator, clock)
    return own / divider


def check_phase(phase: float) -> None:
    """Raise ``ValueError`` if ``phase`` is not from 0 to less than 360 degrees."""
    if not 0 <= phase < 360:
        raise ValueError(f"the phase must be at least 0 and less than 360 degrees, not {phase:g}")


def phase_steps(oscillator: float, clock: float, phase: float) -> int:
    """Delay of the clock at the memory's pin that comes closest to ``phase`` degrees, in eighths of
    a cycle of the generator's own oscillator; raises ``ValueError`` as :func:`check_phase` and
    :func:`dividers` do.
    """
    check_phase(phase)
    _, divider = _divider(oscillator, clock)
    return round(phase / 360 * 8 * divider) % (8 * divider)


def _delays(oscillator: float, clock: float, phase: float) -> tuple[int, int]:
    """Delay of the clock at the memory's pin in cycles of the generator's own oscillator, half a
    cycle of the memory's clock included, and in further eighths of them."""
    _, divider = _divider(oscillator, clock)
    cycles, eighths = divmod(phase_steps(oscillator, clock, phase), 8)
    return divider // 2 + cycles, eighths


def with_phase(config: str, oscillator: float, clock: float, phase: float) -> str:
    """Return the text of a placed and routed configuration, as nextpnr writes it, with another
    ``phase`` of the clock at the memory's pin; raises ``ValueError`` as :func:`phase_steps` does.
    """
    cycles, eighths = _delays(oscillator, clock, phase)
    words = {f"{_LATER}_CPHASE": f"{cycles:07b}", f"{_LATER}_FPHASE": f"{eighths:03b}"}
    for name, value in words.items():
        config, count = re.subn(rf"^word: {name} .*$", f"word: {name} {value}", config, flags=re.M)
        if count != 1:
            raise ValueError(f"the configuration has {count} words {name}, not 1")
    return config


def add_clocks(
    m: Module, pin: Signal, oscillator: float, clock: float, phase: float | None = None
) -> Signal:
    """Add the domain ``sync`` of ``clock`` Hertz to ``m``, from the oscillator at ``pin``; and if
    there is a ``phase``, the domain ``memory`` of :func:`memory_clock`. Return a clock of the
    latter frequency, ``phase`` degrees later, for the memory's pin.

    There is no reset. Registers start with their configured initial values, and nothing is clocked
    until the clock generator has been locked for a while: a reset net to every register would be
    the slowest of all.
    """
    reference, feedback, output = dividers(oscillator, clock)
    m.domains.oscillator = outside = ClockDomain(reset_less=True)
    m.domains.made = made = ClockDomain(reset_less=True)
    m.domains.sync = gated = ClockDomain(reset_less=True)
    locked, steady = Signal(), Signal()
    count, lasting = Signal(range(_LOCK_CYCLES)), Signal()
    more, later = {}, Signal()
    if phase is not None:
        _, divider = _divider(oscillator, clock)
        m.domains.made_memory = made_memory = ClockDomain(reset_less=True)
        m.domains.made_later = made_later = ClockDomain(reset_less=True)
        m.domains.memory = memory = ClockDomain(reset_less=True)
        more = {
            **_output("CLKOS", divider, divider // 2, 0, made_memory.clk),
            **_output(_LATER, divider, *_delays(oscillator, clock, phase), made_later.clk),
        }
        _gate(m, "memory", lasting, made_memory.clk, memory.clk)
        _gate(m, "later", lasting, made_later.clk, later)
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
        o_LOCK=locked,
        **_output("CLKOP", output, output // 2, 0, made.clk),
        **more,
    )
    m.d.comb += outside.clk.eq(pin)
    m.submodules.steady = FFSynchronizer(locked, steady, o_domain="oscillator")
    m.d.oscillator += [
        count.eq(count + 1),
        lasting.eq(lasting | (count == _LOCK_CYCLES - 1)),
    ]
    with m.If(~steady):
        m.d.oscillator += [count.eq(0), lasting.eq(0)]
    _gate(m, "", lasting, made.clk, gated.clk)
    return later


def _output(name: str, divider: int, cycles: int, eighths: int, clock: Signal) -> dict[str, Any]:
    """Parameters and port of one of the generator's outputs, delayed by cycles of its own
    oscillator and eighths of them."""
    return {
        f"p_{name}_DIV": divider,
        f"p_{name}_ENABLE": "ENABLED",
        f"p_{name}_CPHASE": cycles,
        f"p_{name}_FPHASE": eighths,
        f"o_{name}": clock,
    }


def _gate(m: Module, name: str, lasting: Signal, made: Signal, gated: Signal) -> None:
    """Let a clock through when ``lasting`` is set."""
    runs, domain = Signal(), f"made_{name}" if name else "made"
    # With only two registers, tools would not give this clock a network before the gate.
    m.submodules[f"runs_{name}" if name else "runs"] = FFSynchronizer(
        lasting, runs, o_domain=domain
    )
    m.submodules[f"gate_{name}" if name else "gate"] = Instance(
        "DCCA", i_CLKI=made, i_CE=runs, o_CLKO=gated
    )
