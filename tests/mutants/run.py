"""One mutant: the tests that execute what it changes, in a copy of the repository."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mutants.rooms import ROOT
from mutants.sites import Mutant

NO_TESTS = 5
"""Exit code of pytest if none was chosen."""


@dataclass(frozen=True)
class Case:
    """A test of the tier: its name for pytest, processor time with a record of its lines, and how
    many of the recorded modules it executes."""

    name: str
    seconds: float
    breadth: int = 1

    @property
    def file(self) -> str:
        """Its file, relative to the repository."""
        return self.name.partition("::")[0]

    @property
    def function(self) -> str:
        """File and function, without the case."""
        return self.name.partition("[")[0]

    @property
    def limit(self) -> float:
        """Processor time after which it counts as hanging."""
        return max(4.0, 4 * self.seconds)


@dataclass(frozen=True)
class Verdict:
    """``outcome``: killed by a failing test, hang, crash, or survived; ``by``: that test;
    ``tests``: how many were chosen."""

    outcome: str
    by: str
    tests: int
    seconds: float
    cpu_seconds: float


class Copy:
    """A copy of the repository, and the process that runs tests in it."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "mutants.server"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.folder = Path(self._answer().rstrip("\n"))
        self._warm: set[str] = set()

    def _answer(self) -> str:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of tests has ended, exit code {self._server.wait()}")
        return line

    def close(self) -> None:
        """End the process, which removes the copy."""
        self._server.communicate()

    def run(
        self,
        files: Sequence[str],
        tests: Sequence[Case] = (),
        *,
        writes: bool = False,
        lines: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Run ``tests`` of ``files`` until one fails; see :func:`mutants.server._child`."""
        request = {
            "files": list(files),
            "tests": [test.name for test in tests],
            "limits": {test.name: test.limit for test in tests},
            "writes": writes,
            "lines": list(lines),
        }
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer: dict[str, Any] = json.loads(self._answer())
        return answer

    def warm(self, files: Sequence[str]) -> None:
        """Let what ``files`` import be compiled, without a mutant."""
        if missing := [file for file in files if file not in self._warm]:
            self.run(missing, [Case("none", 0.0)], writes=True)
            self._warm.update(missing)

    @contextmanager
    def changed(self, path: Path, mutant: Mutant) -> Iterator[None]:
        """``mutant`` in the module at ``path`` while the context lasts. It has another time than
        the compiled file of the original, which is therefore not taken for it."""
        file = self.folder / path
        source, status = file.read_bytes(), file.stat()
        file.write_bytes(mutant.applied(source))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 10**10))
        try:
            yield
        finally:
            file.write_bytes(source)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    def judged(self, groups: Sequence[Sequence[Case]]) -> Verdict:
        """Run groups of tests, one after another, until a test fails."""
        begin, used = time.monotonic(), 0.0
        for group in groups:
            ended = self.run(sorted({test.file for test in group}), group)
            used += ended["cpu_seconds"]
            outcome, by = _outcome(ended)
            if outcome != "survived":
                break
        else:
            outcome, by = "survived", ""
        tests = sum(map(len, groups))
        return Verdict(outcome, by, tests, time.monotonic() - begin, used)


@cache
def copy() -> Copy:
    """The copy of this process; it ends with it."""
    return Copy()


def _outcome(ended: dict[str, Any]) -> tuple[str, str]:
    """What the end of pytest says of a mutant."""
    current = ended["current"]
    by = current.get("test", "collection")
    if ended["hangs"]:
        return "hang", by
    if ended["code"] in (0, NO_TESTS):
        return "survived", ""
    killed = ended["code"] in (1, 2) and current.get("state", "failed") == "failed"
    return ("killed", by) if killed else ("crash", f"{by}, exit code {ended['code']}")
