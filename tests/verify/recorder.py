"""A plugin of pytest that appends what became of every test to the file in ``RECORD``: one JSON
line with name, outcome, and the proofs in the test's folder."""

import json
import os
from pathlib import Path

import pytest

from sigbit_sim.verification.formal import PROOF

RECORD = "SIGBIT_RECORD"


def pytest_runtest_makereport(item: pytest.Function, call: pytest.CallInfo[None]) -> None:
    """Record the end of a test, or a failure before it."""
    if call.when != "call" and call.excinfo is None:
        return
    folder = item.funcargs.get("tmp_path")
    found = sorted(folder.rglob(PROOF)) if isinstance(folder, Path) else []
    error = "" if call.excinfo is None else call.excinfo.exconly()[:500]
    line = {
        "name": item.nodeid,
        "error": error,
        "skipped": call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception),
        "proofs": [json.loads(path.read_text()) for path in found],
    }
    with open(os.environ[RECORD], "a") as file:
        file.write(json.dumps(line) + "\n")
