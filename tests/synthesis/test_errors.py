"""Mapping modules: what Yosys gets wrong is an error, and nothing half made is kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from sigbit_synthesis import netlist
from sigbit_synthesis.modules import ModuleText
from sigbit_synthesis.netlist import map_modules
from sigbit_synthesis.target import MODULE, Target
from sigbit_tools.toolchain import ToolchainError, cache_dir

GATE = f"""module \\{MODULE}
  wire input 0 \\a
  wire input 1 \\b
  wire output 2 \\y
  cell $and \\gate
    parameter \\A_SIGNED 0
    parameter \\B_SIGNED 0
    parameter \\A_WIDTH 1
    parameter \\B_WIDTH 1
    parameter \\Y_WIDTH 1
    connect \\A \\a
    connect \\B \\b
    connect \\Y \\y
  end
end
"""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGBIT_CACHE", str(tmp_path / "cache"))


def kept() -> list[str]:
    return [path.name for path in cache_dir().iterdir() if path.is_dir()]


def nothing(name: str, done: int, of: int) -> None:
    pass


@pytest.mark.synth
def test_a_module_is_mapped_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = map_modules([ModuleText("gate", GATE, ())], Target.ICE40, nothing)["gate"]
    assert first.counts() == {"SB_LUT4": 1}
    assert first.module()["ports"].keys() == {"a", "b", "y"}
    assert len(kept()) == 1

    def forbidden(*_: object) -> Any:
        raise AssertionError("Yosys was called again")

    monkeypatch.setattr(netlist, "_map", forbidden)
    again = map_modules([ModuleText("other", GATE, ())], Target.ICE40, nothing)["other"]
    assert again == first


@pytest.mark.synth
def test_an_error_of_yosys_is_told_and_nothing_is_kept() -> None:
    wrong = GATE.replace("$and", "$nonsense")
    with pytest.raises(ToolchainError, match="could not map gate to ice40") as caught:
        map_modules([ModuleText("gate", wrong, ())], Target.ICE40, nothing)
    assert "nonsense" in str(caught.value)
    assert kept() == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [("DSP48E2", "multiplier blocks .DSP48E2"), ("$mux", "does not have.*reported success: .mux")],
)
def test_cells_that_must_not_be_there_are_an_error(
    monkeypatch: pytest.MonkeyPatch, kind: str, message: str
) -> None:
    class Fake(netlist.Tools):
        def run(self, command: list[str], folder: Path) -> Any:
            result = {"modules": {MODULE: {"ports": {}, "cells": {"c": {"type": kind}}}}}
            (folder / "mapped.json").write_text(json.dumps(result))
            return netlist.subprocess.CompletedProcess(command, 0, "")

    monkeypatch.setattr(netlist, "Tools", Fake)
    with pytest.raises(ToolchainError, match=message):
        map_modules([ModuleText("gate", GATE, ())], Target.XCUP, nothing)
    assert kept() == []


def test_an_interruption_ends_the_tools_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 3600\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(netlist, "synth_tool", lambda name: sleeper)

    def interrupted(name: str, done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_modules(
            [ModuleText(f"m{k}", GATE + f"# {k}\n", ()) for k in range(3)], Target.XCUP, interrupted
        )
    assert kept() == []
