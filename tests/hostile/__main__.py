"""The campaign of hostile files: ``PYTHONPATH=tests python -m hostile --damaged 20000``.

Prints a table, writes rows with ``--json`` and keeps the files of what went wrong. The exit code
is 1 if anything did.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from hostile.campaign import Worker, run, table
from hostile.kinds import kinds

SHOWN = 3
"""Failures of a kind that are printed; the others are in the JSON file."""


def main() -> int:
    """Run a campaign."""
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__)
    parser.add_argument("--damaged", type=int, default=20, help="damaged files of every kind")
    parser.add_argument("--crafted", type=int, default=20, help="crafted files of every kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose names contain this")
    parser.add_argument("--json", type=Path, help="write the rows")
    parser.add_argument("--work", type=Path, help="folder for files and sandboxes, kept")
    parser.add_argument("--list", action="store_true", help="list the kinds")
    options = parser.parse_args()
    if options.list:
        for kind in kinds().values():
            print(f"{kind.name:24} {len(kind.crafted):4} crafted")
        return 0
    work = options.work or Path(tempfile.mkdtemp(prefix="hostile-"))
    work.mkdir(parents=True, exist_ok=True)
    start = time.time()
    with Worker(work / "sandbox") as worker:
        rows = run(
            worker,
            work,
            damages=options.damaged,
            crafts=options.crafted,
            seed=options.seed,
            only=options.only,
            tell=lambda text: print(text, file=sys.stderr, flush=True),
        )
    print(table(rows))
    for failure in (failure for row in rows for failure in row.failures[:SHOWN]):
        print(f"\n{failure['fault']}: {failure['case']} ({failure.get('file', '')})")
        print(failure.get("text", ""))
    print(f"seed {options.seed}, {time.time() - start:.0f} s, {worker.starts} workers started")
    if options.json:
        document = {"seed": options.seed, "rows": [row.to_json() for row in rows]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if any(row.faults for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
