"""``sigbit check``: what is supported, by what it is carried out, and every refusal at once."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sigbit.compiler.random_graph import random_graph
from sigbit.quant import IntegerModel
from sigbit_hw.arch.config import PRESETS

SOURCE = """
import torch
from torch import nn

class Soft(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.SiLU())
        self.depth = nn.Conv2d(6, 6, 3, groups=6)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        y = self.depth(self.body(x)).mean((2, 3))
        return self.head(y * y).softmax(1)

class Odd(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, 1) + torch.lgamma(x)

class Two(nn.Module):
    def forward(self, a, b):
        return torch.relu(a + b)

number = 7

def broken():
    raise RuntimeError("no weights here")
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A Python file with networks, in the working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "soft_nets.py"
    path.write_text(SOURCE)
    return path


def test_report(sigbit, nets, tmp_path):
    answer = sigbit("check", "soft_nets.py:Soft", "--input", "3x8x8", "--json", "c.json")
    assert answer.code == 0, answer
    assert "but Softmax, which the host does" in answer.out.replace("\n", " ")
    document = json.loads((tmp_path / "c.json").read_text())
    assert document["supported"] is True
    assert document["refusals"] == []
    assert document["inputs"] == [{"name": "x", "shape": [3, 8, 8]}]
    by = {o["operation"]: (o["count"], o["by"]) for o in document["operations"]}
    assert by["Conv2d 3x3"] == (1, "array")
    assert by["Conv2d 3x3, depthwise"] == (1, "array")
    assert by["silu"] == (1, "table")
    assert by["Multiply"] == (1, "array, table")
    (host,) = document["host"]
    assert host["function"] == "Softmax"
    assert "soft_nets.py" in host["location"]
    want = 36 * 6 * 27 + 16 * 6 * 9 + 5 * 6
    assert document["macs"] == want == sum(o["macs"] for o in document["operations"])
    assert document["parameters"] == 6 * 27 + 12 + 6 * 9 + 6 + 30 + 5


def test_all_refusals_at_once(sigbit, nets, tmp_path):
    answer = sigbit("check", "soft_nets.py:Odd", "--input", "2x4x4", "--json", "c.json")
    assert answer.code == 1
    assert answer.err == "failed: soft_nets.py:Odd: 2 operations are not supported\n"
    document = json.loads((tmp_path / "c.json").read_text())
    assert document["supported"] is False
    assert [r["op"] for r in document["refusals"]] == [
        "aten.cumsum.default",
        "aten.lgamma.default",
    ]
    assert all(r["reason"] and r["remedy"] for r in document["refusals"])
    assert document["host"] == document["layers"] == []
    assert all("soft_nets.py" in r["location"] for r in document["refusals"])
    for word in ("cumsum", "lgamma", "soft_nets.py"):
        assert word in answer.out


def test_exported(sigbit, tmp_path):
    path = tmp_path / "net.pt2"
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).eval()
    torch.export.save(torch.export.export(model, (torch.rand(1, 1, 6, 6),)), path)
    answer = sigbit("check", path)
    assert answer.code == 0, answer
    assert "Network net" in answer.out


def test_onnx(sigbit, tmp_path):
    from onnx import TensorProto, helper, save

    def tensor(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Softmax", ["y"], ["z"], axis=1),
    ]
    sides = [tensor("x", "N", 4, "H", 8)], [tensor("z", "N", 4, "H", 8)]
    path = tmp_path / "net.onnx"
    save(helper.make_model(helper.make_graph(nodes, "net", *sides)), path)
    answer = sigbit("check", path)
    assert answer.code == 1
    assert "dimension 2 ('H') is dynamic" in answer.out
    assert "give --input x=SHAPE" in " ".join(answer.out.split())
    answer = sigbit("check", path, "--input", "x=4x8x8", "--json", tmp_path / "c.json")
    assert answer.code == 0, answer
    document = json.loads((tmp_path / "c.json").read_text())
    assert document["inputs"] == [{"name": "x", "shape": [4, 8, 8]}]
    assert [h["function"] for h in document["host"]] == ["Softmax"]
    path.write_text("nonsense")
    answer = sigbit("check", path)
    assert answer.code == 2
    assert "is not an ONNX model" in answer.err


@pytest.mark.sim
def test_zoo_on_an_accelerator(sigbit, tmp_path):
    answer = sigbit("check", "zoo:digits", "--arch", "nano", "--json", tmp_path / "c.json")
    assert answer.code == 0, answer
    document = json.loads((tmp_path / "c.json").read_text())
    fitted = document["accelerator"]
    assert fitted["arch"] == "nano"
    assert 0 < fitted["utilization"] < 1
    assert f"{fitted['cycles']:,} cycles per frame" in answer.out


def test_what_does_not_fit_an_accelerator(sigbit, nets):
    text = "wide = nn.Sequential(nn.Conv2d(4096, 1, 3))\n"
    nets.write_text(SOURCE + text)
    answer = sigbit("check", "soft_nets.py:wide", "--input", "4096x64x64", "--arch", "nano")
    assert answer.code == 1, answer
    assert "Not supported" in answer.out


def test_several_inputs(sigbit, nets):
    answer = sigbit("check", "soft_nets.py:Two", "--input", "2x4x4", "--input", "2,4,4")
    assert answer.code == 0, answer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "give zoo:NAME, MODEL.pt2, MODEL.onnx"),
        (["digits"], "write zoo:digits"),
        (["zoo:nonsense"], "there is no network 'nonsense'"),
        (["zoo:digits", "--input", "1x8x8"], "leave out --input"),
        (["zoo:digits", "--checkpoint", "absent.pt"], "absent.pt"),
        (["absent.pt2"], "absent.pt2: no such file"),
        (["wrong.pt2"], "wrong.pt2 is not a model that torch.export.save wrote"),
        (["net.sbm"], "is an integer model already: `sigbit compile net.sbm -o NET.sigbit`"),
        (["integer.pt2"], "is an export of an integer model: `sigbit compile` takes the NET.sbm"),
        (["absent.onnx"], "absent.onnx"),
        (["net.pt2", "--input", "1x8x8"], "holds its inputs itself"),
        (["net.pt2", "--checkpoint", "a.pt"], "holds its weights itself"),
        (["soft_nets.py:Soft"], "give --input SHAPE"),
        (["soft_nets.py:Soft", "--input", "4x8x8"], "does not take inputs of 4x8x8"),
        (["soft_nets.py:Soft", "--input", "3xAx8"], "--input must be one to three"),
        (["soft_nets.py:number"], "must be an nn.Module or an exported program"),
        (["soft_nets.py:broken"], "failed: RuntimeError: no weights here"),
        (["soft_nets.py:absent"], "there is no 'absent'"),
        (["zoo:digits", "--arch", "nonsense"], "no accelerator 'nonsense'"),
    ],
)
def test_mistakes(refused, nets, arguments, message):
    if arguments == ["wrong.pt2"]:
        (nets.parent / "wrong.pt2").write_bytes(b"PK\x03\x04 no model")
    if arguments == ["integer.pt2"]:
        rng = np.random.default_rng(0)
        integer = IntegerModel(random_graph(rng, PRESETS["nano"], layers=1))
        integer.export_pt2(nets.parent / "integer.pt2")
    assert message in refused("check", *arguments)


def test_integer_models_are_sent_to_compile(refused, nets):
    text = (
        "from sigbit.quant import QuantSpec, prepare\n"
        "done = prepare(nn.Conv2d(1, 1, 1), QuantSpec(), torch.rand(2, 1, 4, 4))\n"
    )
    nets.write_text(SOURCE + text)
    assert "`sigbit compile soft_nets.py:done" in refused("check", "soft_nets.py:done")


def quantized_model(rounding: str, bits: int) -> onnx.ModelProto:
    """A convolution between quantizers: weights of 3 bits, a signed result of ``bits``."""
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.003, 0.01, (5, 1, 1, 1)).astype(np.float32)
    number = {"z": 0, "eight": 8, "three": 3, "xs": 0.037}
    number |= {"ys": 2.32 / 2**bits, "bits": bits}
    constants = {k: np.array(v, np.float32) for k, v in number.items()}
    constants |= {"ws": scale, "w": (rng.integers(-3, 4, (5, 3, 3, 3)) * scale).astype(np.float32)}
    constants |= {"b": rng.standard_normal(5).astype(np.float32)}
    quant = {"domain": "qonnx.custom_op.general", "signed": 1, "narrow": 0}
    nodes = [
        helper.make_node("Quant", ["x", "xs", "z", "eight"], ["q"], **quant),
        helper.make_node("Quant", ["w", "ws", "z", "three"], ["v"], **quant),
        helper.make_node("Conv", ["q", "v", "b"], ["c"], name="conv"),
        helper.make_node(
            "Quant",
            ["c", "ys", "z", "bits"],
            ["y"],
            name="result",
            rounding_mode=rounding,
            **quant,
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 6, 6))],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(quant["domain"], 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.mark.sim
@pytest.mark.parametrize(
    ("rounding", "bits", "exact"),
    [("ROUND", 3, True), ("ROUND_TO_ZERO", 3, True), ("ROUND_TO_ZERO", 8, False)],
)
def test_layers_of_a_quantized_model(sigbit, tmp_path, monkeypatch, rounding, bits, exact):
    """Exact, or at how many accumulators not: what rounds to 0 from both sides takes one y more
    than there are codes, so that of 256 the lowest is left out."""
    monkeypatch.chdir(tmp_path)
    onnx.save(quantized_model(rounding, bits), "net.onnx")
    answer = sigbit("check", "net.onnx", "--arch", "nano", "--json", "c.json")
    assert answer.code == 0, answer
    (layer,) = json.loads((tmp_path / "c.json").read_text())["layers"]
    assert layer["exact"] is exact
    assert (layer["codes_off"] == 0) is (layer["most_off"] == 0) is exact
    assert 0 <= layer["codes_off"] < layer["accumulators"] / 5
    shown = "exact" if exact else f"off by at most 1 at {layer['codes_off']:,} of"
    assert shown in answer.out
    answer = sigbit("check", "net.onnx", "--arch", "nano", "--exact")
    assert answer.code == (0 if exact else 1), answer
    assert exact or "leave --exact out" in answer.out


@pytest.mark.sim
def test_what_is_not_the_models_is_named_and_refused(sigbit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    proto = quantized_model("ROUND", 12)
    onnx.save(proto, "net.onnx")
    answer = sigbit("check", "net.onnx", "--arch", "nano", "--json", "c.json")
    assert answer.code == 0, answer
    (layer,) = json.loads((tmp_path / "c.json").read_text())["layers"]
    assert (layer["exact"], layer["codes_off"]) == (False, None)
    assert "4,096 levels" in layer["reason"]
    np.save("x.npy", np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype(np.float32))
    given = ("quantize", "net.onnx", "--calibrate", "x.npy", "--images", "2", "--test", "2")
    answer = sigbit(*given, "--exact", "-o", "n.sigbit", "--arch", "nano")
    assert answer.code == 2, answer
    assert "--exact: conv has not the codes of the model" in answer.err
    assert not (tmp_path / "n.sigbit").exists()


def test_exact_needs_an_accelerator_and_quantizers(sigbit):
    answer = sigbit("check", "zoo:digits", "--exact")
    assert answer.code == 2, answer
    assert "add --arch PRESET" in answer.err
    answer = sigbit("check", "zoo:digits", "--exact", "--arch", "nano")
    assert answer.code == 1, answer
    assert "has no quantizers" in " ".join(answer.out.split())


def test_a_file_called_like_a_network_of_the_zoo_is_not_that_network(sigbit, refused, tmp_path):
    """How its images are prepared is asked for."""
    from onnx import TensorProto, helper, save
    from PIL import Image

    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 1, 28, 28)) for n in "xy"]
    node = helper.make_node("Relu", ["x"], ["y"])
    path = tmp_path / "fashion.onnx"
    save(helper.make_model(helper.make_graph([node], "net", sides[:1], sides[1:])), path)
    answer = sigbit("check", path, "--json", tmp_path / "c.json")
    assert answer.code == 0, answer
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((4, 1, 28, 28), np.float32))
    file = tmp_path / "n.sigbit"
    options = ("--calibrate", tmp_path / "x.npy", "--arch", "nano", "-o", file)
    assert sigbit("quantize", path, *options).code == 0
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "x.png")
    assert "does not say how images become its inputs" in refused("run", file, tmp_path / "x.png")
    assert sigbit("run", file, tmp_path / "x.png", "--mean", "0").code == 0
