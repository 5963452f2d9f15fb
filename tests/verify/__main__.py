"""The verification, measured: ``make verify ARGS="--json FILE"``.

Runs every part for minutes, or all parts in turns for ``--hours``; results are kept, so that a
campaign that is cut off goes on, and a longer one adds to a shorter one. Prints a table. The exit
code is 1 if anything failed, or a part compared nothing.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from sigbit.campaigns import Campaign, Store, open_workers
from sigbit.errors import UserError
from sigbit.results.files import RowFile
from sigbit_tools.files import write_text
from sigbit_tools.toolchain import cache_dir
from verify.campaign import Book, chosen, rows_of
from verify.coverage import explained
from verify.mutated import shortfall, survivors
from verify.parts import PARTS

COMMAND = 'make verify ARGS="--json results/verification.json"'


def main() -> int:
    """Run the verification."""
    parser = argparse.ArgumentParser(
        prog="verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [part.name for part in PARTS]
    parser.add_argument(
        "--only", action="append", choices=names, metavar="PART", help=", ".join(names)
    )
    parser.add_argument(
        "--of", action="append", metavar="NAME", help="accelerators, rooms, files …"
    )
    parser.add_argument("--count", type=int, help="jobs of every part")
    parser.add_argument("--hours", type=float, help="run for so long; 0: report what is kept")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--jobs", type=int, help="processes of this machine")
    parser.add_argument("--scheduler", help="Dask cluster")
    parser.add_argument("--work", type=Path, help="folder of kept results, else the cache's")
    parser.add_argument("--json", type=Path, help="write the rows")
    options = parser.parse_args()
    parts = [part for part in PARTS if not options.only or part.name in options.only]
    if options.of:
        subjects = set().union(*(part.subjects() for part in parts))
        if unknown := sorted(set(options.of) - subjects):
            parser.error(f"--of {unknown[0]}: it must be one of {', '.join(sorted(subjects))}")
        parts = [part.of(options.of) for part in parts if part.subjects() & set(options.of)]
    if options.count:
        parts = [replace(part, count=options.count) for part in parts]
    store = Store(options.work or cache_dir() / "verification")
    book, spent = Book(), dict.fromkeys((part.name for part in parts), 0.0)
    try:
        with open_workers(options.jobs, options.scheduler) as workers:
            jobs = chosen(parts, options.seed, options.hours, store, spent)
            for outcome in Campaign(store, workers).run(jobs):
                for row in rows_of(outcome):
                    book.add(row)
                    spent[row["part"]] += row["cpu_seconds"]
                    said = "FAILED" if row["failed"] else "kept" if not outcome.fresh else "fine"
                    print(f"{said:7}{outcome.job.name}", file=sys.stderr, flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
    print(book.table())
    rows = sorted(map(explained, book.rows), key=lambda row: names.index(row["part"]))
    for row in rows:
        for text in row.get("holes", ()):
            print(f"\nnot reached by {row['part']}: {text}")
        for text in survivors(row):
            print(f"survived: {text}")
        for text in row["failures"]:
            print(f"\nFAILED {row['part']}, {row['config']}: {text}")
    for part, bins in book.unreached().items():
        print(f"\nnot reached by {part}: {', '.join(bins)}")
    short = shortfall(rows)
    if short:
        print(f"\n{short}", file=sys.stderr)
    missing = book.missing(parts)
    if missing:
        print(f"\nnothing was compared: {', '.join(missing)}", file=sys.stderr)
    if options.json:
        file = RowFile(options.json.stem, tuple(rows), {"command": COMMAND})
        write_text(options.json, json.dumps(file.to_json(), indent=1) + "\n")
    return 1 if book.failed or missing or short else 0


if __name__ == "__main__":
    sys.exit(main())
