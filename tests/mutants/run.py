"""One mutant: the tests of a tier, in a copy of the repository that has the change."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mutants.rooms import ROOT
from mutants.sites import Mutant

PARTS = ("hw", "sw", "sim", "boards", "tests", "docs", "examples", "results")
CPU_SECONDS = 900
"""Processor time of a process of the tests, after which the mutant counts as hanging."""
PATIENCE = 7200
"""Seconds of the clock, for mutants that wait for something that never comes."""
BYTES = 16 << 30
"""Address space of a process of the tests."""

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """``outcome``: killed by a failing test, hang, crash, or survived; ``by``: that test."""

    outcome: str
    by: str
    seconds: float
    cpu_seconds: float


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the repository without compiled files, which is removed at the end."""
    left_out = shutil.ignore_patterns("__pycache__", ".*")
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part, ignore=left_out)
        for path in ROOT.iterdir():
            if path.is_file():
                shutil.copy(path, folder)
        yield folder


@contextmanager
def changed(copy: Path, path: Path, mutant: Mutant) -> Iterator[None]:
    """``mutant`` in the module at ``path`` of ``copy``, while the context lasts."""
    file = copy / path
    source = file.read_bytes()
    file.write_bytes(mutant.applied(source))
    try:
        yield
    finally:
        file.write_bytes(source)


def judged(copy: Path, tests: tuple[str, ...]) -> Verdict:
    """Run ``tests`` in ``copy`` until one fails."""
    paths = [str(copy / part) for part in ("hw", "sw", "sim", "boards")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_CACHE_HOME": str(copy / "cache"),
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    begin, used = time.monotonic(), _used()
    with subprocess.Popen(
        [*command, "-m", "not (slow or data or long)", *tests],
        cwd=copy,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_limited,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=PATIENCE)
            hangs = process.returncode == -signal.SIGXCPU
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, hangs = process.communicate()[0], True
    outcome, by = _outcome(process.returncode, hangs, said)
    return Verdict(outcome, by, time.monotonic() - begin, _used() - used)


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 10))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


def _used() -> float:
    """Processor time of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _outcome(code: int, hangs: bool, said: str) -> tuple[str, str]:
    """What the exit code of pytest says of the mutant.

    Raises ``RuntimeError`` if no test was run.
    """
    if hangs:
        return "hang", ""
    if code == 0:
        return "survived", ""
    if code == 5:
        raise RuntimeError(f"no test was run: {said[-1000:]}")
    found = _FAILED.search(said)
    return ("killed", found[1]) if found else ("crash", f"exit code {code}")
