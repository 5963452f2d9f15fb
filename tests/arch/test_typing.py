"""Instructions are typed by opcode: what a misspelt field is to the type checker."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

RIGHT = """\
from collections.abc import Sequence
from dataclasses import replace

from sigbit_hw.arch.isa import Exec, Fill, Halt, Instr, Load, LoadKind, Mode, Out, Seg, Store

program: Sequence[Instr] = [
    Load(kind=LoadKind.ACTS, address=4096, beats=2, dst=0, n0=4, signal=2),
    Fill(code=1, dst=64, n0=4),
    Seg(index=0, n_ic=2, d_ic=1, gap=0, shift=True),
    Out(base=128, n_slots=1, n_planes=1),
    Exec(mode=Mode.MAC, run=4, wrap=4, n_seg=1, drain=True, wait=1),
    Store(address=8192, beats=2, src=128, n0=4),
    Halt(),
]
for instr in program:
    tagged = replace(instr, tag=3)
    if isinstance(tagged, Load | Store):
        moved = replace(tagged, address=tagged.address + 64, beats=tagged.beats)
    elif isinstance(tagged, Exec):
        steps: int = tagged.n_rows * tagged.run
"""

WRONG = {
    "Load(adress=64)": '"adress"',
    "Load(src=0)": '"src"',
    "Store(dst=0)": '"dst"',
    "Exec(n_ky=3)": '"n_ky"',
    "Seg(run=4)": '"run"',
    "Halt(signal_=1)": '"signal_"',
    "Exec(mode=1)": '"mode"',
    "Load(kind=Mode.MAX)": '"kind"',
    "Exec(drain=1)": '"drain"',
    "Exec(4)": "positional",
    "Exec().n_kx": '"n_kx"',
    "Fill().address": '"address"',
    "replace(Store(), adress=64)": '"adress"',
    "replace(Fill(), sync=True)": '"sync"',
    "Exec().run == Exec().rum": '"rum"',
}
"""A statement, and what the error names."""


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By file, the lines of ``mypy --strict`` about it: one file that is right, one a statement."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "right.py").write_text(RIGHT)
    imports = "".join(RIGHT.splitlines(keepends=True)[1:4])
    for number, statement in enumerate(WRONG):
        (folder / f"wrong_{number}.py").write_text(f"{imports}\n{statement}\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache", "."],
        cwd=folder,
        env=os.environ | {"MYPYPATH": str(ROOT / "hw")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert all(line.startswith(("right.py:", "wrong_")) for line in lines), done.stdout
    return {
        path.name: [line for line in lines if line.startswith(f"{path.name}:")]
        for path in folder.glob("*.py")
    }


def test_a_program_of_right_fields_passes(errors: dict[str, list[str]]) -> None:
    assert errors["right.py"] == []


@pytest.mark.parametrize("statement", WRONG)
def test_a_wrong_field_is_an_error(errors: dict[str, list[str]], statement: str) -> None:
    found = errors[f"wrong_{list(WRONG).index(statement)}.py"]
    assert len(found) == 1
    assert WRONG[statement] in found[0]
