"""``sigbit inspect``, and Program files that are wrong."""

import json

import numpy as np
import pytest

from sigbit_hw.arch import assembler


def test_inspect(sigbit, program, program_file, tmp_path):
    answer = sigbit("inspect", program_file, "--json", tmp_path / "i.json")
    assert answer.code == 0
    assert program.digest in answer.out
    assert "may be written by STORE" in answer.out
    document = json.loads((tmp_path / "i.json").read_text())
    assert document["digest"] == program.digest
    assert document["arch_digest"] == program.config.digest
    assert document["instructions"] == {"SEG": 1, "OUT": 1, "EXEC": 1, "HALT": 1}
    assert document["layers"][0]["macs"] == 256
    spans = {(r["from"], r["to"]) for r in document["memory_map"]}
    assert {(0, 128), (1024, 1088), (512, 544), (2048, 2080), (2048, 4096), (0, 4096)} == spans


def test_listing_assembles_again(sigbit, program, program_file):
    answer = sigbit("inspect", program_file, "--listing")
    lines = [line for line in answer.out.splitlines() if line[:6].strip().isdigit()]
    assert assembler.assemble("\n".join(lines)) == program.listing
    assert "# conv" in answer.out


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, 0.99])
def test_truncated(refused, program_file, keep):
    data = program_file.read_bytes()
    program_file.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    assert "tiny.sigbit" in refused("inspect", program_file)


def test_flipped_bits(refused, program_file, rng):
    data = program_file.read_bytes()
    for position in rng.integers(0, len(data), 40):
        wrong = bytearray(data)
        wrong[position] ^= 1 << int(rng.integers(8))
        program_file.write_bytes(bytes(wrong))
        assert "tiny.sigbit" in refused("inspect", program_file)


def test_not_a_program(refused, tmp_path):
    assert "no such file" in refused("inspect", tmp_path / "absent.sigbit")
    (tmp_path / "text.sigbit").write_text("hello")
    assert "not a Program" in refused("inspect", tmp_path / "text.sigbit")
    assert str(tmp_path) in refused("inspect", tmp_path)


def test_illegal_instruction(refused, program, tmp_path):
    from dataclasses import replace

    words = program.instructions.copy()
    words[32] = 0
    path = tmp_path / "p.sigbit"
    replace(program, instructions=np.ascontiguousarray(words)).save(path)
    assert "instruction 1: illegal opcode 0" in refused("inspect", path)
