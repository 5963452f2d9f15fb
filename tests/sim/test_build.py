"""The build of a simulator: what it reports, and what it says when it fails."""

from pathlib import Path

import pytest

from sigbit_sim.rtl.native import verilated
from sigbit_tools.toolchain import ToolchainError

pytestmark = pytest.mark.sim

MAKEFILE = """\
all: a.o b.o c.o
\t@echo archive
%.o:
\ttrue -c $*.cpp
"""


def made(folder: Path, text: str) -> list[tuple[int, int]]:
    (folder / "Makefile").write_text(text)
    said: list[tuple[int, int]] = []
    verilated._make(["make", "-j2"], folder, lambda *steps: said.append(steps))
    return said


def test_every_file_is_reported_when_it_begins(tmp_path: Path) -> None:
    assert made(tmp_path, MAKEFILE) == [(0, 3), (1, 3), (2, 3)]


def test_a_file_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"building the RTL model failed: make -j2 …:\n(.*\n)*"
                       r".*b\.o.*Error 1"):  # fmt: skip
        made(tmp_path, MAKEFILE + "b.o:\n\tfalse -c b.cpp\n")
