"""``sigbit compile``: every kind of model it accepts, and clear refusals of the others."""

import json

import pytest
import torch
from torch import nn

from sigbit.inputs.integer_models import load_model
from sigbit.ir.model_file import save_model
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program
from sigbit_tools.errors import SigbitError

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

def exported():
    return torch.export.export(plain, example)

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


def test_a_file_gives_the_same_program(sigbit, models, tmp_path):
    integer = load_model("my_nets.py:graph")
    for name in ("net.sbm", "other name"):
        save_model(integer, tmp_path / name)
        assert load_model(name) == integer
        assert sigbit("compile", name, "--arch=nano", "-o", "file.sigbit").code == 0
    assert sigbit("compile", "my_nets.py:graph", "--arch=nano", "-o", "net.sigbit").code == 0
    assert Program.load("file.sigbit").digest == Program.load("net.sigbit").digest


def test_a_program_is_compiled_already(sigbit, refused, models):
    assert sigbit("compile", "my_nets.py:graph", "--arch=nano", "-o", "net.sigbit").code == 0
    error = refused("compile", "net.sigbit", "--arch=nano", "-o", "again.sigbit")
    assert error.startswith("net.sigbit is a Program, not an integer model: `sigbit run` runs it")


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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "give NET.sbm, or module:attribute"),
        ("absent.sbm", "absent.sbm: no such file"),
        ("any.pt2", "not the file of an integer model, NET.sbm; if it is a float model"),
        ("any.onnx", "not the file of an integer model, NET.sbm; if it is a float model"),
        ("absent.py:net", "absent.py: no such file"),
        ("absent_module:net", "no module 'absent_module'"),
        ("my_nets.py:absent", "there is no 'absent'; it has torch"),
        ("my_nets.py:number", "must be an IntegerModel, PreparedModel or IntegerGraph"),
        ("my_nets.py:broken", "failed: RuntimeError: no weights here"),
        ("wrong.py:net", "failed: SyntaxError"),
        ("wrong.sbm", "wrong.sbm: not an integer model, or truncated"),
        ("wrong.py", "no model 'wrong.py': give NET.sbm, or module:attribute"),
        ("my_nets.py:exported", "it is a float model: quantize it first"),
    ],
)
def test_wrong_names(models, tmp_path, name, message):
    (tmp_path / "wrong.py").write_text("net = (")
    (tmp_path / "wrong.sbm").write_bytes(b"PK\x03\x04 no model")
    with pytest.raises(SigbitError) as caught:
        load_model(name)
    assert message in str(caught.value)
