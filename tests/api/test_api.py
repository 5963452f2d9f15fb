"""The public interface: its names, what importing it costs, its types."""

import ast
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sigbit

NAMES = [
    "ArchConfig",
    "BoardError",
    "Budget",
    "Built",
    "Calibration",
    "CheckedNetwork",
    "CompileError",
    "Device",
    "DeviceError",
    "EmittedVerilog",
    "ExportedModel",
    "FineTuning",
    "Formats",
    "ImageOptions",
    "ImagePreprocessing",
    "InspectedProgram",
    "IntegerGraph",
    "IntegerModel",
    "Machine",
    "Methods",
    "Mismatch",
    "Network",
    "OnnxOptions",
    "PRESETS",
    "PhaseSweep",
    "PostTraining",
    "PreparedModel",
    "Program",
    "ProgramError",
    "ProgramMemory",
    "ProgramRun",
    "QuantSpec",
    "QuantizationError",
    "QuantizedNetwork",
    "Reconstruction",
    "RunCancelled",
    "RunTimeout",
    "Session",
    "SessionResult",
    "SigbitError",
    "SweepOutcome",
    "Synthesized",
    "TrainedModel",
    "TrainingOptions",
    "UnsupportedModel",
    "UserError",
    "build",
    "check",
    "compare",
    "compile",
    "convert",
    "device",
    "export_model",
    "inspect",
    "load_arch",
    "load_model",
    "load_plugin",
    "load_program",
    "load_run",
    "methods",
    "prepare",
    "quantize",
    "run",
    "save_model",
    "sweep",
    "sweep_phases",
    "synth",
    "train",
    "write_verilog",
]
HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def _printed(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.stdout


def test_names() -> None:
    code = "import sigbit; print(sorted(n for n in dir(sigbit) if n[0]!='_'))"
    assert ast.literal_eval(_printed(code)) == NAMES


def test_import_is_light() -> None:
    """Neither the package nor names that need no network bring PyTorch or the gateware."""
    code = (
        "import json, sys, sigbit\n"
        "sigbit.ArchConfig, sigbit.PRESETS, sigbit.Program, sigbit.Session, sigbit.device\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    heavy = {"torch", "amaranth", "matplotlib", "onnx", "sigbit_sim", "sigbit_synthesis"}
    assert not heavy & set(json.loads(_printed(code)))


def test_every_name_is_there_and_documented() -> None:
    submodules = {module.name for module in pkgutil.iter_modules(sigbit.__path__)}
    pages = (ROOT / "docs" / "api.md").read_text() + (sigbit.__doc__ or "")
    for name in sigbit.__all__:
        value = getattr(sigbit, name)
        assert name not in submodules, f"sigbit.{name} is a module, too"
        assert name == "PRESETS" or value.__doc__, f"sigbit.{name} has no docstring"
        assert re.search(rf"\b{name}\b", pages), f"docs/api.md does not mention {name}"
    assert sigbit.__version__ == importlib.metadata.version("sigbit")


def test_type_checkers_see_what_is_imported() -> None:
    """The imports for type checkers are those that happen when a name is used."""
    tree = ast.parse(Path(sigbit.__file__).read_text())
    seen = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in ast.walk(branch)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sigbit")
        for alias in node.names
    }
    assert seen == dict(sigbit._HOMES)
    assert sorted(sigbit.__all__) == sorted(sigbit._HOMES)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'sigbit' has no attribute 'quantise'"):
        _ = sigbit.quantise


@pytest.mark.sim
def test_use(tmp_path: Path) -> None:
    from api import uses_api

    uses_api.main(tmp_path)


WRONG = {
    "[instr.n_segs for instr in program.listing if isinstance(instr, Exec)]": "attr-defined",
    "Exec(n_segs=1)": "call-arg",
    "sigbit.quantise('zoo:digits', 'digits')": "attr-defined",
    "program.imagess": "attr-defined",
    "sigbit.compile(3.5)": "arg-type",
    "sigbit.check('zoo:digits', latency='40')": "arg-type",
    "sigbit.run(program, [1.0], devices='rtl')": "call-arg",
    "sigbit.inspect(program).prediction.cycles": "union-attr",
}
"""Mistakes in the use of the interface, and how mypy calls them."""


@pytest.mark.slow
def test_types(tmp_path: Path) -> None:
    """``mypy --strict`` accepts the file that uses the interface, and finds every mistake."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import sigbit\nfrom sigbit_hw.arch.isa import Exec\n\n\n"
        "def misuse(program: sigbit.Program) -> None:\n"
    )
    with wrong.open("a") as file:
        file.writelines(f"    print({mistake})\n" for mistake in WRONG)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"),
            *("--config-file", str(ROOT / "pyproject.toml")),
            *("--cache-dir", str(ROOT / ".mypy_cache" / "api")),
            *(str(HERE / "uses_api.py"), str(wrong)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    found = re.findall(r"^(.+?):(\d+): error: .*\[(.+)\]$", done.stdout, re.MULTILINE)
    assert [(Path(name).name, int(line), code) for name, line, code in found] == [
        ("wrong.py", line, code) for line, code in enumerate(WRONG.values(), start=6)
    ], done.stdout + done.stderr
