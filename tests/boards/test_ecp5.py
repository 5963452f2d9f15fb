"""Boards with an ECP5: clocks, lines, pins."""

import pytest

from sigbit_boards import registry
from sigbit_boards.ecp5 import pins, pll
from sigbit_boards.ecp5.board import BAUDS
from sigbit_boards.icepi.build import BOARD as ICEPI
from sigbit_boards.ulx3s.build import BOARD as ULX3S
from sigbit_hw.arch.config import PRESETS

ECP5_BOARDS = (ULX3S, ICEPI)


@pytest.mark.parametrize("clock", [10e6, 25e6, 62.5e6, 90e6, 120e6, 133e6])
@pytest.mark.parametrize("oscillator", [25e6, 50e6])
def test_the_clock_generator_stays_within_its_limits(oscillator: float, clock: float) -> None:
    reference, feedback, output = pll.dividers(oscillator, clock)
    made = oscillator * feedback / reference
    assert 0.9 * clock <= made <= clock
    assert made == pll.made_clock(oscillator, clock)
    assert oscillator / reference >= 3.125e6
    assert 400e6 <= made * output <= 800e6


def test_a_clock_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="not 5 MHz"):
        ULX3S.clock(PRESETS["nano"], 5e6)


def test_a_board_of_several_ports_is_refused() -> None:
    with pytest.raises(ValueError, match="one memory port, zcu102 needs 4"):
        ULX3S.clock(PRESETS["zcu102"], 90e6)


@pytest.mark.parametrize("clock", [10e6, 25e6, 48e6, 62.5e6, 80e6, 90e6, 100e6])
def test_the_line_has_a_speed_that_adapters_have(clock: float) -> None:
    divisor, baud = ULX3S.line(clock)
    assert baud in BAUDS
    assert clock / divisor == pytest.approx(baud, rel=0.015)
    assert ULX3S.line(90e6) == (30, 3_000_000)


def test_a_clock_that_makes_no_line_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot drive a serial line"):
        ULX3S.line(8.4e6)


@pytest.mark.parametrize("board", ECP5_BOARDS, ids=lambda board: board.name)
def test_every_port_has_a_pin_of_its_own_and_the_oscillator_a_frequency(board) -> None:
    text = board.constraints()
    sites = [line.split()[-1] for line in text.splitlines() if line.startswith("LOCATE")]
    assert len(sites) == len(set(sites)) == 8
    for port in ("clock", "rx", "tx", "leds[0]", "leds[4]"):
        assert f'LOCATE COMP "{port}" SITE' in text
        assert f'IOBUF PORT "{port}"' in text
    hertz = pins.oscillator(board.platform)
    assert f'FREQUENCY PORT "clock" {hertz / 1e6:g} MHZ;' in text


@pytest.mark.parametrize("clock", [10e6, 25e6, 62.5e6, 90e6, 120e6])
def test_the_clock_of_a_memory_comes_from_the_same_generator(clock: float) -> None:
    reference, feedback, output = pll.dividers(25e6, clock)
    own = 25e6 * feedback / reference * output
    found = pll.memory_clock(25e6, clock)
    assert 0.75 * pll.MEMORY_HZ < found <= pll.MEMORY_HZ
    assert own / found == pytest.approx(round(own / found))


@pytest.mark.parametrize("phase", [0, 90, 123.4, 359.9])
def test_phases_of_a_memory_are_met_within_half_a_step(phase: float) -> None:
    steps = 8 * 7  # of a cycle: the generator's own oscillator is 7 times as fast
    found = 360 * pll.phase_steps(25e6, 90e6, phase) / steps
    assert 0 <= found < 360
    assert min(abs(found - phase), 360 - abs(found - phase)) <= 180 / steps


def test_phases_and_boards_without_an_sdram_are_refused() -> None:
    for phase in (-1, 360, float("nan")):
        with pytest.raises(ValueError, match="at least 0 and less than 360 degrees"):
            ULX3S.with_sdram(phase)
    with pytest.raises(ValueError, match="icepi has no SDRAM for Programs"):
        ICEPI.with_sdram(90)
    assert (ULX3S.memory_bytes, ULX3S.with_sdram(90).memory_bytes) == (64 << 10, 32 << 20)


def test_pins_of_an_sdram() -> None:
    """As emard/ulx3s, doc/constraints/ulx3s_v20.lpf, has them."""
    text = ULX3S.with_sdram(90).constraints()
    sites = [line.split()[-1] for line in text.splitlines() if line.startswith("LOCATE")]
    assert len(sites) == len(set(sites)) == 8 + 39
    wanted = {"clk": "F19", "cke": "F20", "cs_n": "P20", "we_n": "T20", "ras_n": "R20"}
    wanted |= {"cas_n": "T19", "ba[1]": "N20", "dm[0]": "U19", "a[12]": "G19", "dq[15]": "J17"}
    for pin, site in wanted.items():
        assert f'LOCATE COMP "sdram_{pin}" SITE "{site}";' in text
    assert 'IOBUF PORT "sdram_clk" DRIVE=4 IO_TYPE=LVCMOS33 PULLMODE=NONE SLEWRATE=FAST;' in text


def test_sites_of_the_ulx3s() -> None:
    """As emard/ulx3s, doc/constraints/ulx3s_v20.lpf, has them."""
    text = ULX3S.constraints()
    for port, site in {"clock": "G2", "rx": "M1", "tx": "L4", "leds[0]": "B2"}.items():
        assert f'LOCATE COMP "{port}" SITE "{site}";' in text
    assert 'IOBUF PORT "rx" IO_TYPE=LVCMOS33 PULLMODE=UP;' in text


def test_a_resource_that_a_board_does_not_have() -> None:
    with pytest.raises(ValueError, match="ULX3S_85F_Platform has no led 9"):
        pins.pins(ULX3S.platform, [pins.Wanted("x", "led", 9)])
    with pytest.raises(ValueError, match="uart 0 of ULX3S_85F_Platform has no pins ring"):
        pins.pins(ULX3S.platform, [pins.Wanted("x", "uart", part="ring")])


def test_names_of_the_loader_are_known() -> None:
    for name in registry.names():
        assert registry.load(name).loader
