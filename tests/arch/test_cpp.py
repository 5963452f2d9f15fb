"""The generated C++ header, compiled: it decodes what the tables encode."""

import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sigbit_hw.arch import cpp, isa

pytestmark = pytest.mark.sim

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
    """Of every opcode one with the least and one with the largest values, and random ones."""
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
