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


def test_cycles_add_up(sigbit, program, program_file, tmp_path):
    from sigbit_sim.cycles import predict

    answer = sigbit("inspect", program_file, "--latency", "7", "--json", tmp_path / "i.json")
    assert answer.code == 0
    document = json.loads((tmp_path / "i.json").read_text())
    predicted = predict(program, latency=7)
    assert document["cycles"] == predicted.cycles
    (row,) = document["times"]
    assert row["cycles"] == row["fed"] + row["drain"] + row["wait"] == predicted.retires[2]
    assert f"{predicted.cycles:,} cycles a run" in answer.out
    answer = sigbit("inspect", program_file, "--no-cycles", "--json", tmp_path / "i.json")
    assert "cycles" not in json.loads((tmp_path / "i.json").read_text())


def test_traffic_by_kind(program):
    """A load and a store of each region."""
    from dataclasses import replace

    from sigbit.cli.traffic import spilled, traffic
    from sigbit_hw.arch import isa

    code = [
        isa.Load(address=1024, beats=2, kind=isa.LoadKind.WEIGHTS),
        isa.Load(address=1024, beats=2, kind=isa.LoadKind.PARAMS),
        isa.Load(address=1024, beats=2, kind=isa.LoadKind.TABLE),
        isa.Load(address=512, beats=2, kind=isa.LoadKind.ACTS, tag=1),
        isa.Store(address=2048, beats=2),
        isa.Load(address=2048, beats=2, kind=isa.LoadKind.ACTS),
        isa.Store(address=3072, beats=2),
        *program.listing,
    ]
    port = replace(program.outputs[0], offset=3072)
    spilling = replace(program, instructions=isa.pack(code), outputs=(port,))
    assert spilled(spilling) == (2048, 3072)
    found = traffic(spilling)
    beats = 2 * program.config.bus_bytes
    assert found.bytes == {
        "instructions": 32 * len(code),
        **dict.fromkeys(
            (
                "weights",
                "parameters",
                "tables",
                "inputs",
                "spilled values, written",
                "spilled values, read",
                "outputs",
            ),
            beats,
        ),
    }
    assert found.loaded == {0: 4 * beats, 1: beats}
    assert found.stored == {0: 2 * beats}


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
