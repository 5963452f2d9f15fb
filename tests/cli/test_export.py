"""``sigbit export``: files that others can execute and check."""

import json

import numpy as np
import onnx
import pytest

from sigbit.compiler.random_graph import random_graph
from sigbit_hw.arch.config import PRESETS

MODEL = """
import numpy as np
from sigbit.compiler.random_graph import random_graph
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
    outputs = {o.name for o in onnx.load(qonnx).graph.output}
    assert outputs >= {n.name for n in graph.nodes} - {n.name for n in graph.inputs}
    told = json.loads((bundle / "bundle.json").read_text())
    assert [n["name"] for n in told["nodes"]] == [n.name for n in graph.nodes]
    assert json.loads(facts.read_text())["files"][str(qonnx)] == qonnx.stat().st_size


def test_mistakes_are_told(sigbit, model, tmp_path):
    nothing = sigbit("export", model)
    assert nothing.code == 2
    assert "--qonnx FILE.onnx" in nothing.err
    folder = sigbit("export", model, "--bundle", tmp_path)
    assert folder.code == 2
    assert "holds other files" in folder.err
    missing = sigbit("export", model, "--bundle", tmp_path / "no" / "b")
    assert missing.code == 2
    assert "make it first" in missing.err
