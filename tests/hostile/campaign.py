"""Hostile files by the thousand: what each kind's reader made of them, as a table."""

import json
import os
import random
import select
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from hostile.kinds import Kind, kinds
from hostile.mutators import damaged, mutated
from sigbit_tools.cache import SECRET, cache_secret

POOL = 5
"""Valid files of every kind that others are made from."""
START, PATIENCE = 600, 120
"""Seconds of the clock that a worker may take to start, and to answer."""
KEPT = 20
"""Failures of a kind that are kept."""
SAMPLE = 50
"""Files between two looks at folders that nobody may write to."""

FINE = ("accepted", "refused")


@dataclass(frozen=True)
class Case:
    """A file and what must come of it: ``valid`` ones are accepted, ``crafted`` ones of a known
    fault refused; of ``damaged`` and ``mutated`` ones either may come."""

    kind: str
    what: str
    name: str
    data: bytes
    companions: Path


@dataclass
class Row:
    """The outcomes of one kind."""

    kind: str
    valid: int = 0
    damaged: int = 0
    crafted: int = 0
    accepted: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    grown: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"faults": dict(self.faults)}


class Worker:
    """A :mod:`hostile.worker` in folders of its own; started again when it dies."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._process: subprocess.Popen[str] | None = None
        self.starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def open(self, kind: str, path: Path) -> dict[str, Any]:
        """What became of the file."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps({"kind": kind, "path": str(path)}) + "\n")
        process.stdin.flush()
        answer = self._answer(PATIENCE)
        if answer is None:
            try:
                outcome = f"ended the process ({process.wait(1)})"
            except subprocess.TimeoutExpired:
                outcome = "never ended"
            self.stop()
            return {"outcome": outcome, "text": "", "seconds": 0.0, "grown": 0}
        return answer

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            shutil.rmtree(self.root, ignore_errors=True)
            for name in ("target", "tmp", "cache", "home", "cwd"):
                (self.root / name).mkdir(parents=True)
            (self.root / "secret.txt").write_text("not yours")
            (self.root / "cache" / SECRET).write_bytes(cache_secret())  # the pool is signed with it
            self.starts += 1
            environment = os.environ | {
                "TMPDIR": str(self.root / "tmp"),
                "SIGBIT_CACHE": str(self.root / "cache"),
                "XDG_CACHE_HOME": str(self.root / "cache"),
                "HOME": str(self.root / "home"),
                "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path))),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TORCHINDUCTOR_CACHE_DIR": str(self.root / "cache" / "inductor"),
                "OMP_NUM_THREADS": "1",
                "MALLOC_ARENA_MAX": "2",
            }
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hostile.worker", str(self.root)],
                cwd=self.root / "cwd",
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            if self._answer(START) is None:
                raise RuntimeError("the worker does not start: run python -m hostile.worker FOLDER")
        return self._process

    def _answer(self, patience: float) -> dict[str, Any] | None:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], patience)
        line = self._process.stdout.readline() if ready else ""
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer

    def stop(self) -> None:
        """End the process; the next file gets another, in empty folders."""
        if self._process is not None:
            with self._process as process:  # closes the pipes, and waits
                process.kill()
            self._process = None


def cases(
    kind: Kind, damages: int, crafts: int, seed: int, folder: Path, size: int = POOL
) -> Iterator[Case]:
    """Valid files, then as many damaged and crafted ones, then the valid ones again; the same for
    a seed. Of a kind with a document, half of the crafted ones have it mutated."""
    number = zlib.crc32(kind.name.encode()) ^ seed
    pool = []
    for index in range(size):
        place = folder / str(index)
        place.mkdir(parents=True)
        kind.write(place, np.random.default_rng([number, index]))
        pool.append((place, (place / kind.file).read_bytes()))
    rng = random.Random(number)

    def case(what: str, name: str, make: Callable[[bytes], bytes]) -> Case:
        place, data = pool[rng.randrange(size)]
        return Case(kind.name, what, name, make(data), place)

    for place, data in pool:
        yield Case(kind.name, "valid", "as written", data, place)
    for index in range(damages):
        yield case("damaged", f"damage {index}", lambda data: damaged(data, rng))
    named = list(kind.crafted.items())
    for index in range(crafts):
        if kind.codec is not None and index % 2 and named:
            yield case("mutated", f"mutation {index}", lambda data: _edited(kind, data, rng))
        elif named:
            name, craft = named[index // (1 + (kind.codec is not None)) % len(named)]
            yield case("crafted", name, craft)
    for place, data in pool:
        yield Case(kind.name, "valid", "once more", data, place)


def _edited(kind: Kind, data: bytes, rng: random.Random) -> bytes:
    assert kind.codec is not None
    return kind.codec.pack(data, mutated(kind.codec.unpack(data), rng))


def fault(case: Case, kind: Kind, answer: dict[str, Any]) -> str | None:
    """What is wrong with an answer; None if it is as it should be."""
    outcome: str = answer["outcome"]
    if outcome not in FINE:
        return outcome
    if case.what == "valid" and outcome == "refused":
        return "a valid file refused"
    must_fail = case.what == "crafted" or (case.what == "damaged" and kind.exact)
    if must_fail and outcome == "accepted":
        return "accepted"
    return None


def run(
    worker: Worker,
    work: Path,
    *,
    damages: int,
    crafts: int,
    seed: int,
    only: str = "",
    pool: int = POOL,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Open ``damages`` damaged and ``crafts`` crafted files, made from ``pool`` valid ones, of
    every kind whose name contains ``only``."""
    rows = []
    for kind in kinds().values():
        if only not in kind.name:
            continue
        row = Row(kind.name)
        place = work / "pool" / str(len(rows))
        for count, case in enumerate(cases(kind, damages, crafts, seed, place, pool)):
            answer = worker.open(kind.name, _placed(case, kind, worker))
            _count(row, case, kind, answer, work)
            if count % SAMPLE == SAMPLE - 1:
                _look_around(row, worker)
        _look_around(row, worker)
        rows.append(row)
        faults = sum(row.faults.values())
        tell(f"{kind.name}: {row.damaged} damaged, {row.crafted} crafted, {faults} faults")
        shutil.rmtree(place)
    return rows


def _placed(case: Case, kind: Kind, worker: Worker) -> Path:
    """The file in the worker's target folder, with what lies beside a valid one."""
    worker._running()
    target = worker.root / "target"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(case.companions, target)
    path = target / kind.file
    path.write_bytes(case.data)
    return path


def _count(row: Row, case: Case, kind: Kind, answer: dict[str, Any], work: Path) -> None:
    counted = "crafted" if case.what == "mutated" else case.what
    setattr(row, counted, getattr(row, counted) + 1)
    if answer["outcome"] in FINE:
        setattr(row, answer["outcome"], getattr(row, answer["outcome"]) + 1)
    row.seconds = max(row.seconds, answer["seconds"])
    row.grown = max(row.grown, answer["grown"])
    if found := fault(case, kind, answer):
        row.faults[found] += 1
        if len(row.failures) < KEPT:
            kept = work / "kept" / f"{zlib.crc32(case.data):08x}-{Path(kind.file).name}"
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(case.data)
            row.failures.append(
                {
                    "case": f"{case.what}: {case.name}",
                    "fault": found,
                    "file": str(kept),
                    "text": answer["text"][-2000:],
                }
            )


def _look_around(row: Row, worker: Worker) -> None:
    if strays := _strays(worker.root):
        row.faults["wrote"] += 1
        row.failures.append({"case": "any of the last", "fault": f"strays: {strays}"})
        worker.stop()


def _strays(root: Path) -> list[str]:
    """What somebody has put, or changed, where nobody may write."""
    found = [str(p) for name in ("home", "cwd") for p in (root / name).rglob("*")]
    expected = {"target", "tmp", "cache", "home", "cwd", "warm", "secret.txt"}
    found += [p.name for p in root.iterdir() if p.name not in expected]
    if (root / "secret.txt").read_text() != "not yours":
        found.append("secret.txt")
    return found


def table(rows: list[Row]) -> str:
    """The rows, and their sums, for people."""
    head = (
        "kind", "valid", "damaged", "crafted", "accepted", "refused", "faults", "s", "MiB"
    )  # fmt: skip
    lines = [
        (
            row.kind,
            *(str(n) for n in (row.valid, row.damaged, row.crafted, row.accepted, row.refused)),
            str(sum(row.faults.values())),
            f"{row.seconds:.2f}",
            f"{row.grown / (1 << 20):.0f}",
        )
        for row in rows
    ]
    sums = [sum(int(line[i]) for line in lines) for i in range(1, 7)]
    worst = (max((r.seconds for r in rows), default=0), max((r.grown for r in rows), default=0))
    lines.append(("all", *map(str, sums), f"{worst[0]:.2f}", f"{worst[1] / (1 << 20):.0f}"))
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
    aligned = (
        [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        for line in (head, *lines)
    )
    return "\n".join("  ".join(line) for line in aligned)
