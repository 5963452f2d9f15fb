"""The campaign: mutants drawn from all rooms, each a job whose verdict is kept."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mutants.rooms import ROOMS, ROOT, SECOND, Room
from mutants.run import changed, copied, judged
from mutants.sites import Mutant, mutants
from sigbit.campaigns import Job, Row, Tell

EQUIVALENT = Path(__file__).with_name("equivalent.json")
CODE = ("sigbit", "sigbit_boards", "sigbit_hw", "sigbit_sim", "sigbit_synthesis", "sigbit_tools")
DEAD = ("killed", "hang", "crash")


@dataclass(frozen=True)
class Found:
    """A mutant, and where its module lies."""

    room: Room
    path: Path
    mutant: Mutant


def all_mutants(rooms: Sequence[Room] = ROOMS) -> list[Found]:
    """Every mutant of every room."""
    return [
        Found(room, path, mutant)
        for room in rooms
        for module, path in room.modules().items()
        for mutant in mutants(module, (ROOT / path).read_bytes())
    ]


def drawn(count: int, seed: int, rooms: Sequence[Room] = ROOMS) -> list[Found]:
    """``count`` mutants: every room gives as many, or all that it has; every module of a room has
    the same chance, so that long modules do not crowd out short ones."""
    rng = random.Random(seed)
    found: list[Found] = []
    for number, room in enumerate(rooms):
        modules: dict[str, list[Found]] = {}
        for one in all_mutants([room]):
            modules.setdefault(one.mutant.module, []).append(one)
        for of_module in modules.values():
            rng.shuffle(of_module)
        share = count // len(rooms) + (number < count % len(rooms))
        pools = list(modules.values())
        for _ in range(share):
            pools = [pool for pool in pools if pool]
            if not pools:
                break
            found.append(rng.choice(pools).pop())
    return found


def jobs(found: Sequence[Found], *, second: bool) -> Iterator[Job]:
    """A job for each mutant; with ``second``, survivors of the quick tier meet whole machines."""
    for one in found:
        yield Job(
            one.mutant.name,
            "mutants.campaign:verdict",
            {
                "room": one.room.name,
                "path": str(one.path),
                "mutant": asdict(one.mutant),
                "second": second,
            },
            columns={"room": one.room.name, "mutant": one.mutant.name},
            code=CODE,
        )


def verdict(room: str, path: str, mutant: dict[str, Any], second: bool, tell: Tell) -> list[Row]:
    """What the tests of a tier say of one mutant."""
    change = Mutant(**mutant)
    (home,) = (r for r in ROOMS if r.name == room)
    with copied() as copy, changed(copy, Path(path), change):
        tell(change.name, 0, 2)
        said, tier = judged(copy, home.tests), "quick"
        if second and said.outcome == "survived":
            tell(change.name, 1, 2)
            said, tier = judged(copy, SECOND), "second"
    return [
        {
            "room": room,
            "module": change.module,
            "line": change.line,
            "text": change.text,
            "kind": change.kind,
            "old": change.old,
            "new": change.new,
            "tier": tier,
            **asdict(said),
        }
    ]


def equivalents() -> list[dict[str, str]]:
    """Mutants that no test can tell from the module, each with the reason: ``module``, ``text`` of
    the line, ``old``, ``new``, ``reason``."""
    found: list[dict[str, str]] = json.loads(EQUIVALENT.read_text())
    return found


def is_equivalent(row: Row, known: Sequence[dict[str, str]]) -> bool:
    """Whether ``row`` is of a mutant that ``known`` lists."""
    return any(
        all(row[key] == one[key] for key in ("module", "text", "old", "new")) for one in known
    )


def table(rows: Sequence[Row]) -> str:
    """Mutants by room: all, killed, equivalent, survived; the score of those not equivalent."""
    known = equivalents()
    heads = ("room", "mutants", "killed", "equivalent", "survived", "score")
    lines = ["{:18}{:>9}{:>9}{:>12}{:>10}{:>9}".format(*heads)]
    names = [*dict.fromkeys(row["room"] for row in rows), "all"]
    for name in names:
        counts: Counter[str] = Counter()
        for row in rows:
            if name in ("all", row["room"]):
                dead = row["outcome"] in DEAD
                counts["killed" if dead else "even" if is_equivalent(row, known) else "left"] += 1
        judged_ones = counts["killed"] + counts["left"]
        score = 100 * counts["killed"] / judged_ones if judged_ones else 100.0
        lines.append(
            f"{name:18}{counts.total():9}{counts['killed']:9}{counts['even']:12}"
            f"{counts['left']:10}{score:8.1f}%"
        )
    return "\n".join(lines)
