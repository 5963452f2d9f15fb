"""The tool that makes mutants: what it changes, and that a test that fails kills."""

from pathlib import Path

import pytest

from mutants.campaign import all_mutants, drawn, equivalents, is_equivalent, named
from mutants.lines import Record, executing, statement
from mutants.recorder import Recorder
from mutants.rooms import ROOMS, ROOT
from mutants.run import Case, Copy
from mutants.sites import Mutant, mutants

SOURCE = b'''"""Text with 7."""
from a import b
LIMIT: int = 3
def f(x: int = 0, *, wide: bool = True) -> int:
    """Text."""
    if x < 1 and wide:
        raise ValueError(f"{x + 1}")
    m.d.sync += y.eq(~x)
    call(min(x, -x), strict=True)
    return Mux(x, y << 1, a.any()) if wide else x // 2
if __name__ == "__main__":
    f(1)
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
        (9, "statement", "call(min(x, -x), strict=True)", "pass"),
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


def test_named_mutants_are_of_the_present_source() -> None:
    """Each once, and no two the same."""
    found = named()
    assert len({(one.mutant.module, one.mutant.start, one.mutant.new) for one in found}) >= 20
    for one in found:
        source = one.mutant.applied((ROOT / one.path).read_bytes())
        compile(source, one.mutant.name, "exec", dont_inherit=True)


STATEMENTS = b"""LIMIT = (
    3
)
@cache
def f(
    x=0,
):
    if x < 1 and (
        x > 2
    ):
        x = 3
    elif x:
        x = 4
    return [
        5
    ]
class A:
    b = 6
    def g(self):
        try:
            return 7
        except E:
            return 8
"""


@pytest.mark.parametrize(
    ("text", "first", "last", "at_import"),
    [
        ("3\n)", 1, 3, True),
        ("0,", 4, 7, True),
        ("2\n", 8, 10, False),
        ("3\n    elif", 11, 11, False),
        ("x:", 12, 12, False),
        ("4", 13, 13, False),
        ("5", 14, 16, False),
        ("6", 18, 18, True),
        ("7", 21, 21, False),
        ("8", 23, 23, False),
    ],
)
def test_the_statement_of_a_mutant(text: str, first: int, last: int, at_import: bool) -> None:
    start = STATEMENTS.index(text.encode())
    mutant = Mutant("m", 0, start, start + 1, "", text[:1], "9", "")
    assert statement(STATEMENTS, mutant) == (range(first, last + 1), at_import)


def test_tests_of_a_mutant() -> None:
    """Those that execute its lines, before those that only import them; of each the fastest first,
    where cases of one function come later and later."""
    slow, fast, other = Case("a::slow[1]", 2.0), Case("a::fast", 1.0), Case("a::other", 0.5)
    first = Record((slow, fast, other), {"m": {"11": [0, 1], "2": [2]}}, {"m": [1, 2, 18]})
    second = Record((Case("b::c", 0.1),), {}, {"m": [11]})

    def chosen(text: str) -> list[str]:
        start = STATEMENTS.index(text.encode())
        mutant = Mutant("m", 0, start, start + 1, "", text[:1], "9", "")
        found = executing([first, second], "m", STATEMENTS, mutant)
        return [test.name for test in found]

    assert chosen("3\n    elif") == ["a::fast", "a::slow[1]", "b::c"]
    assert chosen("3\n)") == ["a::other", "a::fast", "a::slow[1]"]
    assert chosen("4") == []
    cases = [Case("c::quick[1]", 0.2), Case("c::quick[2]", 0.2), Case("c::long", 0.3)]
    first = Record(tuple(cases), {"m": {"11": [0, 1, 2]}}, {})
    assert chosen("3\n    elif") == ["c::quick[1]", "c::long", "c::quick[2]", "b::c"]


def test_what_is_kept_is_of_all_that_read_it(tmp_path: Path, monkeypatch) -> None:
    """Values of caches and of shared fixtures."""
    source = (
        "from functools import cache, cached_property, lru_cache\n"
        "@cache\ndef one(): return 1\n"
        "@lru_cache(maxsize=4)\ndef two(x): return x\n"
        "class A:\n    @cached_property\n    def three(self): return one()\n"
        "def four(): return 4\n"
    )
    (tmp_path / "kept_lines.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    file = str(tmp_path / "kept_lines.py")
    recorder = Recorder([file])
    recorder.start()
    try:
        import kept_lines  # type: ignore[import-not-found]

        a = kept_lines.A()
        for name in ("first", "second"):
            recorder.test(name, ["shared"] if name == "second" else [])
            assert (kept_lines.two(5), a.three) == (5, 1)
        with recorder.shared("shared"):
            kept_lines.four()
        recorder.test("third", [])
        kept_lines.one()
        assert kept_lines.two.cache_info().hits == 1
    finally:
        recorder.stop()
    document = recorder.document(tmp_path, dict.fromkeys(("first", "second", "third"), 0.0))
    found = document["tests"]["kept_lines.py"]
    one, two, three = ({2, 3}, [0, 1, 2]), ({4, 5}, [0, 1]), ({7, 8}, [0, 1])
    kept = {line: tests for lines, tests in (one, two, three) for line in lines}
    assert found == {**kept, 9: [1]}
    assert {1, 2, 4, 6, 7} <= set(document["imports"]["kept_lines.py"])


def test_a_mutant_dies_of_a_failing_test_only() -> None:
    """In a copy of the repository: one that a test notices, one that none does, one that hangs, one
    that cannot be imported; none of them is left behind."""
    path = Path("hw/sigbit_hw/arch/names.py")
    source = (ROOT / path).read_bytes()
    wrong = next(m for m in mutants("m", source) if m.text == "if name not in taken:")
    first = "tests/arch/test_names.py::test_legal_names"
    copy = Copy()
    record = copy.run(["tests/arch/test_names.py"], lines=[str(path)])
    assert record["code"] == 0
    tests = [Case(name, seconds) for name, seconds in record["current"]["seconds"].items()]
    assert any(test.name.startswith(first) for test in tests)
    assert record["current"]["tests"][str(path)]

    def verdict(mutant: Mutant) -> tuple[str, str]:
        with copy.changed(path, mutant):
            found = copy.judged([tests])
        assert found.tests == len(tests)
        return found.outcome, found.by

    assert copy.judged([tests]).outcome == "survived"
    outcome, by = verdict(wrong)
    assert outcome == "killed"
    assert by.startswith("tests/arch/test_names.py::")
    end = len(source)
    assert verdict(Mutant("m", 1, end, end, "", "", "NEW = 1\n", ""))[0] == "survived"
    assert verdict(Mutant("m", 1, end, end, "", "", "import no_such\n", "")) == (
        "killed",
        "collection",
    )
    start = source.index(b"    if name not in taken")
    loop = Mutant("m", 1, start, start, "", "", "    while True:\n        pass\n", "")
    assert verdict(loop)[0] == "hang"
    assert copy.judged([tests]).outcome == "survived"
    assert (copy.folder / path).read_bytes() == source
    copy.close()
    assert not copy.folder.exists()


def test_equivalent_mutants_are_argued() -> None:
    """Each is a mutant of the present source, with a reason."""
    found = {(m.module, m.text, m.old, m.new) for m in (one.mutant for one in all_mutants())}
    for known in equivalents():
        assert (known["module"], known["text"], known["old"], known["new"]) in found
        assert len(known["reason"].split()) > 4, known


def test_equivalent_is_what_is_listed() -> None:
    row = {"module": "m", "text": "t", "old": "1", "new": "2"}
    assert is_equivalent(row, [{**row, "reason": ""}])
    assert not is_equivalent(row, [{**row, "new": "3"}])
