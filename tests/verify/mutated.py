"""Mutants of every room against its tests: a try is a mutant. One that survives is listed unless it
is argued to be equivalent; too many of them are a failure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain, zip_longest
from typing import Any

from mutants.campaign import DEAD, Found, drawn, equivalents, is_equivalent, named, verdict
from mutants.lines import CODE, room_digest
from mutants.rooms import ROOMS
from sigbit.campaigns import Job, Row, Tell
from verify.part import Tally, job

PART = "mutants"
EVERY = 100_000
"""More mutants than there are."""
LEAST, EQUIVALENT_MOST = 0.95, 0.1
"""Share of the mutants which are not equivalent that tests must notice; of all mutants, the largest
share that may be argued to be equivalent."""
EQUIVALENT = "equivalent"


def jobs(first: int) -> Iterator[Job]:
    """The named mutants, then all others, one of every room in turn, in an order drawn from the
    seed."""
    rooms: dict[str, list[Found]] = {room.name: [] for room in ROOMS}
    for one in drawn(EVERY, first):
        rooms[one.room.name].append(one)
    digests = {room.name: room_digest(room) for room in ROOMS}
    others = filter(None, chain.from_iterable(zip_longest(*rooms.values())))
    for one in chain(named(), others):
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
            code=(*CODE, "mutants.campaign", "mutants.lines", "mutants.run"),
        )
        yield replace(made, name=f"mutant {one.mutant.name}")


def judge(room: str, path: str, mutant: dict[str, Any], tests: str, tell: Tell) -> list[Row]:
    """What the tests of the room say of a mutant; ``tests`` is their digest."""
    row = verdict(room, path, mutant, tell)
    tally = Tally(PART, room)
    tally.fine(row["outcome"])
    kept = ("module", "line", "text", "old", "new", "outcome", "by")
    return tally.rows(cpu_seconds=row["cpu_seconds"], mutant={k: row[k] for k in kept})


def argued(row: Row) -> Row:
    """The row of a job, where a survivor counts as equivalent if that is argued, and else is
    listed."""
    mutant = row.get("mutant")
    if mutant is None or mutant["outcome"] in DEAD:
        return row
    if is_equivalent(mutant, equivalents()):
        return {**row, "counts": {EQUIVALENT: 1}}
    return {**row, "details": [mutant]}


def survivors(row: Row) -> list[str]:
    """The mutants of a row that tests do not notice, for people."""
    return [
        f"{m['module']}:{m['line']} {m['old']} -> {m['new'] or 'nothing'}"
        for m in (row.get("details", ()) if row["part"] == PART else ())
    ]


def shortfall(rows: Sequence[Row]) -> str:
    """What is wrong with the mutants of all rooms together; nothing if they are enough."""
    counts: Counter[str] = Counter()
    for row in rows:
        if row["part"] == PART:
            counts.update(row["counts"])
    dead, equivalent = sum(counts[name] for name in DEAD), counts[EQUIVALENT]
    judged = dead + counts["survived"]
    if dead < LEAST * judged:
        return f"tests noticed {dead} of {judged} mutants, not {LEAST:.0%}"
    if equivalent > EQUIVALENT_MOST * counts.total():
        return (
            f"{equivalent} of {counts.total()} mutants are equivalent, over {EQUIVALENT_MOST:.0%}"
        )
    return ""
