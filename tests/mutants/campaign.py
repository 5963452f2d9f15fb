"""The campaign: mutants that are named, and mutants drawn from all rooms, each a job whose verdict
is kept."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from mutants.lines import executing, file_digest, record, room_digest
from mutants.rooms import ROOMS, ROOT, Room
from mutants.run import Case, copy
from mutants.sites import Mutant, mutants
from sigbit.campaigns import Row, Tell
from sigbit_tools.files import write_text
from sigbit_tools.toolchain import cache_dir

EQUIVALENT = Path(__file__).with_name("equivalent.json")
NAMED = Path(__file__).with_name("named.json")
DEAD = ("killed", "hang", "crash")
BUDGETS = (20.0, 100.0)
"""Seconds of recorded processor time of the tests that a mutant meets: at first, and if it survives
those and is not argued to be equivalent."""


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


def named(rooms: Sequence[Room] = ROOMS) -> list[Found]:
    """The mutants that every campaign includes: faults that tests once missed.

    Raises ``ValueError`` if a module has no such line.
    """
    places = {module: (room, path) for room in rooms for module, path in room.modules().items()}
    found = []
    for one in json.loads(NAMED.read_text()):
        if one["module"] not in places:
            continue
        room, path = places[one["module"]]
        source = (ROOT / path).read_bytes()
        lines = source.splitlines(keepends=True)
        numbers = [n for n, line in enumerate(lines) if line.decode().strip() == one["text"]]
        if len(numbers) != 1 or one["text"].count(one["old"]) != 1:
            raise ValueError(f"{one['name']}: {one['module']} has no such line, or several")
        start = sum(map(len, lines[: numbers[0]])) + lines[numbers[0]].index(one["old"].encode())
        stop = start + len(one["old"].encode())
        change = (numbers[0] + 1, start, stop, "named", one["old"], one["new"], one["text"])
        found.append(Found(room, path, Mutant(one["module"], *change)))
    return found


def drawn(count: int, seed: int, rooms: Sequence[Room] = ROOMS) -> list[Found]:
    """``count`` mutants: every room gives as many, or all that it has; all modules of a room have
    turns, so that long modules do not crowd out short ones. A draw changes only as the code does:
    the order within a module is that of hashes."""
    found: list[Found] = []
    for number, room in enumerate(rooms):
        ranked: list[tuple[int, str, Found]] = []
        for module, path in room.modules().items():
            keyed = [
                (_hash(str(seed), module, str(place), one.text, one.old, one.new), one)
                for one, place in _places(mutants(module, (ROOT / path).read_bytes()))
            ]
            keyed.sort(key=lambda pair: pair[0])
            ranked += [(k, key, Found(room, path, one)) for k, (key, one) in enumerate(keyed)]
        ranked.sort(key=lambda item: item[:2])
        share = count // len(rooms) + (number < count % len(rooms))
        found += [one for _, _, one in ranked[:share]]
    return found


def _places(found: Sequence[Mutant]) -> Iterator[tuple[Mutant, int]]:
    """Mutants, each with the number of earlier ones of the same line and change."""
    seen: Counter[tuple[str, str, str]] = Counter()
    for one in found:
        what = (one.text, one.old, one.new)
        yield one, seen[what]
        seen[what] += 1


def _hash(*words: str) -> str:
    return sha256(chr(0).join(words).encode()).hexdigest()


def verdict(room: str, path: str, mutant: dict[str, Any], tell: Tell) -> Row:
    """What the tests of a room say of one mutant.

    That of a dead mutant is kept, and holds as long as the product and the file of the test that
    killed it stay the same. Else that test comes first: it may be the only one that has to run.
    """
    change = Mutant(**mutant)
    (home,) = (r for r in ROOMS if r.name == room)
    kept, row = _kept(change), {}
    if kept.exists():
        row = json.loads(kept.read_text())
        if row.pop("holds") == _holds(home, row):
            return row
    budgets = BUDGETS[: 1 if is_equivalent(mutant, equivalents()) else None]
    groups = _chosen(home, path, change, row.get("by", ""), budgets)
    served = copy()
    served.warm(sorted({test.file for group in groups for test in group}))
    tell(change.name, 0, 1)
    with served.changed(Path(path), change):
        said = served.judged(groups)
    row = {
        "module": change.module,
        "line": change.line,
        "text": change.text,
        "kind": change.kind,
        "old": change.old,
        "new": change.new,
        **asdict(said),
    }
    if said.outcome in DEAD:
        write_text(kept, json.dumps({**row, "holds": _holds(home, row)}))
    return row


def _holds(room: Room, row: Row) -> str:
    """Digest of what a mutant's death depends on; that of an import depends on all tests."""
    by = Path(Case(row["by"], 0.0).file)
    return file_digest(by) if (ROOT / by).is_file() else room_digest(room)


def _chosen(
    room: Room, path: str, change: Mutant, last: str, budgets: Sequence[float]
) -> list[list[Case]]:
    """Tests that a mutant meets: the one that killed it last time, then the others."""
    records = [record(copy(), file) for file in room.files()]
    found = executing(records, path, (ROOT / path).read_bytes(), change)
    first = [test for test in found if test.name == last]
    groups, spent = [first], 0.0
    left = [test for test in found if test.name != last]
    for budget in budgets:
        group = []
        while left and (not spent or spent + left[0].seconds <= budget):
            spent += left[0].seconds
            group.append(left.pop(0))
        groups.append(group)
    return [group for group in groups if group]


def _kept(change: Mutant) -> Path:
    """File of the last verdict on a mutant of this place."""
    words = (change.module, str(change.start), change.text, change.old, change.new)
    folder = cache_dir() / "mutants" / "verdicts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{_hash(*words)}.json"


@cache
def equivalents() -> list[dict[str, str]]:
    """Mutants that no test can tell from the module, each with the reason: ``module``, ``text`` of
    the line, ``old``, ``new``, ``reason``."""
    found: list[dict[str, str]] = json.loads(EQUIVALENT.read_text())
    return found


def is_equivalent(row: Mapping[str, Any], known: Sequence[dict[str, str]]) -> bool:
    """Whether ``row`` is of a mutant that ``known`` lists."""
    return any(
        all(row[key] == one[key] for key in ("module", "text", "old", "new")) for one in known
    )
