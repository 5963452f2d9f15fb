"""Which tests execute a line: records of every file of tests, made once for each state of the
code, and kept."""

import ast
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from mutants.rooms import MARKERS, ROOMS, ROOT, Room
from mutants.run import Case, Copy
from mutants.sites import Mutant
from sigbit.campaigns.job import source_digest
from sigbit.flows.campaigns.code import NETWORKS
from sigbit_tools.files import write_text
from sigbit_tools.toolchain import cache_dir

CODE = (*NETWORKS, "sigbit.errors", "sigbit.export", "sigbit.training")
"""Packages that tests execute."""


@cache
def sources() -> list[str]:
    """Paths of all modules that are mutated, relative to the repository."""
    return [str(path) for room in ROOMS for path in room.modules().values()]


@cache
def helpers_digest() -> str:
    """Of the files that tests share, and of the product."""
    digest = hashlib.sha256(f"{MARKERS} {sources()}".encode())
    for package in (*CODE, "mutants.plugins", "mutants.recorder", "mutants.server"):
        digest.update(source_digest(package).encode())
    left_out = {"mutants", "verify"}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        parts = path.relative_to(ROOT / "tests").parts
        if not path.name.startswith("test_") and not left_out & set(parts):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def file_digest(file: Path) -> str:
    """Of a file of tests, and of all that it may execute."""
    digest = hashlib.sha256(f"{helpers_digest()} {file}".encode())
    digest.update((ROOT / file).read_bytes())
    return digest.hexdigest()


def room_digest(room: Room) -> str:
    """Of all tests of a room."""
    return hashlib.sha256("".join(map(file_digest, room.files())).encode()).hexdigest()


@dataclass(frozen=True)
class Record:
    """What a file of tests executes: its tests, lines of each source by number of a test, and lines
    that importing the file executes."""

    tests: tuple[Case, ...]
    lines: dict[str, dict[str, list[int]]]
    imports: dict[str, list[int]]


@cache
def record(copy: Copy, file: Path) -> Record:
    """The record of ``file``, which is kept.

    Raises ``RuntimeError`` if a test fails without a mutant.
    """
    kept = cache_dir() / "mutants" / f"{file_digest(file)}.json"
    if not kept.exists():
        copy.warm([str(file)])
        ended = copy.run([str(file)], writes=True, lines=sources())
        if ended["code"] not in (0, 5):
            raise RuntimeError(f"{file} fails without a mutant: {ended['said']}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, json.dumps(ended["current"]))
    document: dict[str, Any] = json.loads(kept.read_text())
    breadth = Counter(
        n for lines in document["tests"].values() for n in set(chain(*lines.values()))
    )
    tests = tuple(
        Case(name, seconds, max(breadth[number], 1))
        for number, (name, seconds) in enumerate(document["seconds"].items())
    )
    return Record(tests, document["tests"], document["imports"])


def statement(source: bytes, mutant: Mutant) -> tuple[range, bool]:
    """Lines of the statement that a mutant changes, of a compound one without its body, and whether
    importing the module executes it."""
    begin = source.count(b"\n", 0, mutant.start) + 1
    found, at_import = range(begin, begin + 1), True

    def search(nodes: Iterable[ast.stmt], inside: bool) -> None:
        nonlocal found, at_import
        for node in nodes:
            assert node.end_lineno is not None
            if not _first(node) <= begin <= node.end_lineno:
                continue
            blocks = list(_blocks(node))
            last = min((_first(block[0]) - 1 for block in blocks), default=node.end_lineno)
            found, at_import = range(_first(node), max(last, node.lineno) + 1), not inside
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for block in blocks:
                search(block, inside or function)

    search(ast.parse(source).body, False)
    return found, at_import


def _first(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _blocks(node: ast.stmt) -> Iterable[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        if block := getattr(node, name, []):
            yield block
    for part in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
        yield part.body


def executing(records: Sequence[Record], path: str, source: bytes, mutant: Mutant) -> list[Case]:
    """Tests that execute what ``mutant`` changes: those that do so themselves, then those whose
    import does. Of each the fastest first, where the k-th case of a function counts k times, and
    one that executes b modules b times: what is about few modules looks closer at each."""
    lines, at_import = statement(source, mutant)
    own: list[Case] = []
    others: list[Case] = []
    for one in records:
        found = one.lines.get(path, {})
        wanted = found if at_import else {str(line) for line in lines}
        numbers = {number for line in wanted for number in found.get(line, ())}
        own += [one.tests[number] for number in sorted(numbers)]
        if not set(one.imports.get(path, ())).isdisjoint(lines):
            others += [test for n, test in enumerate(one.tests) if n not in numbers]
    return _varied(own) + _varied(others)


def _varied(tests: Sequence[Case]) -> list[Case]:
    seen: Counter[str] = Counter()
    ranked = []
    for test in sorted(tests, key=lambda test: test.seconds):
        seen[test.function] += 1
        ranked.append((seen[test.function] * test.breadth * test.seconds, test))
    return [test for _, test in sorted(ranked, key=lambda item: item[0])]
