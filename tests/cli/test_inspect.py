"""``sigbit inspect``, and Program files that are wrong."""

import json

import numpy as np
import pytest

from sigbit_hw.arch import assembler, isa


def test_inspect(sigbit, program, program_file, tmp_path):
    answer = sigbit("inspect", program_file, "--json", tmp_path / "i.json")
    assert answer.code == 0
    assert program.digest in answer.out
    assert "may be written by STORE" in answer.out
    document = json.loads((tmp_path / "i.json").read_text())
    assert document["digest"] == program.digest
    assert document["arch_digest"] == program.config.digest
    counts = {"LOAD": 4, "SEG": 1, "OUT": 1, "EXEC": 1, "STORE": 1, "HALT": 1}
    assert document["instructions"] == counts
    assert document["layers"][0]["macs"] == 256
    spans = {(r["from"], r["to"]) for r in document["memory_map"]}
    assert {(0, 288), (1024, 3112), (512, 544), (4096, 4128), (4096, 8192), (0, 8192)} == spans


def test_cycles_add_up(sigbit, program, program_file, tmp_path):
    from sigbit_sim.cycles import predict

    answer = sigbit("inspect", program_file, "--latency", "7", "--json", tmp_path / "i.json")
    assert answer.code == 0
    document = json.loads((tmp_path / "i.json").read_text())
    predicted = predict(program, latency=7)
    assert document["cycles"] == predicted.cycles
    (row,) = document["times"]
    assert row["cycles"] == row["fed"] + row["drain"] + row["wait"] == predicted.retires[6]
    assert f"{predicted.cycles:,} cycles a run" in answer.out
    answer = sigbit("inspect", program_file, "--no-cycles", "--json", tmp_path / "i.json")
    assert "cycles" not in json.loads((tmp_path / "i.json").read_text())


def test_traffic_by_kind(bare):
    """A load and a store of each region."""
    from dataclasses import replace

    from sigbit.cli.traffic import spilled, traffic
    from sigbit_hw.arch import isa

    def move(opcode, address, **fields):
        return isa.Instr(opcode, address=address, beats=2, n0=1, n1=1, n2=1, **fields)

    load, store = isa.Opcode.LOAD, isa.Opcode.STORE
    code = [
        move(load, 1024, kind=isa.LoadKind.WEIGHTS),
        move(load, 1024, kind=isa.LoadKind.PARAMS),
        move(load, 1024, kind=isa.LoadKind.TABLE),
        move(load, 512, kind=isa.LoadKind.ACTS, tag=1),
        move(store, 2048),
        move(load, 2048, kind=isa.LoadKind.ACTS),
        move(store, 3072),
        *bare.listing,
    ]
    port = replace(bare.outputs[0], offset=3072)
    spilling = replace(bare, instructions=isa.pack(code), outputs=(port,))
    assert spilled(spilling) == (2048, 3072)
    found = traffic(spilling)
    beats = 2 * bare.config.bus_bytes
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


def test_illegal_instruction(refused, program, tmp_path, monkeypatch):
    from dataclasses import replace

    words = program.instructions.copy()
    words[32] = 0
    path = tmp_path / "p.sigbit"
    with monkeypatch.context() as patch:
        patch.setattr("sigbit_hw.arch.program.check_program", lambda _: None)
        replace(program, instructions=np.ascontiguousarray(words)).save(path)
    assert "instruction 1: illegal opcode 0" in refused("inspect", path)


def test_a_program_that_must_not_run(refused, program, tmp_path):
    """Every instruction is legal, but the last EXEC reads what nobody has written."""
    from dataclasses import replace

    code = [instr for index, instr in enumerate(program.listing) if index != 1]
    info = replace(program.execs[0], index=5)
    path = tmp_path / "p.sigbit"
    replace(program, instructions=isa.pack(code), execs=(info,)).save(path)
    error = refused("inspect", path)
    assert "program 'tiny' must not run on any device: instruction 5" in error
    assert "uses PARAMS that may be never written" in error
    assert refused("run", path, tmp_path / "x.npy") == error
