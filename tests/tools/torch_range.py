"""Run the tests that torch matters for with the oldest and the newest release that pyproject.toml
allows.

    python tests/tools/torch_range.py [--only oldest|newest] [--keep]

Each release gets an environment of its own under ``build/torch``: the lock's, but for torch. It is
removed again when its tests have passed, unless ``--keep`` says otherwise: with the CUDA packages
that some indexes deliver, it takes several gigabytes. pip's own settings say where packages come
from (such as an index of CPU builds).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
TESTED = (
    "tests/frontend",
    "tests/inputs",
    "tests/ir",
    "tests/export",
    "tests/quant",
    "tests/training",
    "tests/zoo",
    "tests/cli/test_check.py",
)
MARKS = "not (sim or synth or slow or data or long)"


def allowed() -> Requirement:
    """What pyproject.toml says of torch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (torch,) = (r for r in map(Requirement, project["dependencies"]) if r.name == "torch")
    return torch


def wanted(which: str) -> str:
    """The requirement that installs the oldest or the newest allowed release."""
    torch = allowed()
    if which == "newest":
        return str(torch)
    least = min(Version(s.version) for s in torch.specifier if s.operator in (">=", "=="))
    return f"torch=={least}"


def environment(which: str, folder: Path) -> Path:
    """Make the environment; its Python."""
    locked = (ROOT / "requirements.lock").read_text().splitlines()
    others = [line for line in locked if not line.startswith("torch==")]
    assert len(others) == len(locked) - 1
    venv.create(folder, with_pip=True, clear=True)
    python = folder / "bin" / "python"
    requirements = folder / "requirements.txt"
    requirements.write_text("\n".join([*others, wanted(which)]) + "\n")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-r", requirements], check=True)
    return python


def release(python: Path) -> str:
    """The release of torch that an environment has."""
    show = [python, "-c", "import torch; print(torch.__version__)"]
    return subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip()


def tested(which: str, keep: bool) -> tuple[str, bool]:
    """The release, and whether all tests passed with it."""
    folder = ROOT / "build" / "torch" / which
    python = environment(which, folder)
    version = release(python)
    print(f"torch {version}, the {which} allowed by {allowed()}", flush=True)
    path = os.pathsep.join(str(ROOT / part) for part in ("hw", "sw", "sim", "boards"))
    command = [python, "-m", "pytest", "-q", "-n", "2", "-m", MARKS, *TESTED]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=False)
    if done.returncode == 0 and not keep:
        shutil.rmtree(folder)
    return version, done.returncode == 0


def main(arguments: Sequence[str]) -> int:
    """Test what is asked for; 1 if a test failed."""
    parser = argparse.ArgumentParser(description="Test the oldest and the newest torch.")
    parser.add_argument("--only", choices=["oldest", "newest"], help="test one of them")
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    options = parser.parse_args(arguments)
    both = [options.only] if options.only else ["oldest", "newest"]
    rows = [tested(which, options.keep) for which in both]
    for version, passed in rows:
        print(f"torch {version}: {'passed' if passed else 'FAILED'}")
    return 0 if all(passed for _, passed in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
