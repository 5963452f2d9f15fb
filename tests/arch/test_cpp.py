"""The generated C++ header, compiled: it decodes what the tables encode."""

import ctypes
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sigbit_hw.arch import bus, cpp, isa, timing

NAMES = list(dict.fromkeys(f.name for o in isa.Opcode for f in isa.fields_of(o)))
SOURCE = f"""\
#include <initializer_list>
#include "{cpp.HEADER_NAME}"

extern "C" void decode(const uint8_t* word, int64_t* values) {{
    const sigbit::Instr i(word);
    for (int64_t value : {{{", ".join(f"i.{name}" for name in NAMES)}}}) *values++ = value;
    *values++ = sigbit::engine_of(i.opcode);
    *values++ = sigbit::signalling(i.opcode);
    for (int e = 0; e < sigbit::Engine::COUNT; ++e) *values++ = sigbit::masked(i.wait, e);
}}
"""


def random_instructions(rng: np.random.Generator) -> list[isa.Instr]:
    """Three instructions of every opcode or more: least values, largest values, random ones."""
    found = []
    for opcode in isa.Opcode:
        fields = isa.LAYOUTS[opcode]
        cases = [{f.name: f.min for f in fields}, {f.name: f.max for f in fields}]
        cases += [{f.name: int(rng.integers(f.min, f.max + 1)) for f in fields} for _ in range(30)]
        engine = isa.ENGINE_OF.get(opcode)
        others = sum(1 << e for e in isa.Engine if e is not engine) if engine is not None else 0
        for case in cases:
            case |= {"tag": int(rng.integers(1 << isa.TAG_BITS)), "wait": others}
            found.append(isa.instruction(opcode, case))
    return found


def test_enumerations_and_constants() -> None:
    """Every member has its value; what counts from 0 has a COUNT, and nothing else has."""
    text = cpp.header()
    for kind in (isa.Opcode, isa.Engine, isa.LoadKind, isa.Mode, bus.Response):
        (line,) = re.findall(rf"struct {kind.__name__} {{.*}};", text)
        found = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", line)}
        dense = sorted(m.value for m in kind) == list(range(len(kind)))
        assert found == {m.name: m.value for m in kind} | ({"COUNT": len(kind)} if dense else {})
    constants = re.findall(r"constexpr int (\w+) = (\d+);", text)
    upper = {name: value for name, value in vars(timing).items() if name.isupper()}
    others = {"WORD_BYTES": 32, "SEGMENTS_MAX": 1 << isa.SEGMENT_BITS}
    assert {name: int(value) for name, value in constants} == upper | others
    assert upper == cpp.constants()


def test_fields_and_engines() -> None:
    """In the constructor and the functions of opcodes, as the tables have them."""
    text = cpp.header()
    constructor = text[text.index("explicit Instr(") :]
    head, *cases = re.split(r"case Opcode::(\w+):", constructor)

    def fields(part: str) -> set[tuple[str, int, int, bool]]:
        found = re.findall(r"(\w+) = bits<(\d+), (\d+)(, true)?>\(word\);", part)
        return {(name, int(first), int(width), bool(sign)) for name, first, width, sign in found}

    assert fields(head) == {(f.name, f.first, f.width, f.signed) for f in isa.HEADER}
    assert cases[::2] == [opcode.name for opcode in isa.Opcode]
    for name, part in zip(cases[::2], cases[1::2], strict=True):
        layout = isa.LAYOUTS[isa.Opcode[name]]
        assert fields(part) == {(f.name, f.first, f.width, f.signed) for f in layout}
    engines = text[text.index("engine_of") : text.index("bool signalling")]
    found = dict(re.findall(r"case Opcode::(\w+): return Engine::(\w+);", engines))
    assert found == {opcode.name: engine.name for opcode, engine in isa.ENGINE_OF.items()}
    signals = text[text.index("bool signalling") : text.index("bool masked")]
    assert set(re.findall(r"case Opcode::(\w+): return true;", signals)) == {
        opcode.name for opcode in isa.SIGNALLING
    }


@pytest.mark.sim
def test_the_header_decodes_what_the_tables_encode(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    (tmp_path / cpp.HEADER_NAME).write_text(cpp.header())
    (tmp_path / "decode.cpp").write_text(SOURCE)
    compiler = (os.environ.get("CXX") or "g++").split()
    options = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    done = subprocess.run(
        [*compiler, *options, "decode.cpp", "-o", "decode.so"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    decode = ctypes.CDLL(str(tmp_path / "decode.so")).decode
    for instr in random_instructions(rng):
        word = isa.pack([instr])
        found = np.zeros(len(NAMES) + 2 + len(isa.Engine), np.int64)
        decode(ctypes.c_void_p(word.ctypes.data), ctypes.c_void_p(found.ctypes.data))
        fields, rest = found[: len(NAMES)].tolist(), found[len(NAMES) :].tolist()
        assert fields == [int(getattr(instr, name, 0)) for name in NAMES]
        waits = [int(e in isa.engines_of(instr.wait)) for e in isa.Engine]
        signals = int(instr.opcode in isa.SIGNALLING)
        assert rest == [isa.ENGINE_OF.get(instr.opcode, -1), signals, *waits]
