"""Mutants of every room against its tests: a try is a mutant, which fails if it survives and is not
argued to be equivalent."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain, zip_longest
from typing import Any

from mutants.campaign import CODE, DEAD, Found, drawn, equivalents, is_equivalent, verdict
from mutants.rooms import ROOMS, ROOT, Room
from sigbit.campaigns import Job, Row, Tell
from verify.part import Tally, job

PART = "mutants"
EVERY = 100_000
"""More mutants than there are."""


def jobs(first: int) -> Iterator[Job]:
    """All mutants, one of every room in turn, in an order drawn from the seed."""
    rooms: dict[str, list[Found]] = {room.name: [] for room in ROOMS}
    for one in drawn(EVERY, first):
        rooms[one.room.name].append(one)
    digests = {room.name: _tests_digest(room) for room in ROOMS}
    for one in filter(None, chain.from_iterable(zip_longest(*rooms.values()))):
        made = job(
            PART,
            one.room.name,
            f"{__name__}:judge",
            {
                "room": one.room.name,
                "path": str(one.path),
                "mutant": asdict(one.mutant),
                "tests": digests[one.room.name],
            },
            seed=first,
            code=(*CODE, "mutants.run", "mutants.sites"),
        )
        yield replace(made, name=f"mutant {one.mutant.name}")


def _tests_digest(room: Room) -> str:
    """Of the files of the room's tests: a verdict holds as long as they are the same."""
    digest = hashlib.sha256()
    for name in room.tests:
        root = ROOT / name
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def judge(room: str, path: str, mutant: dict[str, Any], tests: str, tell: Tell) -> list[Row]:
    """What the tests of the room say of a mutant."""
    (row,) = verdict(room, path, mutant, False, tell)
    tally = Tally(PART, room)
    if row["outcome"] in DEAD:
        tally.fine(row["outcome"])
    else:
        change = f"{row['module']}:{row['line']} {row['old']} -> {row['new']}"
        tally.failed("survived", change)
    return tally.rows(mutant={k: row[k] for k in ("module", "text", "old", "new", "outcome", "by")})


def argued(row: Row) -> Row:
    """The row of a job, where a survivor that is argued to be equivalent has not failed."""
    mutant = row.get("mutant")
    if mutant is None or not row["failed"] or not is_equivalent(mutant, equivalents()):
        return row
    return {**row, "failed": 0, "failures": [], "counts": {"equivalent": 1}}
