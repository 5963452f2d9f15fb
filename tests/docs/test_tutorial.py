"""The tutorial's blocks, run in their order in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(python|sh)(?: file=(\S+))?\n(.*?)^```$", re.M | re.S)


@pytest.mark.sim
def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {"__name__": "tutorial"}
    ran = []
    for kind, file, text in BLOCK.findall(TUTORIAL.read_text()):
        if file:
            Path(file).write_text(text)
        elif kind == "python":
            exec(compile(text, str(TUTORIAL), "exec"), names)
        else:
            for line in text.splitlines():
                assert line.startswith("sigbit ")
                command = [sys.executable, "-m", "sigbit.cli", *line.split()[1:]]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
        ran.append(kind)
    assert (ran.count("python"), ran.count("sh")) == (5, 3)
    assert names["accuracy"] > 0.95
    assert (names["trained"] == names["labels"][names["test"]]).float().mean() > 0.95
    assert not names["done"].mismatches


@pytest.mark.sim
def test_the_lines_of_the_readme_run() -> None:
    text = (TUTORIAL.parents[1] / "README.md").read_text()
    (block,) = (text for kind, _, text in BLOCK.findall(text) if kind == "python")
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    assert names["done"].outputs
    assert not names["done"].mismatches
