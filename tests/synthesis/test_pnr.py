"""Place and route of a small design on the board, to the bitstream; what a report says."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_boards.ecp5.board import TOP
from sigbit_boards.ecp5.top import Ecp5Top
from sigbit_boards.link.uart import SerialReceiver, SerialTransmitter
from sigbit_boards.system import LEDS
from sigbit_boards.ulx3s.build import BOARD
from sigbit_hw.gateware.emit import convert
from sigbit_synthesis.netlist import Tools
from sigbit_synthesis.pnr import LFE5U_85F, Mapped, Routed, map_board, placements, result, route
from sigbit_synthesis.target import Target
from sigbit_tools.toolchain import ToolchainError

REPORT = Path(__file__).parent / "nextpnr_report.json"
"""Of the ``ecp5`` preset, when its reset was one net."""
CLOCK = 50e6


class Echo(wiring.Component):
    """Sends what it receives; LEDs count."""

    rx: In(1)
    tx: Out(1, init=1)
    leds: Out(LEDS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = SerialReceiver(50)
        m.submodules.transmitter = transmitter = SerialTransmitter(50)
        count = Signal(24)
        m.d.sync += count.eq(count + 1)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            transmitter.i.valid.eq(receiver.valid),
            transmitter.i.payload.eq(receiver.data),
            self.tx.eq(transmitter.tx),
            self.leds.eq(count[-LEDS:]),
        ]
        return m


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGBIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def design(own_cache: Path) -> Mapped:
    text = convert(Ecp5Top(Echo(), 25e6, CLOCK), TOP, Target.ECP5.fabric)
    return Mapped(map_board(text, TOP, lambda *_: None), BOARD.constraints(), LFE5U_85F)


@pytest.fixture(scope="module")
def routed(design: Mapped) -> Routed:
    with Tools() as tools:
        return route(design, CLOCK, 1, tools)


def nanoseconds(path: tuple[str, ...]) -> float:
    return sum(float(re.search(r" ([\d.]+) ns ", step)[1]) for step in path)


@pytest.mark.synth
def test_a_small_design_is_placed_routed_and_packed(routed: Routed) -> None:
    assert routed.meets
    assert (routed.clock_mhz, routed.seed) == (50, 1)
    used = {kind: count for kind, (count, _) in routed.utilization.items()}
    assert (used["EHXPLLL"], used["DCCA"], used["TRELLIS_IO"]) == (1, 2, 3 + LEDS)
    assert routed.utilization["TRELLIS_FF"][1] == 83_640
    assert 50 < used["TRELLIS_FF"] < 150
    assert nanoseconds(routed.critical) == pytest.approx(1000 / routed.fmax_mhz, abs=0.2)
    assert b"LFE5U-85F" in routed.bitstream.read_bytes()[:200]


@pytest.mark.synth
def test_the_generated_clock_is_constrained_and_the_only_one(routed: Routed) -> None:
    log = (routed.bitstream.parent / "log.txt").read_text()
    assert re.search(r"Derived frequency constraint of 50\.0 MHz for net", log)
    assert "ERROR" not in log


@pytest.mark.synth
def test_the_clock_generator_keeps_its_analog_settings(design: Mapped) -> None:
    cells = json.loads(design.netlist)["modules"][TOP]["cells"].values()
    (pll,) = (cell for cell in cells if cell["type"] == "EHXPLLL")
    assert {
        name: pll["attributes"][name].strip()
        for name in ("ICP_CURRENT", "LPF_RESISTOR", "MFG_ENABLE_FILTEROPAMP", "MFG_GMCREF_SEL")
    } == {
        "ICP_CURRENT": "12",
        "LPF_RESISTOR": "8",
        "MFG_ENABLE_FILTEROPAMP": "1",
        "MFG_GMCREF_SEL": "2",
    }


@pytest.mark.synth
def test_a_placement_is_made_once(
    design: Mapped, routed: Routed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sigbit_synthesis.pnr._run", None)
    with Tools() as tools:
        assert route(design, CLOCK, 1, tools) == routed


@pytest.mark.synth
def test_what_nextpnr_refuses_is_told(design: Mapped) -> None:
    broken = json.loads(design.netlist)
    for cell in broken["modules"][TOP]["cells"].values():
        if cell["type"] == "DCCA":
            cell["type"] = "NONSENSE"
    with pytest.raises(ToolchainError, match=r"(?s)nextpnr-ecp5 failed with status .*NONSENSE"):
        placements(replace(design, netlist=json.dumps(broken)), CLOCK, 2, lambda *_: None)


@pytest.mark.synth
def test_a_placement_for_every_seed(design: Mapped) -> None:
    told: list[int] = []
    found = placements(design, 400e6, 3, lambda _what, done, _of: told.append(done))
    assert told == [0, 1, 2, 3]
    assert [routed.seed for routed in found] == [1, 2, 3]
    assert not any(routed.meets for routed in found)
    assert len({routed.fmax_mhz for routed in found}) > 1


def test_a_report_that_misses_the_clock(tmp_path: Path) -> None:
    shutil.copy(REPORT, tmp_path / "report.json")
    missed = result(tmp_path, 90e6, 7)
    assert not missed.meets
    assert missed.fmax_mhz == pytest.approx(61.02, abs=0.01)
    assert missed.seed == 7
    assert missed.utilization["DP16KD"] == (114, 208)
    assert "MULT18X18D" not in missed.utilization
    assert missed.critical[0] == "clk-to-q 0.52 ns count_TRELLIS_FF_Q_2"
    assert missed.critical[5] == "routing 3.28 ns serial_rst"
    assert nanoseconds(missed.critical) == pytest.approx(1000 / missed.fmax_mhz, abs=0.1)


@pytest.mark.parametrize("name", ["memory_clk", "$glbnet$memory_clk"])
def test_the_clock_of_an_external_memory_is_apart(tmp_path: Path, name: str) -> None:
    report = json.loads(REPORT.read_text())
    report["fmax"][name] = {"achieved": 33.0, "constraint": 90.0}
    (tmp_path / "report.json").write_text(json.dumps(report))
    found = result(tmp_path, 50e6, 1)
    assert found.memory_mhz == 33
    assert found.fmax_mhz == pytest.approx(61.02, abs=0.01)
    assert found.meets
