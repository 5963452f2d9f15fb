"""The campaign itself: what is counted, what fails it, which jobs come when."""

import json
import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from sigbit.campaigns import Job, Row, Store, Tell
from sigbit.campaigns.store import Record
from sigbit.results.files import read_row_file
from sigbit_sim.random_programs.program import random_program
from verify import __main__ as command
from verify import mutated
from verify.campaign import Book, chosen, spans
from verify.configs import NANO
from verify.mutations import MUTATIONS, hostile
from verify.part import Part, Tally
from verify.parts import PARTS
from verify.plan import FEATURES, bins, features


def work(outcome: str, seed: int, tell: Tell) -> list[Row]:
    """One try."""
    tally = Tally("work", outcome, seed)
    if outcome == "raises":
        raise ArithmeticError("it does not add up")
    if outcome == "fails":
        tally.failed("wrong", "try 0")
    if outcome == "fine":
        tally.fine("right")
    return tally.rows(bins={"even": seed % 2 == 0, "never": 0})


def of(outcome: str, name: str | None = None, last: int | None = None) -> Part:
    def jobs(first: int) -> Iterator[Job]:
        for seed in islice(count(first), last):
            yield Job(
                f"{outcome} {seed}",
                f"{__name__}:work",
                {"outcome": outcome, "seed": seed},
                columns={"part": "work", "config": outcome, "seed": seed},
            )

    return Part(name or outcome, "a try", jobs, 2)


def run(
    parts: list[Part], folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str
) -> tuple[int, list[Row]]:
    """Exit code and rows of the command."""
    monkeypatch.setattr(command, "PARTS", tuple(parts))
    file = folder / "rows.json"
    words = ["verify", "--work", str(folder / "store"), "--json", str(file), *options]
    monkeypatch.setattr(sys, "argv", words)
    code = command.main()
    return code, list(read_row_file(file).rows)


def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    code, rows = run([of("fine", "work")], tmp_path, monkeypatch, "--seed", "3")
    assert code == 0
    (row,) = rows
    assert (row["tried"], row["failed"], row["jobs"], row["seeds"]) == (2, 0, 2, [3, 4])
    assert row["counts"] == {"right": 2}
    assert row["bins"] == {"even": 1, "never": 0}
    said = capsys.readouterr()
    assert "not reached by work: never" in said.out
    assert said.err.count("fine") == 4
    assert run([of("fine", "work")], tmp_path, monkeypatch, "--seed", "3") == (code, rows)
    assert "kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcome", "tried", "text"),
    [("fails", 2, "try 0: wrong"), ("raises", 2, "ArithmeticError: it does not add up")],
)
def test_what_fails(
    outcome: str, tried: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, (row,) = run([of(outcome, "work")], tmp_path, monkeypatch)
    assert code == 1
    assert (row["tried"], row["failed"]) == (tried, 2)
    assert row["failures"] == [text, text]


def test_a_part_that_compares_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    code, (row,) = run([of("nothing", "work")], tmp_path, monkeypatch)
    assert (code, row["tried"]) == (1, 0)
    assert "nothing was compared: work" in capsys.readouterr().err


def test_turns(tmp_path: Path) -> None:
    """The part that has had the least time is next; kept results are counted when time is over."""
    store, parts = Store(tmp_path), [of("a"), of("b", last=3)]
    spent: dict[str, float] = {"a": 0.0, "b": 0.0}
    order = []
    for job in islice(chosen(parts, 0, 1.0, store, spent), 6):
        order.append(job.name)
        spent[job.name[0]] += 2.0 if job.name[0] == "a" else 1.0
    assert order == ["a 0", "b 0", "b 1", "a 1", "b 2", "a 2"]
    assert list(chosen(parts, 0, 0.0, store, spent)) == []
    kept = [job for job in islice(parts[0].jobs(0), 8) if job.name in ("a 3", "a 7")]
    for job in kept:
        store.save(job.key, job, Record((), 0.0, 0.0, ""))
    assert list(chosen(parts, 0, 0.0, store, spent)) == kept
    assert [job.name for job in chosen(parts, 5, None, store, spent)] == [
        "a 5",
        "a 6",
        "b 5",
        "b 6",
    ]


def test_some_jobs_of_some_subjects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    parts = [of("fine", "work"), of("raises", "work")]
    code, (row,) = run(parts, tmp_path, monkeypatch, "--of", "fine", "--count", "3")
    assert (code, row["config"], row["tried"]) == (0, "fine", 3)
    with pytest.raises(SystemExit):
        run(parts, tmp_path, monkeypatch, "--of", "wine")
    assert "--of wine: it must be one of fine, raises" in capsys.readouterr().err


def mutant_row(outcome: str, old: str = "1") -> Row:
    mutant = {"module": "m", "line": 3, "text": "x = 1", "old": old, "new": "2", "by": ""}
    tally = Tally(mutated.PART, "room")
    tally.fine(outcome)
    (row,) = tally.rows(mutant={**mutant, "outcome": outcome})
    return row


def test_survivors_are_listed_or_argued(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [{"module": "m", "text": "x = 1", "old": "argued", "new": "2", "reason": ""}]
    monkeypatch.setattr(mutated, "equivalents", lambda: known)
    rows = [mutated.argued(mutant_row("survived", old)) for old in ("1", "argued")]
    assert [row["counts"] for row in rows] == [{"survived": 1}, {"equivalent": 1}]
    assert mutated.survivors(rows[0]) == ["m:3 1 -> 2"]
    assert mutated.survivors(rows[1]) == []
    assert mutated.argued(mutant_row("hang", "argued")) == mutant_row("hang", "argued")


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"killed": 17, "hang": 1, "crash": 1, "survived": 1, "equivalent": 2}, ""),
        ({"killed": 94, "survived": 6}, "tests noticed 94 of 100 mutants, not 95%"),
        ({"killed": 8, "equivalent": 1}, "1 of 9 mutants are equivalent, over 10%"),
        ({}, ""),
    ],
)
def test_a_score_may_fall_short(counts: dict[str, int], text: str) -> None:
    row = {"part": mutated.PART, "counts": counts}
    other = {"part": "other", "counts": {"survived": 99}}
    assert mutated.shortfall([row, other]) == text


def test_spans() -> None:
    assert spans([]) == ""
    assert spans([0, 1, 2, 4, 7, 8]) == "0 to 2, 4, 7 to 8"


def test_every_part_has_jobs() -> None:
    """Their names and keys differ, and are the same each time."""
    for part in PARTS:
        first, again = (list(islice(part.jobs(0), 12)) for _ in range(2))
        assert [job.key for job in first] == [job.key for job in again]
        assert len({job.key for job in first}) == len(first) > 0
        assert {job.columns["part"] for job in first} == {part.name}
        json.dumps([dict(job.parameters) for job in first])


@pytest.mark.parametrize("kind", MUTATIONS)
def test_mutations_change(kind: str, rng: np.random.Generator) -> None:
    """Most of them, each the same way again."""
    changes = 0
    for seed in range(20):
        program = random_program(NANO, rng, execs=1)
        one, other = (hostile(program, kind, np.random.default_rng(seed)) for _ in range(2))
        assert (one.words, one.registers) == (other.words, other.registers)
        result = one.result()
        changed = result.instructions.tobytes() != program.instructions.tobytes()
        changes += changed or bool(one.registers)
    assert changes >= 10


def test_the_plan_is_one_of_programs(rng: np.random.Generator) -> None:
    """Few random Programs have every feature; bins name a format and a bus."""
    found: set[str] = set()
    for _ in range(20):
        found |= features(random_program(NANO, rng))
    assert found == set(FEATURES)
    names = bins("nano")
    assert len(names) > 2 * len(FEATURES)
    assert {"STORE, steady, nano", "WATCHDOG, pausing, nano"} < set(names)


def test_a_book_adds() -> None:
    book = Book()
    for seed in (2, 1):
        tally = Tally("p", "c", seed)
        tally.fine("well", 3)
        tally.failed("bad", "here")
        (row,) = tally.rows(details=[seed])
        book.add({**row, "seconds": 1.5, "cpu_seconds": 0.25})
    (row,) = book.rows
    assert (row["tried"], row["failed"], row["seconds"], row["cpu_seconds"]) == (8, 2, 3.0, 0.5)
    assert (row["seeds"], row["counts"]) == ([1, 2], {"well": 6, "bad": 2})
    assert (row["failures"], row["details"]) == (["here: bad"] * 2, [2, 1])
    assert "p     c       8       2      0  1 to 2" in book.table()
