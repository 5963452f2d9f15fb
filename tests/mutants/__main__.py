"""The campaign of mutants: ``PYTHONPATH=tests python -m mutants --count 400 --json rows.json``.

Draws mutants of all rooms, runs the tests of each room against them, prints a table and the
survivors. A campaign that is cut off is started again and goes on. The exit code is 1 if the score
is below --least, or a job failed.
"""

import argparse
import json
import sys
from pathlib import Path

from mutants.campaign import DEAD, all_mutants, drawn, equivalents, is_equivalent, jobs, table
from mutants.rooms import ROOMS
from sigbit.campaigns import Campaign, Row, Store, open_workers
from sigbit_tools.toolchain import cache_dir


def main() -> int:
    """Run a campaign."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=44, help="mutants in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--room", action="append", choices=[room.name for room in ROOMS])
    parser.add_argument("--second", action="store_true", help="survivors meet whole machines")
    parser.add_argument("--jobs", type=int, help="processes of this machine")
    parser.add_argument("--scheduler", help="Dask cluster")
    parser.add_argument("--least", type=float, default=0.0, help="least score, in percent")
    parser.add_argument("--json", type=Path, help="write the rows")
    parser.add_argument("--list", action="store_true", help="count the mutants of every room")
    options = parser.parse_args()
    rooms = [room for room in ROOMS if not options.room or room.name in options.room]
    if options.list:
        for room in rooms:
            print(f"{room.name:18}{len(all_mutants([room])):7}")
        return 0
    rows: list[Row] = []
    failed = 0
    with open_workers(options.jobs, options.scheduler) as workers:
        campaign = Campaign(Store(cache_dir() / "mutants"), workers)
        chosen = drawn(options.count, options.seed, rooms)
        for outcome in campaign.run(jobs(chosen, second=options.second)):
            if outcome.failure:
                failed += 1
                print(f"{outcome.job.name}: {outcome.failure.text}", file=sys.stderr)
                continue
            rows += outcome.rows
            print(f"{outcome.rows[0]['outcome']:9} {outcome.job.name}", file=sys.stderr, flush=True)
    known = equivalents()
    left = [r for r in rows if r["outcome"] not in DEAD and not is_equivalent(r, known)]
    print(table(rows))
    for row in left:
        print(f"survived: {row['module']}:{row['line']} {row['old']} -> {row['new']}")
    if options.json:
        document = {"seed": options.seed, "rows": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    judged = [r for r in rows if r["outcome"] in DEAD] + left
    score = 100 * (1 - len(left) / len(judged)) if judged else 100.0
    return 1 if failed or score < options.least else 0


if __name__ == "__main__":
    sys.exit(main())
