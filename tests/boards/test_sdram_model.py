"""The model of an SDRAM: what it keeps, and that it catches every violation."""

import subprocess
from pathlib import Path

import pytest

from boards import pins
from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import require

PERIOD = 11_111
"""Period of a clock of 90 MHz in ps."""
A10 = 0x400
HERE = Path(pins.__file__).parent

Line = tuple[int, str, int, int, int, int]


def command(wait: int, name: str, bank: int = 0, a: int = 0, data: int = 0, mask: int = 0) -> Line:
    """A command ``wait`` ns, rounded up to the next edge, after the one before."""
    return wait, name, bank, a, data, mask


def start(power_up: int = 200_050, refreshes: int = 8, mode: int = 0x20) -> list[Line]:
    return [
        command(100, "low"),
        command(12, "nop"),
        command(power_up, "precharge", a=A10),
        *(command(23 if k == 0 else 78, "refresh") for k in range(refreshes)),
        command(78, "mode", a=mode),
        command(34, "nop"),
    ]


@pytest.fixture(scope="module")
def program() -> Path:
    require("g++")
    sources = [(HERE / name).read_text() for name in ("commands.cpp", "sdram.h")]

    def build(into: Path) -> None:
        command = ["g++", "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{HERE}"]
        command += [str(HERE / "commands.cpp"), "-o", str(into / "commands")]
        subprocess.run(command, check=True)

    return cached_folder(f"sdram-commands-{key_of(*sources)}", build) / "commands"


def run(program: Path, lines: list[Line], period: int = PERIOD) -> subprocess.CompletedProcess:
    text = "\n".join(" ".join(map(str, line)) for line in lines)
    return subprocess.run(
        [program, str(period)], input=text, capture_output=True, text=True, check=False
    )


def test_it_keeps_words_and_masks_bytes(program: Path) -> None:
    lines = [
        *start(),
        command(12, "activate", bank=1, a=5),
        command(23, "write", bank=1, a=7, data=0x1234),
        command(0, "write", bank=1, a=8, data=0xFFFF),
        command(0, "write", bank=1, a=8, data=0xABCD, mask=0b10),
        command(12, "activate", bank=2, a=5),
        command(23, "write", bank=2, a=7, data=0x4321),
        command(34, "read", bank=1, a=7),
        command(34, "read", bank=1, a=8),
        command(34, "precharge", a=A10),
        command(45, "refresh"),
        command(78, "activate", bank=2, a=5),
        command(23, "read", bank=2, a=7 | A10),
        command(78, "activate", bank=2, a=5),
    ]
    done = run(program, lines)
    assert done.returncode == 0, done.stderr
    assert [int(word) for word in done.stdout.split()] == [0x1234, 0xFFCD, 0x4321]


def opened(*more: Line) -> list[Line]:
    return [*start(), command(12, "activate", a=1), *more]


VIOLATIONS = {
    "no_power_up": (start(power_up=150_000), "a command in the first 200 us"),
    "few_refreshes": (start(refreshes=2), "before 8 refreshes"),
    "bad_mode": (start(mode=0x23), "mode 35"),
    "bad_latency": (start(mode=0x50), "CAS latency 5"),
    "no_mode": ([*start()[:-2], command(78, "activate")], "before initialisation"),
    "mode_to_command": ([*start()[:-1], command(0, "activate")], "tMRD"),
    "no_precharge": (
        [*start()[:2], command(200_050, "refresh")],
        "before all banks were precharged",
    ),
    "tRCD": (opened(command(0, "read")), "tRCD: 11 ns"),
    "tRCD_write": (opened(command(0, "write")), "tRCD: 11 ns"),
    "closed": ([*start(), command(12, "read")], "without an open row"),
    "other_bank": (opened(command(23, "read", bank=3)), "without an open row"),
    "opened_twice": (opened(command(78, "activate", a=2)), "that has one open"),
    "tRAS": (opened(command(23, "precharge")), "tRAS: 33 ns"),
    "tRP": (opened(command(45, "precharge"), command(0, "activate")), "tRP: 11 ns"),
    "tRRD": (opened(command(0, "activate", bank=1)), "tRRD: 11 ns"),
    "tWR": (opened(command(34, "write"), command(0, "precharge")), "tWR: 11 ns"),
    "auto_precharge_tRP": (
        opened(command(34, "write", a=A10), command(12, "activate", a=2)),
        "tRP",
    ),
    "auto_precharge_tRAS": (opened(command(12, "read", a=A10)), "tRAS: 33 ns"),
    "tRFC": (
        [*start(), command(12, "refresh"), command(56, "activate")],
        "tRFC: 66 ns",
    ),
    "refresh_of_open_rows": (opened(command(78, "refresh")), "a refresh while a row is open"),
    "refresh_after_precharge": (
        opened(command(45, "precharge", a=A10), command(0, "refresh")),
        "tRP",
    ),
    "no_refresh": ([*start(), command(80_000, "nop")], "tREFI: only 0 refreshes"),
    "late_refreshes": (
        [*start(), *(command(8_700, "refresh") for _ in range(100))],
        "tREFI: only",
    ),
    "burst_stop": (opened(command(34, "stop")), "burst stop"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violations_end_the_run(program: Path, name: str) -> None:
    lines, told = VIOLATIONS[name]
    done = run(program, lines)
    assert done.returncode == 3, done.stdout
    assert told in done.stderr


LEGAL = {
    "tRCD": opened(command(12, "read"), command(0, "read"), command(0, "read")),
    "tRAS": opened(command(34, "precharge"), command(12, "activate", a=2)),
    "tRRD": opened(command(12, "activate", bank=1)),
    "tWR": opened(command(34, "write"), command(12, "precharge"), command(12, "activate")),
    "auto_precharge": opened(command(23, "read", a=A10), command(23, "activate", a=2)),
    "tRFC": [*start(), command(12, "refresh"), command(67, "activate")],
    "precharge_of_closed_banks": [*start(), command(12, "precharge", a=A10)],
}


@pytest.mark.parametrize("name", LEGAL)
def test_the_next_edge_after_a_violation_is_allowed(program: Path, name: str) -> None:
    done = run(program, LEGAL[name])
    assert done.returncode == 0, done.stderr


def test_clocks_that_are_too_fast(program: Path) -> None:
    assert run(program, start(), 10_000).returncode == 0
    assert "tCK: CAS latency 2" in run(program, start(), 9_000).stderr
    assert run(program, start(mode=0x30), 9_000).returncode == 0
    assert "tIS" in run(program, start(), 5_000).stderr


def test_refreshes_in_time(program: Path) -> None:
    lines = [*start(), *(command(7_700, "refresh") for _ in range(200))]
    done = run(program, lines)
    assert done.returncode == 0, done.stderr
