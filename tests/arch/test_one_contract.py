"""Numbers, bit positions and rounding rules of the contract stand in ``sigbit_hw.arch`` alone.

``SEARCHES`` is the list of what is looked for in everything else that is shipped: Python without
its docstrings and comments, C++ without its comments. Each comes with an example of what it must
find.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from sigbit_hw.arch import (
    bus,
    cpp,
    formats,
    images,
    isa,
    limits,
    link,
    numerics,
    params,
    regs,
    timing,
)

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("hw", "sw", "sim", "boards")
CONTRACT = ROOT / "hw/sigbit_hw/arch"
SUFFIXES = (".py", ".cpp", ".h")


def names_of(*modules: ModuleType) -> str:
    """A pattern of the modules' constants that are numbers."""
    found = {n for m in modules for n, v in vars(m).items() if n.isupper() and type(v) is int}
    found -= {"VERSION"}  # other files have one of their own
    return "|".join(sorted(found, key=len, reverse=True))


CONSTANTS = names_of(bus, formats, images, isa, limits, link, numerics, params, regs, timing)
OPCODES = "|".join(isa.Opcode.__members__)
FIELDS = "|".join(f.name for o in (isa.Opcode.SEG, isa.Opcode.EXEC) for f in isa.LAYOUTS[o][3:6])
NAMES = "|".join(sorted({f.name for o in isa.Opcode for f in isa.fields_of(o)}))
REGISTERS = "|".join(r.name for r in regs.REGISTERS if r.access in regs.OWNED)

SEARCHES = {
    "a constant of the contract defined again": (
        rf"\b({CONSTANTS})\s*=\s*[-~(]*\d",
        "constexpr int IN_FLIGHT = 8, SETTLE = 8;",
    ),
    "the number of an opcode": (
        rf"\b({OPCODES})\s*=\s*\d|\bopcode\s*[=!]=\s*\d",
        "enum Opcode { HALT = 1, LOAD, FILL };",
    ),
    "an enumeration of the contract in C++": (
        r"\benum\s+(class\s+|struct\s+)?(Opcode|Engine|LoadKind|Kind|Mode|Response|Cause)\b",
        "enum Engine { LOAD, COMPUTE, STORE };",
    ),
    "fields of an instruction in C++": (
        rf"\bint64_t\b[^;(){{}}]*\b({FIELDS})\b\s*[,;=]",
        "int64_t index, n_ic, n_kx, n_ky;",
    ),
    "the width of a field": (
        rf"[\"']({NAMES})[\"']\s*:\s*([2-9]|\d\d+)\b|\b({NAMES})_BITS\s*=\s*\d",
        'COMMAND = StructLayout({"kind": 2, "fill": 1})',
    ),
    "bits cut out of an instruction": (
        r"\bbits<\s*\d|instructions\[[^\]]*\]\s*&\s*\w+",
        "name = Opcode(program.instructions[at * WORD_BYTES] & 15).name",
    ),
    "the bits of a token mask": (
        r"\b(wait|signal)\s*>>\s*(?!engine\b)\w+\s*&\s*1",
        "if instr.wait >> giver & 1:",
    ),
    "the opcode's width": (r"&\s*(15|0x0?[fF])\b", "opcode = word & 0xF"),
    "the fraction of a base or step": (
        r"\b(base|step|acc|total)\b\s*(<<\s*16\b|[*/]+\s*(65536|2(\.0)?\s*\*\*\s*1[46])\b)",
        "total = (acc << 16) + base",
    ),
    "widths of a requantizer": (
        r"\b(step|fraction|result)_bits\b\s*(<=?|>=?)\s*\d|\d\s*(<=?|>=?)\s*[\w.]*\b(step|fraction|result)_bits\b",
        "if not 1 <= self.fraction_bits <= 16:",
    ),
    "widths of an accumulator": (
        r"\bacc_bits\b\s*(<=?|>=?)\s*\d|\d\s*(<=?|>=?)\s*[\w.]*\bacc_bits\b|\[16, 32\]",
        "if not 16 <= self.acc_bits <= 32:",
    ),
    "the snapping of a step": (
        r"(<<|\*\*)\s*-?\(?[\w.]*fraction_bits",
        "step = floor(value * 2.0**fraction_bits + 0.5)",
    ),
    "the division by a step": (
        r"\btotal\b\s*//\s*[\w.]*step\b|\b(total|acc|base)\b\s*//\s*[\w.]*\bstep\b",
        "y = np.clip(total // step, -128, 127)",
    ),
    "ties away from zero": (
        r">=\s*0\.5\b.*copysign|copysign\(.*>=\s*0\.5",
        "whole.add_(((v - whole).abs() >= 0.5).to(v.dtype).copysign_(v))",
    ),
    "the index of a table": (
        r"\by\s*&\s*(255|0xFF)\b|TABLE_ENTRIES\s*-\s*1\)|%\s*(256\b|[\w.]*TABLE_ENTRIES)",
        "entry = table[y & 255]",
    ),
    "places within a parameter item": (
        r"<<\s*\(?[\w.]*step_bits",
        "item = step | tie << fmt.step_bits",
    ),
    "registers of a program": (
        rf"[\"']({REGISTERS})[\"']\s*[:,]|MEM_BASE",
        '("PROGRAM_COUNT", program.instructions.size // isa.WORD_BYTES),',
    ),
    "the registers of a digest": (r"digest\[\s*:?\s*8\b", "int(config.digest[:8], 16)"),
    "offsets of registers": (
        r"(write|read)_dword\(\s*\d|\bOFFSET\s*\+\s*\d|\b(write|read)\(\s*0x[0-9a-fA-F]{2}\b",
        "device.write(0x10, 1)",
    ),
    "responses of the bus": (r"\b(SLVERR|DECERR|OKAY)\s*=\s*\d", "DECERR = 3"),
    "limits of memories": (
        r"\b(act_slots|weight_words|param_groups|tables|segments)\b\s*[<>]=?\s*(\d{2,}|1\s*<<)",
        "if self.act_slots > 1 << 20:",
    ),
    "cycles of a drain": (
        r"pixels\s*//\s*[\w.]*drain_pixels\s*\*",
        "drain = config.pixels // config.drain_pixels * planes",
    ),
    "units of a load": (
        r"(weight_word|bus)_bits\s*//\s*[\w.]*(bus|slot|ITEM|item)_bits\s*[-,]",
        "LoadKind.ACTS: config.bus_bits // config.slot_bits,",
    ),
}
"""By name: the pattern, and a line that it finds."""


def code_of(path: Path) -> str:
    """The text without comments and docstrings, as many lines as before."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)
        return re.sub(r"//[^\n]*", "", text)
    return without_docstrings(text)


def without_docstrings(text: str) -> str:
    """Python without comments and without strings that stand alone."""
    lines = text.splitlines(keepends=True)
    spans = [
        (node.value.lineno, node.value.end_lineno)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    comments = [
        token.start
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    ]
    for row, column in comments:
        lines[row - 1] = lines[row - 1][:column] + "\n"
    for first, last in spans:
        assert last is not None
        lines[first - 1 : last] = ["\n"] * (last - first + 1)
    return "".join(lines)


@cache
def shipped() -> dict[str, str]:
    """Code by path of everything that is shipped but for the contract itself."""
    paths = (p for root in ROOTS for p in sorted((ROOT / root).rglob("*")))
    return {
        str(path.relative_to(ROOT)): code_of(path)
        for path in paths
        if path.suffix in SUFFIXES and CONTRACT not in path.parents
    }


def findings(pattern: str, code: dict[str, str]) -> Iterator[str]:
    """Path, line and text of every match."""
    expression = re.compile(pattern)
    for path, text in code.items():
        for number, line in enumerate(text.splitlines(), 1):
            if expression.search(line):
                yield f"{path}:{number}: {line.strip()}"


def test_everything_shipped_is_read() -> None:
    code = shipped()
    assert len(code) > 300
    assert {Path(path).suffix for path in code} == set(SUFFIXES)
    assert not any(path.startswith("hw/sigbit_hw/arch/") for path in code)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_planted_copy_is_found(name: str) -> None:
    pattern, example = SEARCHES[name]
    assert list(findings(pattern, {"planted": f"a\n{example}\n"})) == [f"planted:2: {example}"]


@pytest.mark.parametrize("name", SEARCHES)
def test_nothing_is_written_twice(name: str) -> None:
    found = list(findings(SEARCHES[name][0], shipped()))
    assert not found, f"{name}, outside sigbit_hw.arch:\n" + "\n".join(found)


def test_docstrings_and_comments_are_not_code() -> None:
    text = '"""SETTLE = 8"""\nx = 1  # SETTLE = 8\ndef f():\n    """TAG = 9"""\n    return "# 8"\n'
    assert without_docstrings(text) == '\nx = 1  \ndef f():\n\n    return "# 8"\n'


def test_the_header_is_generated_from_the_tables() -> None:
    """What C++ includes names every opcode, field and timing constant."""
    header = cpp.header()
    for opcode in isa.Opcode:
        assert re.search(rf"\b{opcode.name} = {opcode.value}\b", header)
        for field in isa.LAYOUTS[opcode]:
            assert f"{field.name} = bits<{field.first}, {field.width}" in header
    for name, value in cpp.constants().items():
        assert f"constexpr int {name} = {value};" in header
    assert len(cpp.constants()) == len(names_of(timing).split("|"))
