"""``sigbit build``: a board's files, figures and refusals."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_boards import registry
from sigbit_boards.ecp5 import board as ecp5
from sigbit_boards.ecp5.board import Ecp5Board
from sigbit_boards.registry import Built
from sigbit_boards.system import LEDS
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_sim.memory import MemoryTiming
from sigbit_synthesis.emitted import cached_rtlil
from sigbit_synthesis.pnr import result
from sigbit_synthesis.target import Target

REPORT = Path(__file__).parents[1] / "synthesis" / "nextpnr_report.json"
ROUTING = Path(__file__).parents[2] / "results" / "routing.json"


class Small(wiring.Component):
    """Stands for the accelerator on its serial line: a counter, and a wire with a register; the
    memory is there, and nothing reads it."""

    rx: In(1)
    tx: Out(1, init=1)
    leds: Out(LEDS)

    def __init__(self, memory: wiring.Component) -> None:
        super().__init__()
        self.memory = memory

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = self.memory
        count = Signal(20)
        m.d.sync += [count.eq(count + 1), self.tx.eq(self.rx)]
        m.d.comb += self.leds.eq(count[-LEDS:])
        return m


@pytest.mark.synth
def test_files_and_figures(sigbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGBIT_CACHE", str(tmp_path))
    monkeypatch.setattr(ecp5, "SerialAccelerator", lambda *parts: Small(parts[-1]))
    out, figures, page = tmp_path / "new" / "out", tmp_path / "b.json", tmp_path / "b.html"
    arguments = ("--freq", "50", "--seeds", "2", "--json", figures, "--report", page)
    answer = sigbit("build", "ulx3s", "--arch", "nano", "-o", out, *arguments)
    assert answer.code == 0, answer
    found = json.loads(figures.read_text())
    assert sorted(found["files"]) == sorted(path.name for path in out.iterdir())
    assert b"LFE5U-85F" in (out / "board.bit").read_bytes()[:200]
    assert 'LOCATE COMP "clock"' in (out / "board.lpf").read_text()
    assert ArchConfig.from_json(json.loads((out / "arch.json").read_text())) == PRESETS["nano"]
    text = cached_rtlil(PRESETS["nano"], Target.ECP5.fabric)
    assert found["netlist_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert (found["board"], found["part"], found["target"]) == ("ulx3s", "LFE5U-85F", "ecp5")
    assert (found["preset"], found["arch_digest"]) == ("nano", PRESETS["nano"].digest)
    assert found["macs"] == PRESETS["nano"].macs
    clock = found["clocks"]["accelerator"]
    assert clock["wanted"] == 50
    assert len(clock["met"]) == 2
    assert found["fmax_mhz"] == max(clock["met"]) == clock["met"][found["seed"] - 1] >= 50
    assert found["resources"]["EHXPLLL"] == {"used": 1, "available": 4}
    assert found["critical_path"]
    assert found["bitstream_bytes"] == (out / "board.bit").stat().st_size
    assert (found["baud"], found["memory_bytes"]) == (2_000_000, 65_536)
    assert found["schema_version"] == 1
    assert found["cpu_seconds"] > 0
    assert f"{found['fmax_mhz']:.1f} MHz" in answer.out
    assert "nano on ulx3s, placed and routed on LFE5U-85F" in " ".join(answer.out.split())
    rows = tmp_path / "routing.json"
    shutil.copy(ROUTING, rows)
    assert sigbit("results", "add", rows, figures).code == 0
    row = json.loads(rows.read_text())["rows"][-1]
    assert (row["preset"], row["clocks"]["accelerator"]) == ("nano", clock)
    assert not {"schema_version", "folder", "files"} & row.keys()
    html = page.read_text()
    assert "<b>PASS</b>" in html
    assert found["netlist_sha256"] in html
    assert f"sigbit build ulx3s --arch nano -o {out} --freq 50 --seeds 2" in html


def test_a_clock_that_is_missed(sigbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are there, and the command fails."""
    routed = tmp_path / "routed"
    routed.mkdir()
    shutil.copy(REPORT, routed / "report.json")
    for name in ("board.bit", "board.lpf", "log.txt"):
        (routed / name).write_text(name)

    def slow(self: Ecp5Board, config: ArchConfig, clock: float, seeds: int, **_: object) -> Built:
        assert seeds == 1
        return Built(clock, 3_000_000, (result(routed, self.clock(config, clock), 7),))

    monkeypatch.setattr(Ecp5Board, "build", slow)
    monkeypatch.setattr("sigbit.flows.build.netlist_sha256", lambda config, target: "00")
    out, figures, page = tmp_path / "out", tmp_path / "b.json", tmp_path / "b.html"
    answer = sigbit("build", "ulx3s", "-o", out, "--json", figures, "--report", page)
    assert answer.code == 1
    assert (
        "the clock of the accelerator reaches 61.0 MHz, not 90.0 MHz: try more --seeds"
        in answer.err
    )
    assert (out / "board.bit").read_text() == "board.bit"
    assert json.loads(figures.read_text())["fmax_mhz"] == pytest.approx(61.02, abs=0.01)
    assert "<b>FAIL</b>" in page.read_text()


@pytest.fixture
def placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Placements without the tools."""
    folder = tmp_path / "placed"
    folder.mkdir()
    shutil.copy(REPORT, folder / "report.json")
    for name in ("board.bit", "board.lpf", "log.txt"):
        (folder / name).write_text(name)

    def build(self: Ecp5Board, config: ArchConfig, clock: float, seeds: int, **_: object) -> Built:
        made = self.clock(config, clock)
        return Built(made, self.line(made)[1], (result(folder, made, 1),))

    monkeypatch.setattr(Ecp5Board, "build", build)
    monkeypatch.setattr("sigbit.flows.build.netlist_sha256", lambda config, target: "00")


@pytest.mark.usefixtures("placed")
def test_a_run_of_a_program_is_predicted(sigbit, tmp_path: Path, program_file: Path) -> None:
    figures, page = tmp_path / "b.json", tmp_path / "b.html"
    arguments = ["--freq", "60", "-o", tmp_path / "out", "--json", figures, "--report", page]
    answer = sigbit("build", "ulx3s", "--arch", program_file, *arguments)
    assert answer.code == 0, answer
    found = json.loads(figures.read_text())["predicted"]
    program = Program.load(program_file)
    cycles = predict(program, MemoryTiming(latency=2)).cycles
    assert found["cycles"] == cycles
    assert (found["program"], found["program_digest"]) == ("tiny", program.digest)
    assert found["run_ms"] == pytest.approx(cycles / 60e3)
    assert found["line_ms"] == pytest.approx(64 * 10 / 3e3)
    told = f"estimate for tiny: {cycles} cycles, {cycles / 60e3:.2f} ms for 1 image, and 0.21 ms"
    assert told in answer.out
    assert "Estimate of a run" in page.read_text()


@pytest.mark.usefixtures("placed")
def test_a_program_that_does_not_fit_the_memory_is_refused(
    refused, tmp_path: Path, program: Program
) -> None:
    path = tmp_path / "large.sigbit"
    replace(program, memory_bytes=1 << 20).save(path)
    told = refused("build", "ulx3s", "--arch", path, "-o", tmp_path / "out")
    assert "tiny needs 1,048,576 bytes of memory, ulx3s has 65,536 (on-chip)" in told
    assert not (tmp_path / "out").exists()


def test_slower_memory_takes_longer(program: Program) -> None:
    """An SDRAM beside a clock is slower than memory on the chip, and the slower the faster the
    accelerator's clock."""
    plain, sdram = registry.load("ulx3s"), registry.load("ulx3s").with_sdram(90.0)
    cycles = [
        predict(
            program, board.memory_timing(program.config, board.clock(program.config, mhz * 1e6))
        )
        for board, mhz in ((plain, 90), (sdram, 45), (sdram, 90))
    ]
    assert [c.cycles for c in cycles] == sorted({c.cycles for c in cycles})


@pytest.mark.parametrize("reached", [33.0, 95.0])
def test_a_board_with_an_sdram_has_two_clocks(
    sigbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: float
) -> None:
    """Each of them must be met."""
    report = json.loads(REPORT.read_text())
    report["fmax"]["$glbnet$memory_clk"] = {"achieved": reached, "constraint": 85.7}
    (tmp_path / "report.json").write_text(json.dumps(report))
    for name in ("board.bit", "board.lpf", "log.txt"):
        (tmp_path / name).write_text(name)

    def build(self: Ecp5Board, config: ArchConfig, clock: float, seeds: int, **_: object) -> Built:
        assert self.phase == 45
        made = self.clock(config, clock)
        return Built(made, 2_000_000, (result(tmp_path, made, 1),), self.memory_clock(made))

    monkeypatch.setattr(Ecp5Board, "build", build)
    monkeypatch.setattr("sigbit.flows.build.netlist_sha256", lambda config, target: "00")
    figures, page = tmp_path / "b.json", tmp_path / "b.html"
    arguments = ["--memory", "sdram", "--phase", "45", "--freq", "50", "--report", page]
    answer = sigbit("build", "ulx3s", "-o", tmp_path / "out", "--json", figures, *arguments)
    found = json.loads(figures.read_text())
    assert (found["memory"], found["memory_bytes"], found["phase"]) == ("sdram", 32 << 20, 45)
    assert found["clocks"]["memory"]["met"] == [found["memory_mhz"]] == [reached]
    assert found["clocks"]["memory"]["wanted"] == pytest.approx(600 / 7)
    assert f"memory after routing: {reached} MHz (seed 1 of {reached})" in answer.out
    assert f"memory: {reached} MHz after routing, for a clock of 85.7 MHz" in page.read_text()
    if reached < 85:
        assert answer.code == 1
        assert "the clock of the memory reaches 33.0 MHz, not 85.7 MHz" in answer.err
    else:
        assert answer.code == 0, answer


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["zedboard"], "no board 'zedboard': give one of icepi, ulx3s"),
        (["ulx3s", "--arch", "tpu"], "no accelerator 'tpu'"),
        (["ulx3s", "--arch", "zcu102"], "zcu102 on ulx3s: the board has one memory port"),
        (["ulx3s", "-o", "taken/out"], "cannot make the folder taken/out"),
        (["ulx3s", "--memory", "dram"], "the memory must be on-chip or sdram, not 'dram'"),
        (["ulx3s", "--phase", "90"], "a phase belongs to the memory sdram"),
        (["ulx3s", "--memory", "sdram", "--phase", "360"], "less than 360 degrees, not 360"),
        (["ulx3s", "--memory", "sdram", "--phase", "nan"], "less than 360 degrees, not nan"),
        (["ulx3s", "--sweep"], "a sweep of phases belongs to the memory sdram"),
        (["icepi", "--memory", "sdram"], "icepi has no SDRAM for Programs"),
        (["kv260", "--memory", "sdram"], "--memory: the memory of kv260 is that of its processor"),
        (["kv260", "--phase", "9"], "--phase: the memory of kv260 is that of its processor"),
        (["kv260", "--sweep"], "--sweep: the memory of kv260 is that of its processor"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ecp5, "gateware_key", None)
    (tmp_path / "taken").write_text("")
    assert told in refused("build", "-o", "out", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--freq", "9"], ["--seeds", "0"]])
def test_usage_errors(sigbit, tmp_path: Path, arguments: list[str]) -> None:
    answer = sigbit("build", "ulx3s", "-o", tmp_path / "out", *arguments)
    assert answer.code == 2
    assert arguments[0] in answer.err


@pytest.mark.synth
def test_a_project_for_the_vendors_tools(sigbit, tmp_path: Path) -> None:
    figures = tmp_path / "b.json"
    answer = sigbit(
        "build",
        "kv260",
        "--arch",
        "nano",
        "-o",
        tmp_path / "kv",
        "--freq",
        "150",
        "--json",
        figures,
    )
    assert answer.code == 0, answer
    found = json.loads(figures.read_text())
    assert found["clocks"] == {"accelerator": {"wanted": 150.0, "met": []}}
    assert (found["resources"], found["bitstream_bytes"]) == ({}, 0)
    text = cached_rtlil(PRESETS["nano"], Target.XCUP.fabric)
    assert found["netlist_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    written = {str(p.relative_to(tmp_path / "kv")) for p in (tmp_path / "kv").rglob("*.*")}
    assert set(found["files"]) - {"Makefile"} == written
    assert "not built by us" in answer.out


@pytest.mark.parametrize("option", [("--seeds", "2"), ("--report", "x.html")])
def test_what_a_project_does_not_take(sigbit, tmp_path: Path, option: tuple[str, str]) -> None:
    answer = sigbit("build", "zcu102", "-o", tmp_path / "z", *option)
    assert answer.code == 2
    assert f"{option[0]}: zcu102 is placed and routed by Vivado" in answer.err
    assert not (tmp_path / "z").exists()
