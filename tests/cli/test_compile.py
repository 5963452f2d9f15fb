"""``sigbit compile``: every kind of model it accepts, and clear refusals of the others."""

import json

import pytest
import torch
from torch import nn

from sigbit.errors import UserError
from sigbit.inputs.integer_models import load_model
from sigbit.quant import QuantSpec, convert, prepare
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program

SOURCE = """
import torch
from torch import nn
from sigbit.quant import QuantSpec, convert, prepare

torch.manual_seed(0)
example = (torch.rand(16, 1, 6, 6),)
plain = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
prepared = prepare(plain.eval(), QuantSpec(), example)
integer = convert(prepared)
graph = integer.graph
number = 7

def make():
    return integer

def broken():
    raise RuntimeError("no weights here")

class Holder:
    inner = integer
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A Python file with models, in the working folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my_nets.py"
    path.write_text(SOURCE)
    return path


def _small() -> tuple[nn.Module, tuple[torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    return model, (torch.rand(16, 1, 6, 6),)


def _export(model: nn.Module, inputs: tuple[torch.Tensor, ...], path) -> None:
    torch.export.save(torch.export.export(model, inputs), path)


def test_every_kind_of_object_gives_the_same_program(sigbit, models, tmp_path):
    digests = set()
    for name in ("integer", "prepared", "graph", "make", "Holder.inner"):
        answer = sigbit(
            "compile", f"my_nets.py:{name}", "--arch=nano", "-o", "net.sigbit", "--json=c.json"
        )
        assert answer.code == 0, answer
        program = Program.load(tmp_path / "net.sigbit")
        document = json.loads((tmp_path / "c.json").read_text())
        assert document["digest"] == program.digest
        assert document["arch_digest"] == PRESETS["nano"].digest
        digests.add(program.digest)
    assert len(digests) == 1
    assert sigbit("compile", f"{models}:make", "-o", "net.sigbit").code == 0
    assert Program.load(tmp_path / "net.sigbit").config == PRESETS["micro"]


def test_module_name(models):
    assert load_model("my_nets:graph").outputs


def test_exported_integer_model(tmp_path):
    model, inputs = _small()
    integer = convert(prepare(model, QuantSpec(), inputs))
    _export(integer, inputs, tmp_path / "net.pt2")
    graph = load_model(str(tmp_path / "net.pt2"))
    got = graph.evaluate({graph.inputs[0].name: torch.randint(0, 255, (4, 1, 6, 6))})
    assert [n.name for n in graph.nodes] == [n.name for n in integer.graph.nodes]
    want = integer.graph.evaluate({graph.inputs[0].name: got[graph.inputs[0].name]})
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_float_models_are_told_how_to_quantize(refused, models, tmp_path):
    model, inputs = _small()
    _export(model, inputs, tmp_path / "float.pt2")
    for name in ("float.pt2", "my_nets.py:plain"):
        error = refused("compile", name, "-o", "net.sigbit")
        assert "it is a float model: quantize it first" in error
        assert "sigbit quantize MODEL --calibrate DATA --arch PRESET -o NET.sigbit" in error
        assert "prepare(model, QuantSpec(), example_inputs)" in error
    assert "quantize it first" in refused("compile", "zoo:digits", "-o", "net.sigbit")
    assert "quantize it first" in refused("compile", "net.onnx", "-o", "net.sigbit")
    assert not (tmp_path / "net.sigbit").exists()


def test_unsupported_nodes_are_all_named(refused, tmp_path):
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cumsum(x, 1) + torch.erf(x)

    _export(Odd(), (torch.rand(1, 2, 4, 4),), tmp_path / "odd.pt2")
    error = refused("compile", tmp_path / "odd.pt2", "-o", tmp_path / "net.sigbit")
    assert error.startswith("2 unsupported nodes; nothing was written")
    assert "cumsum" in error
    assert "erf" in error
    assert "test_compile.py" in error
    assert error.count("instead: ") == 2
    assert not (tmp_path / "net.sigbit").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "give MODEL.pt2, or module:attribute"),
        ("absent.pt2", "absent.pt2: no such file"),
        ("absent.py:net", "absent.py: no such file"),
        ("absent_module:net", "no module 'absent_module'"),
        ("my_nets.py:absent", "there is no 'absent'; it has torch"),
        ("my_nets.py:number", "must be an IntegerModel, PreparedModel or IntegerGraph"),
        ("my_nets.py:broken", "failed: RuntimeError: no weights here"),
        ("wrong.py:net", "failed: SyntaxError"),
        ("wrong.pt2", "not a model that torch.export.save wrote"),
    ],
)
def test_wrong_names(models, tmp_path, name, message):
    (tmp_path / "wrong.py").write_text("net = (")
    (tmp_path / "wrong.pt2").write_bytes(b"PK\x03\x04 no model")
    with pytest.raises(UserError) as caught:
        load_model(name)
    assert message in str(caught.value)
