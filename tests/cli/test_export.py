"""``sigbit export``: files that others can execute and check."""

import json

import numpy as np
import onnx
import pytest
import torch

from sigbit.compiler.random_graph import random_graph
from sigbit.flows import bulk
from sigbit.ir.model_file import save_model
from sigbit.quant import IntegerModel
from sigbit_hw.arch.config import PRESETS

MODEL = """
import numpy as np
from sigbit.compiler.random_graph import random_graph
from sigbit.flows import bulk
from sigbit_hw.arch.config import PRESETS
graph = random_graph(np.random.default_rng(3), PRESETS["nano"], layers=3)
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "small.py").write_text(MODEL)
    return f"{tmp_path}/small.py:graph"


def test_writes_onnx_and_bundle(sigbit, model, tmp_path):
    qonnx, bundle, facts = tmp_path / "n.onnx", tmp_path / "b", tmp_path / "facts.json"
    done = sigbit(
        "export", model, "--qonnx", qonnx, "--bundle", bundle, "--layers", "--json", facts
    )
    assert done.code == 0, done.err
    graph = random_graph(np.random.default_rng(3), PRESETS["nano"], layers=3)
    outputs = {o.name.removesuffix(".stored") for o in onnx.load(qonnx).graph.output}
    assert outputs >= {n.name for n in graph.nodes} - {n.name for n in graph.inputs}
    told = json.loads((bundle / "bundle.json").read_text())
    assert [n["name"] for n in told["nodes"]] == [n.name for n in graph.nodes]
    assert json.loads(facts.read_text())["files"][str(qonnx)] == qonnx.stat().st_size


def test_writes_a_program_of_torch_export(sigbit, model, tmp_path):
    graph = random_graph(np.random.default_rng(3), PRESETS["nano"], layers=3)
    save_model(graph, tmp_path / "n.sbm")
    file = tmp_path / "n.pt2"
    done = sigbit("export", tmp_path / "n.sbm", "--pt2", file)
    assert done.code == 0, done.err
    assert f"wrote {file}" in done.out
    x = torch.randn(3, *graph.inputs[0].type.shape) * 9
    got, want = torch.export.load(file).module()(x), IntegerModel(graph)(x)
    assert all(map(torch.equal, *(y if isinstance(y, tuple) else (y,) for y in (got, want))))


@pytest.mark.parametrize("options", [(), ("--stored",), ("--batch", "3"), ("--layers",)])
def test_onnx_runtime_agrees(sigbit, model, tmp_path, options):
    """It is asked on the spot, and said."""
    pytest.importorskip("onnxruntime")
    done = sigbit("export", model, "--qonnx", tmp_path / "n.onnx", *options)
    assert done.code == 0, done.err
    assert "values of outputs compared, 0 differ" in done.out
    exported = onnx.load(tmp_path / "n.onnx")
    what = "stored integers" if options == ("--stored",) else "real values"
    assert exported.graph.input[0].doc_string.startswith(what)
    batch = exported.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    assert batch == (3 if "--batch" in options else 0)


def test_what_onnx_runtime_gets_wrong_is_not_written(sigbit, model, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from sigbit.flows import export as flow

    class Wrong:
        def __init__(self, model: bytes) -> None:
            self.right = bulk.session(model)
            self.get_inputs = self.right.get_inputs

        def run(self, names: None, feeds: dict) -> list:
            first, *rest = self.right.run(names, feeds)
            first.flat[-1] += 1
            return [first, *rest]

    monkeypatch.setattr(flow, "session", Wrong)
    done = sigbit("export", model, "--qonnx", tmp_path / "n.onnx")
    assert done.code == 1
    assert "1 of " in done.err
    assert "nothing was written" in done.err
    assert not (tmp_path / "n.onnx").exists()


def test_without_onnx_runtime(sigbit, model, tmp_path, monkeypatch):
    from sigbit.flows import export as flow

    monkeypatch.setattr(flow, "has_runtime", lambda: False)
    done = sigbit("export", model, "--qonnx", tmp_path / "n.onnx", "--json", tmp_path / "f.json")
    assert done.code == 0, done.err
    assert "not compared with ONNX Runtime" in done.out
    assert json.loads((tmp_path / "f.json").read_text())["checked"] is None


def test_mistakes_are_told(sigbit, model, tmp_path):
    nothing = sigbit("export", model)
    assert nothing.code == 2
    assert "--qonnx FILE.onnx" in nothing.err
    layers = sigbit("export", model, "--pt2", tmp_path / "n.pt2", "--layers")
    assert layers.code == 2
    assert "--layers says what the ONNX model is" in layers.err
    folder = sigbit("export", model, "--bundle", tmp_path)
    assert folder.code == 2
    assert "holds other files" in folder.err
    missing = sigbit("export", model, "--bundle", tmp_path / "no" / "b")
    assert missing.code == 2
    assert "make it first" in missing.err
