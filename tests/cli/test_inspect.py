"""``sigbit inspect``, and Program files that are wrong."""

import json

import numpy as np
import pytest

from sigbit.compiler.random_graph import random_graph
from sigbit.ir.integer import macs
from sigbit.ir.model_file import model_digest, save_model
from sigbit_hw.arch import assembler, isa
from sigbit_hw.arch.config import PRESETS


@pytest.mark.sim
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
    assert {(0, 288), (1024, 1192), (512, 544), (4096, 4128), (4096, 8192), (0, 8192)} == spans


@pytest.mark.sim
def test_cycles_add_up(sigbit, program, program_file, tmp_path):
    from sigbit_sim.cycles import predict
    from sigbit_sim.memory import MemoryTiming

    answer = sigbit("inspect", program_file, "--latency", "7", "--json", tmp_path / "i.json")
    assert answer.code == 0
    document = json.loads((tmp_path / "i.json").read_text())
    predicted = predict(program, MemoryTiming(7))
    assert document["cycles"] == predicted.cycles
    (row,) = document["times"]
    assert row["cycles"] == row["fed"] + row["drain"] + row["wait"] == predicted.retires[6]
    assert f"{predicted.cycles:,} cycles per run" in answer.out
    answer = sigbit("inspect", program_file, "--no-cycles", "--json", tmp_path / "i.json")
    assert "cycles" not in json.loads((tmp_path / "i.json").read_text())


def test_traffic_by_kind(bare):
    """A load and a store of each region."""
    from dataclasses import replace

    from sigbit.flows.traffic import spilled, traffic
    from sigbit_hw.arch import isa

    code = [
        isa.Load(address=1024, beats=2, kind=isa.LoadKind.WEIGHTS),
        isa.Load(address=1024, beats=2, kind=isa.LoadKind.PARAMS),
        isa.Load(address=1024, beats=2, kind=isa.LoadKind.TABLE),
        isa.Load(address=512, beats=2, kind=isa.LoadKind.ACTS, tag=1),
        isa.Store(address=2048, beats=2),
        isa.Load(address=2048, beats=2, kind=isa.LoadKind.ACTS),
        isa.Store(address=3072, beats=2),
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


@pytest.mark.sim
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


@pytest.fixture
def model(tmp_path):
    """A small integer model as a file."""
    graph = random_graph(np.random.default_rng(3), PRESETS["nano"], layers=3)
    save_model(graph, tmp_path / "net.sbm")
    return graph, tmp_path / "net.sbm"


def test_integer_model(sigbit, model, tmp_path):
    graph, file = model
    answer = sigbit("inspect", file, "--json", tmp_path / "facts.json")
    assert answer.code == 0, answer
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["digest"] == model_digest(graph)
    assert facts["digest"] in answer.out
    assert facts["file_bytes"] == file.stat().st_size
    names = [n.name for n in graph.nodes if n not in graph.inputs]
    assert [row["name"] for row in facts["layers"]] == names
    assert all(name in answer.out for name in names)
    assert facts["macs"] == sum(macs(graph, n) for n in graph.nodes) > 0
    (given,) = facts["inputs"]
    assert given["shape"] == list(graph.inputs[0].type.shape)
    assert given["axes"] == "channels height width"


@pytest.mark.parametrize("option", [["--listing"], ["--no-cycles"], ["--latency", "40"]])
def test_options_of_programs_are_refused_for_models(refused, model, option):
    error = refused("inspect", model[1], *option)
    assert "is for Programs, and" in error
    assert "sigbit compile" in error


def test_damaged_integer_model(refused, tmp_path):
    (tmp_path / "net.sbm").write_bytes(b"PK")
    assert "not an integer model, or truncated" in refused("inspect", tmp_path / "net.sbm")
    graph = random_graph(np.random.default_rng(3), PRESETS["nano"], layers=3)
    save_model(graph, tmp_path / "net.sigbit")
    for command in (["inspect"], ["run", tmp_path / "x.npy"]):
        error = refused(command[0], tmp_path / "net.sigbit", *command[1:])
        assert "is an integer model, not a Program: `sigbit compile` makes a Program of it" in error
