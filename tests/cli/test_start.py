"""Starting up: light, helpful, and without a traceback for mistakes."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from sigbit.cli.console.exits import explain
from sigbit.cli.invocation import invoke
from sigbit.errors import CheckFailed, UserError, given


def _python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,  # a hang, on whatever machine
        env={**os.environ, **env},
    )


HEAVY = {
    *("torch", "matplotlib", "amaranth", "sklearn", "scipy", "onnx", "optuna", "PIL", "jinja2"),
    *("accelerate", "safetensors", "sympy", "cocotb", "pooch"),
    *("sigbit_hw.gateware", "sigbit_synthesis", "sigbit_sim", "sigbit_boards"),
    *("sigbit.compiler", "sigbit.quant", "sigbit.zoo", "sigbit.data", "sigbit.training"),
}
"""What takes long to import, and helps nobody who asks for help."""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([], 2), (["--help"], 0), (["train", "--help"], 0), (["bench", "convolutions", "--help"], 0)],
)
def test_help_imports_nothing_heavy(arguments: list[str], code: int) -> None:
    done = _python(
        "import sys; from sigbit.cli.invocation import invoke\n"
        f"assert invoke({arguments}) == {code}\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: sigbit" in done.stdout.replace("python -m ", "")


def test_version(sigbit):
    answer = sigbit("--version")
    assert answer.code == 0
    assert answer.out.strip() == f"sigbit {version('sigbit')}"


@pytest.mark.parametrize(
    "command", ["demo", "check", "quantize", "compile", "inspect", "run", "arch", "bench", "synth"]
)
def test_help_of_every_command(sigbit, command):
    answer = sigbit(command, "--help")
    assert answer.code == 0
    assert answer.out.strip()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["arch", "nonsense"],
        ["run"],
        ["inspect", "a", "b"],
        ["demo", "--images", "0"],
        ["demo", "--images", "many"],
        ["demo", "--device", "fpga"],
        ["run", "a", "b", "--latency", "-1"],
    ],
)
def test_usage_errors(sigbit, arguments):
    answer = sigbit(*arguments)
    assert answer.code == 2
    assert "Traceback" not in answer.err
    assert "Error" in answer.err


def test_exit_codes():
    assert explain(UserError("x")) == ("error: x", 2)
    assert explain(CheckFailed("x")) == ("failed: x", 1)
    absent = FileNotFoundError(2, "No such file", "a.npy")
    assert explain(absent) == ("error: a.npy: No such file", 2)
    assert explain(ValueError("a bug of ours")) is None
    assert explain(RuntimeError("a bug of ours")) is None
    torchs = RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate")
    assert explain(RuntimeError(f"{torchs} memory: you tried to allocate 8 bytes"))[1] == 2
    for error in (MemoryError(), RuntimeError("std::bad_alloc")):
        assert explain(error) == (
            "error: out of memory: take smaller inputs, or fewer samples at once", 2
        )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "sigbit.compiler.CompileError",
        "sigbit.data.DataError",
        "sigbit.export.ExportError",
        "sigbit.frontend.UnreadableModel",
        "sigbit.frontend.UnsupportedModel",
        "sigbit.ir.integer.GraphError",
        "sigbit.quant.QuantizationError",
        "sigbit.runtime.DeviceError",
        "sigbit.training.TrainingError",
        "sigbit.zoo.ZooError",
        "sigbit_hw.arch.program.ProgramError",
        "sigbit_tools.files.FileError",
        "sigbit_tools.toolchain.ToolchainError",
    ],
)
def test_exceptions_for_users_are_explained(name):
    import importlib

    module, _, exception = name.rpartition(".")
    error = getattr(importlib.import_module(module), exception)
    assert explain(error.__new__(error, "x"))[1] == 2


def test_given_names_the_value():
    with pytest.raises(UserError, match="--arch: pixels must be 4"), given("--arch"):
        raise ValueError("pixels must be 4")


def test_interrupt(monkeypatch, capsys):
    from sigbit.cli import app

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "app", interrupted)
    assert invoke([]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_debug_shows_the_traceback(tmp_path):
    code = "from sigbit.cli.invocation import invoke; invoke(['inspect', 'absent.sigbit'])"
    assert "Traceback" not in _python(code).stderr
    shown = _python(code, SIGBIT_DEBUG="1").stderr
    assert "Traceback" in shown
    assert "absent.sigbit: no such file" in shown
