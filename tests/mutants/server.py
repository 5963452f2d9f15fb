"""A process that has imported what the product needs of others, and forks for every run of tests:
``python -m mutants.server``.

It works in a copy of the repository, whose folder is the first line that it writes, and which it
removes when its input ends. Every further line, in and out, is JSON: a request (the arguments of
:func:`_child`), and what came of it.
"""

import gc
import importlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import pytest

from mutants.plugins import Runner
from mutants.rooms import MARKERS, ROOT

PARTS = ("hw", "sw", "sim", "boards", "tests", "docs", "examples", "results")
SOURCES = ("hw", "sw", "sim", "boards")
PRELOADED = (
    "amaranth.back.rtlil", "amaranth.lib.fifo", "amaranth.lib.stream", "amaranth.lib.wiring",
    "amaranth.sim", "hypothesis.strategies", "jinja2", "numpy.testing", "onnx", "pydantic",
    "rich.console", "torch", "torch.export", "torch.fx", "torch.nn.utils.parametrize", "typer",
    "xml.etree.ElementTree",
)  # fmt: skip
PATIENCE = 3600
"""Seconds of the clock, for mutants that wait for something that never comes; a loaded machine is
slow, so that processor time is what decides about all others."""
BYTES = 4 << 30
"""Memory that a run may take beyond the server's."""


def main() -> None:
    """Serve until the input ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    sys.path[:] = [name for name in sys.path if Path(name).resolve() != ROOT / "tests"]
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name).resolve()
        _copy(folder)
        os.chdir(folder)
        paths = [str(folder / part) for part in SOURCES]
        os.environ |= {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "SIGBIT_CACHE": str(folder / "cache"),
        }
        sys.path[:0] = paths
        print(folder, flush=True)
        for line in sys.stdin:
            answer = json.dumps(_served(folder, json.loads(line))) + "\n"
            try:
                os.write(1, answer.encode())
            except BrokenPipeError:  # whoever asked is gone
                break


def _copy(folder: Path) -> None:
    left_out = shutil.ignore_patterns("__pycache__", ".*")
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=left_out)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, folder)


def _served(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    said = folder / "said"
    said.write_bytes(b"")
    child = os.fork()
    if child == 0:
        _child(folder, **request)
    waited = os.pidfd_open(child)
    ready, _, _ = select.select([waited, sys.stdin], [], [], PATIENCE)
    in_time = waited in ready
    os.close(waited)
    if not in_time:  # or whoever asked is gone
        os.killpg(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    report = folder / "report"
    current = json.loads(report.read_text()) if report.exists() else {}
    report.unlink(missing_ok=True)
    return {
        "code": code,
        "hangs": not in_time or code == -signal.SIGXCPU,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "current": current,
        "said": said.read_text(errors="replace")[-2000:],
    }


def _child(
    folder: Path,
    files: list[str],
    tests: list[str],
    limits: dict[str, float],
    writes: bool,
    lines: list[str],
) -> None:
    """Run tests in a forked process, which then ends.

    ``files`` are collected, and of them ``tests`` are run in this order, each for so many seconds
    of processor time as ``limits`` says; no ``tests``: all of the tier, until the end, recording
    which executes which of the files ``lines``. ``writes``: compiled files are kept.
    """
    code = 70
    try:
        os.setsid()
        output = os.open(folder / "said", os.O_WRONLY | os.O_APPEND)
        for number in (1, 2):
            os.dup2(output, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (taken + BYTES, taken + BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.dont_write_bytecode = not writes
        plugin = Runner(folder, tests, limits, lines)
        words = ["-q", "--tb=line", "-p", "no:cacheprovider", "-m", MARKERS]
        if lines:  # a test that is cut off leaves coroutines that end late
            words += ["-p", "no:unraisableexception"]
        code = int(pytest.main([*words, *(["-x"] if tests else []), *files], plugins=[plugin]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
