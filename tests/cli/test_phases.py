"""``sigbit phases``, and the bitstreams that ``sigbit build --sweep`` writes for it."""

import json
import subprocess
from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit.flows import phases
from sigbit.flows.phases import PHASES, phase_file
from sigbit.runtime import BoardError
from sigbit_boards.ecp5.pll import add_clocks, with_phase
from sigbit_boards.host import connect
from sigbit_boards.host.link import FaultyMemoryError
from sigbit_hw.gateware.emit import convert
from sigbit_synthesis import pnr
from sigbit_synthesis.pnr import LFE5U_85F, Routed, map_board
from sigbit_synthesis.target import Target
from sigbit_tools.toolchain import synth_tool

OSCILLATOR, CLOCK = 25e6, 90e6
BOARD = "ulx3s:/dev/ttyUSB0"


class Clocks(wiring.Component):
    """A counter in each domain, and the clock of the memory's pin."""

    pin: In(1)
    later: Out(1)
    counts: Out(2)

    def __init__(self, phase: float) -> None:
        super().__init__()
        self.phase = phase

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.later.eq(add_clocks(m, self.pin, OSCILLATOR, CLOCK, self.phase))
        one, other = Signal(8), Signal(8)
        m.d.sync += one.eq(one + 1)
        m.d.memory += other.eq(other + 1)
        m.d.comb += self.counts.eq(Cat(one[-1], other[-1]))
        return m


def configuration(phase: float, folder: Path) -> str:
    """The configuration of a placement, by nextpnr."""
    folder.mkdir()
    text = convert(Clocks(phase), "top", Target.ECP5.fabric)
    (folder / "board.json").write_text(map_board(text, "top", lambda *_: None))
    command = [str(synth_tool("nextpnr-ecp5")), *LFE5U_85F.options, "--seed", "1", "--quiet"]
    command += ["--lpf-allow-unconstrained", "--json", "board.json", "--textcfg", pnr.CONFIG]
    subprocess.run(command, cwd=folder, check=True)
    return (folder / pnr.CONFIG).read_text()


@pytest.mark.synth
def test_a_phase_is_changed_without_another_placement(tmp_path: Path) -> None:
    """The edited configuration is the one that nextpnr writes for that phase; its bitstream is
    another one."""
    one, other = (configuration(p, tmp_path / f"{p}") for p in (90.0, 300.0))
    assert one != other
    assert with_phase(one, OSCILLATOR, CLOCK, 300.0) == other
    assert with_phase(other, OSCILLATOR, CLOCK, 90.0) == one
    first, second = (pnr.repacked(text, LFE5U_85F) for text in (one, other))
    assert first != second
    assert b"LFE5U-85F" in first[:200]


def test_a_configuration_without_such_a_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="the configuration has 0 words CLKOS2_CPHASE, not 1"):
        with_phase("word: CLKOP_CPHASE 0000011\n", OSCILLATOR, CLOCK, 90.0)


def test_phases_are_written(tmp_path: Path) -> None:
    class Board:
        def with_phase(self, routed: Routed, clock: float, phase: float) -> bytes:
            return f"{clock} {phase}".encode()

    told: list[str] = []
    names = phases.write_phases(
        Board(), None, CLOCK, tmp_path, lambda what, *steps: told.append(what)
    )
    assert names == tuple(sorted(path.name for path in tmp_path.iterdir()))
    assert len(names) == len(told) == len(PHASES) == 16
    assert (tmp_path / "phase-022.5.bit").read_bytes() == b"90000000.0 22.5"


@pytest.fixture
def bitstreams(tmp_path: Path) -> Path:
    for phase in PHASES:
        (tmp_path / phase_file(phase)).write_bytes(b"")
    return tmp_path


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the bitstreams that are loaded."""
    found: list[str] = []
    monkeypatch.setattr(phases, "load", lambda board, path: found.append(path.name))
    return found


@pytest.mark.parametrize(
    ("good", "best"),
    [
        ({90.0}, 90.0),
        ({90.0, 112.5, 135.0}, 112.5),
        ({90.0, 112.5}, 90.0),
        ({315.0, 337.5, 0.0, 22.5, 45.0, 180.0}, 0.0),
        (set(PHASES), 0.0),
        (set(PHASES) - {0.0}, 180.0),
    ],
)
def test_the_middle_of_the_phases_that_work_is_taken(
    sigbit,
    bitstreams: Path,
    loads: list[str],
    monkeypatch: pytest.MonkeyPatch,
    good: set[float],
    best: float,
) -> None:
    def tested(board: str, port: str) -> tuple[int, tuple[int, ...]]:
        assert (board, port) == ("ulx3s", "/dev/ttyUSB0")
        fine = loads[-1] in map(phase_file, good)
        return (0, ()) if fine else (1234, (0, 15))

    monkeypatch.setattr(phases, "memory_test", tested)
    answer = sigbit("phases", BOARD, bitstreams, "--json", bitstreams / "found.json")
    assert answer.code == 0, answer
    assert loads == [*map(phase_file, PHASES), phase_file(best)]
    found = json.loads((bitstreams / "found.json").read_text())
    assert (found["device"], found["best"]) == (BOARD, best)
    assert {t["phase"] for t in found["tests"] if not t["wrong_words"]} == good
    told = f"`sigbit load ulx3s {bitstreams / phase_file(best)} --flash` keeps it"
    assert told.replace(" ", "") in "".join(answer.out.split())


def test_no_phase_works(
    sigbit, bitstreams: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "memory_test", lambda *_: (7, (3,)))
    answer = sigbit("phases", BOARD, bitstreams, "--json", bitstreams / "found.json")
    assert answer.code == 1
    assert "the memory fails its test with every phase" in answer.err
    assert json.loads((bitstreams / "found.json").read_text())["best"] is None
    assert loads == [*map(phase_file, PHASES)]


def test_what_cannot_be_swept_is_refused(refused, bitstreams: Path) -> None:
    assert "a board and its port, not rtl" in refused("phases", "rtl", bitstreams)
    assert "a board and its port, not uio:x" in refused("phases", "uio:x", bitstreams)
    (bitstreams / phase_file(45.0)).unlink()
    told = refused("phases", BOARD, bitstreams)
    assert f"there is no bitstream {bitstreams / 'phase-045.0.bit'}: `sigbit build ulx3s" in told


def test_the_test_of_the_memory_is_read_from_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []

    class Link:
        def close(self) -> None:
            closed.append(True)

    def answer(*_: object) -> Link:
        if said:
            raise said.pop()
        return Link()

    monkeypatch.setattr(connect, "connected", answer)
    said: list[BoardError] = [FaultyMemoryError("port", 3, (1, 2))]
    assert connect.memory_test("ulx3s", "port") == (3, (1, 2))
    assert connect.memory_test("ulx3s", "port") == (0, ())
    assert closed == [True]
    said.append(BoardError("silent"))
    with pytest.raises(BoardError, match="silent"):
        connect.memory_test("ulx3s", "port")
