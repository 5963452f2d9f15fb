"""``sigbit`` with networks that keep states: quantize, check, inspect, compile, run, export."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from sigbit.ir.model_file import load_model
from sigbit.ir.streaming import stream
from sigbit_hw.arch.program import Program

STEPS = 40
NETWORKS = '''
import torch
from torch import nn


class Counter(nn.Module):
    """A buffer that the module overwrites."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.head = nn.Linear(3, 8), nn.Linear(8, 2)
        self.register_buffer("kept", torch.zeros(1, 8))

    def forward(self, x):
        self.kept.copy_(torch.tanh(self.layer(x) + 0.9 * self.kept))
        return self.head(self.kept)


class Cell(nn.Module):
    """A state as an input and an output."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.cell, self.head = nn.GRUCell(3, 8), nn.Linear(8, 2)

    def forward(self, x, h):
        h = self.cell(x, h)
        return self.head(h), h


class Replacing(Counter):
    """A buffer that the module replaces."""

    def forward(self, x):
        self.kept = torch.tanh(self.layer(x) + 0.9 * self.kept)
        return self.head(self.kept)


def counter():
    return Counter()


def replacing():
    return Replacing()


def cell():
    return Cell()
'''
CELL = ("--input", "3", "--input", "8", "--state", "h=1")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder of networks and frames."""
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETWORKS))
    rng = np.random.default_rng(1)
    np.save(tmp_path / "frames.npy", rng.standard_normal((STEPS, 3)).astype(np.float32))
    return tmp_path


def quantized(sigbit, made: Path, output: str, name: str, *options: str) -> Path:
    file = made / output
    answer = sigbit(
        "quantize", f"{made / 'nets.py'}:{name}", *options, "--calibrate", made / "frames.npy",
        "--arch", "nano", "-o", file,
    )  # fmt: skip
    assert answer.code == 0, answer
    assert "calibrated on              32 of 40 in" in answer.out.replace("\n", " ")
    assert "the first ones" in answer.out
    return file


@pytest.mark.parametrize(
    ("name", "options"),
    [("counter", ("--input", "3")), ("replacing", ("--input", "3")), ("cell", CELL)],
)
def test_frames_in_a_stream(sigbit, refused, made: Path, name: str, options: tuple) -> None:
    model = quantized(sigbit, made, "net.sbm", name, *options)
    file, frames = made / "net.sigbit", made / "frames.npy"
    answer = sigbit("compile", model, "--arch", "nano", "-o", file, "--vectors", "5")
    assert answer.code == 0, answer
    answer = sigbit("run", file, frames, "--stream", "-o", made / "y.npy")
    assert answer.code == 0, answer
    program, graph = Program.load(file), load_model(model)
    (port,) = program.inputs
    codes = torch.from_numpy(port.quantize(np.load(frames)))
    golden = stream(graph, {port.name: codes})
    output, tensor, _ = graph.returned[0]
    wanted = program.outputs[0].dequantize(golden[tensor].numpy()).reshape(STEPS, 2)
    np.testing.assert_array_equal(np.load(made / "y.npy"), wanted)
    assert output == "head"
    state = program.states[0].name
    assert state == ("h" if name == "cell" else "kept")
    assert f"passes states ({state}) from each sample to the next" in refused("run", file, frames)
    shown = sigbit("inspect", file, "--json", made / "facts.json")
    assert f"state {state}" in shown.out
    facts = json.loads((made / "facts.json").read_text())
    assert [each["name"] for each in facts["states"]] == [state]
    assert facts["traffic_bytes"]["states, read"] == facts["traffic_bytes"]["states, written"]
    assert sum(region["content"] == f"state {state}" for region in facts["memory_map"]) == 1


@pytest.mark.sim
def test_check_in_a_stream(sigbit, made: Path) -> None:
    """Every layer of every step, and the test vectors, against the interpreter."""
    model = quantized(sigbit, made, "net.sbm", "cell", *CELL)
    file = made / "net.sigbit"
    for images, vectors in ((1, 5), (2, 6)):
        options = ("--images", str(images), "--vectors", str(vectors))
        assert sigbit("compile", model, "--arch", "nano", "-o", file, *options).code == 0
        answer = sigbit("run", file, made / "frames.npy", "--stream", "--check")
        assert answer.code == 0, answer
        assert "0 differ" in answer.out
        assert "test vectors, rtl" in answer.out


def test_exports_have_states_as_inputs_and_outputs(sigbit, made: Path) -> None:
    import onnx

    model = quantized(sigbit, made, "net.sbm", "cell", *CELL)
    answer = sigbit("export", model, "--qonnx", made / "net.onnx", "--pt2", made / "net.pt2")
    assert answer.code == 0, answer
    graph = onnx.load(made / "net.onnx").graph
    assert [each.name for each in graph.input] == ["x", "h"]
    assert len(graph.output) == 2


def test_wrong_declarations(sigbit, refused, made: Path) -> None:
    net, out = f"{made / 'nets.py'}:cell", made / "net.sigbit"
    base = ("--input", "3", "--input", "8", "--arch", "nano", "-o", out)
    base = ("quantize", net, "--calibrate", made / "frames.npy", *base)
    assert "--state must be NAME=OUTPUT" in refused(*base, "--state", "h")
    assert "there is no input 'g'; there are x, h" in refused(*base, "--state", "g=1")
    assert "names an input twice" in refused(*base, "--state", "h=1", "--state", "h=1")
    assert "there is no such output" in refused(*base, "--state", "h=7")
    assert "the arrays are x, the inputs of the network x, h" in refused(*base)
    assert not out.exists()
    answer = sigbit("check", net, *CELL, "--arch", "nano")
    assert answer.code == 0, answer


def test_a_stream_of_what_has_no_states(refused, program_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 4, 4, 4), np.float32))
    text = refused("run", program_file, tmp_path / "x.npy", "--stream")
    assert "has no states: leave it out" in text


def test_streams_side_by_side(sigbit, refused, made: Path) -> None:
    """As many as a run has images; each keeps its own states."""
    model = quantized(sigbit, made, "net.sbm", "cell", *CELL)
    file, frames = made / "net.sigbit", np.load(made / "frames.npy")
    alone = made / "one.sigbit"
    assert sigbit("compile", model, "--arch", "nano", "-o", alone).code == 0
    assert sigbit("compile", model, "--arch", "nano", "-o", file, "--images", "2").code == 0
    answer = sigbit("run", file, made / "frames.npy", "--stream", "-o", made / "both.npy")
    assert answer.code == 0, answer
    for each in (0, 1):
        np.save(made / "x.npy", frames[each::2])
        sigbit("run", alone, made / "x.npy", "--stream", "-o", made / "y.npy")
        np.testing.assert_array_equal(np.load(made / "both.npy")[each::2], np.load(made / "y.npy"))
    np.save(made / "odd.npy", frames[:5])
    text = refused("run", file, made / "odd.npy", "--stream")
    assert "keeps the states of 2 streams: give a sample of each for every step, not 5" in text
