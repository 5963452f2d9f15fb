"""The tool that makes mutants: what it changes, and that a test that fails kills."""

from pathlib import Path

import pytest

from mutants.campaign import all_mutants, drawn, equivalents, is_equivalent, table
from mutants.rooms import ROOMS, ROOT
from mutants.run import changed, copied, judged
from mutants.sites import Mutant, mutants

SOURCE = b'''"""Text with 7."""
from a import b
LIMIT: int = 3
def f(x: int = 0, *, wide: bool = True) -> int:
    """Text."""
    if x < 1 and wide:
        raise ValueError(f"{x + 1}")
    m.d.sync += y.eq(~x)
    call(min(x, -x))
    return Mux(x, y << 1, a.any()) if wide else x // 2
'''


def test_what_is_changed() -> None:
    found = {(m.line, m.kind, m.old, m.new) for m in mutants("m", SOURCE)}
    assert found == {
        (3, "constant", "3", "(4)"),
        (3, "constant", "3", "(2)"),
        (4, "constant", "0", "(1)"),
        (4, "constant", "True", "False"),
        (6, "comparison", "x < 1", "(x <= 1)"),
        (6, "constant", "1", "(2)"),
        (6, "constant", "1", "(0)"),
        (6, "and, or", "x < 1 and wide", "(x < 1 or wide)"),
        (6, "condition", "x < 1 and wide", "(not (x < 1 and wide))"),
        (8, "statement", "m.d.sync += y.eq(~x)", "pass"),
        (8, "operand alone", "~x", "(x)"),
        (9, "statement", "call(min(x, -x))", "pass"),
        (9, "function", "min", "(max)"),
        (9, "operand alone", "-x", "(x)"),
        (10, "branches", "Mux(x, y << 1, a.any())", "(Mux(x, a.any(), y << 1))"),
        (10, "operator", "y << 1", "(y >> 1)"),
        (10, "constant", "1", "(2)"),
        (10, "constant", "1", "(0)"),
        (10, "function", "a.any", "(a.all)"),
        (
            10,
            "branches",
            "Mux(x, y << 1, a.any()) if wide else x // 2",
            "(x // 2 if wide else Mux(x, y << 1, a.any()))",
        ),
        (10, "operator", "x // 2", "(x * 2)"),
        (10, "constant", "2", "(3)"),
        (10, "constant", "2", "(1)"),
    }


def test_mutants_of_the_product() -> None:
    """Each is one change of the module that it was made from, and no two are the same."""
    for room in ROOMS:
        path = next(iter(room.modules().values()))
        source = (ROOT / path).read_bytes()
        found = [one.mutant for one in all_mutants([room]) if one.path == path]
        sources = {m.applied(source) for m in found}
        assert len(sources) == len(found)
        assert source not in sources
        for mutant in found:
            compile(mutant.applied(source), mutant.name, "exec", dont_inherit=True)
            with pytest.raises(ValueError, match="has changed"):
                mutant.applied(b"# " + source)


def test_a_draw_is_fair_and_repeats() -> None:
    count = 2 * len(ROOMS)
    found = drawn(count, 5)
    assert found == drawn(count, 5)
    assert found != drawn(count, 6)
    assert [sum(one.room == room for one in found) for room in ROOMS] == [2] * len(ROOMS)


def test_a_mutant_dies_of_a_failing_test_only() -> None:
    """In a copy of the repository: one that a test notices, one that none does, and no test."""
    path = Path("hw/sigbit_hw/arch/names.py")
    found = mutants("sigbit_hw.arch.names", (ROOT / path).read_bytes())
    tests = ("tests/arch/test_names.py",)
    wrong = next(m for m in found if m.kind == "condition")
    with copied() as copy:
        assert judged(copy, tests).outcome == "survived"
        with changed(copy, path, wrong):
            verdict = judged(copy, tests)
        assert verdict.outcome == "killed"
        assert verdict.by.startswith(tests[0])
        assert judged(copy, tests).outcome == "survived", "the change was not taken back"
        with changed(copy, path, _broken(path)):
            assert judged(copy, tests).outcome in ("killed", "crash")
        with pytest.raises(RuntimeError, match="no test was run"):
            judged(copy, (*tests, "-k", "nothing_like_this"))


def _broken(path: Path) -> Mutant:
    """A change after which the module cannot be imported."""
    source = (ROOT / path).read_text()
    word = "import re"
    start = source.index(word)
    return Mutant("m", 1, start, start + len(word), "statement", word, "import no_such_module", "")


def test_equivalent_mutants_are_argued() -> None:
    """Each is a mutant of the present source, with a reason."""
    found = {(m.module, m.text, m.old, m.new) for m in (one.mutant for one in all_mutants())}
    for known in equivalents():
        assert (known["module"], known["text"], known["old"], known["new"]) in found
        assert len(known["reason"].split()) > 4, known


def test_the_table_counts_what_is_not_equivalent() -> None:
    row = {"room": "a", "module": "m", "text": "t", "old": "1", "new": "2"}
    rows = [{**row, "outcome": outcome} for outcome in ("killed", "hang", "crash", "survived")]
    assert table(rows).splitlines()[-1].split() == ["all", "4", "3", "0", "1", "75.0%"]
    assert is_equivalent(rows[0], [{**row, "reason": ""}])
    assert not is_equivalent(rows[0], [{**row, "new": "3"}])
