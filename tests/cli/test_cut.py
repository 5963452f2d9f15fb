"""``--cut``: a detector whose boxes the host decodes, from the model's file to results."""

import json
import textwrap
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from frontend.test_cut import detector
from sigbit.inputs.integer_models import load_model
from sigbit.runtime import results
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The detector, and inputs for it."""
    monkeypatch.chdir(tmp_path)
    onnx.save(detector(), "det.onnx")
    x = np.random.default_rng(1).normal(size=(6, 3, 6, 6)).astype(np.float32)
    np.save("x.npy", x)
    return x


@pytest.mark.parametrize("cut", [(), ("--cut", "f")], ids=["found", "given"])
def test_check_lists_what_the_host_does(sigbit, files, cut) -> None:
    answer = sigbit("check", "det.onnx", "--json", "c.json", *cut)
    assert answer.code == 0, answer
    document = json.loads(Path("c.json").read_text())
    assert document["supported"] is True
    assert document["refusals"] == document["layers"] == []
    steps = {h["results"][0]: h for h in document["host"]}
    assert steps["kept"]["function"] == "NonMaxSuppression"
    assert steps["kept"]["operands"][:2] == ["boxes", "scores"]
    assert steps["boxes"]["location"] == "join"
    assert "NonMaxSuppression, TopK, which the host does" in " ".join(answer.out.split())


def test_classes_belong_to_the_output_that_has_as_many(sigbit, refused, files) -> None:
    """Not to the first one, which has the boxes."""
    nets = """
    from torch import nn
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(108, 8), nn.ReLU())
            self.boxes, self.scores = nn.Linear(8, 4), nn.Linear(8, 2)
        def forward(self, x):
            features = self.body(x)
            return {"boxes": self.boxes(features), "scores": self.scores(features)}
    """
    Path("two_heads.py").write_text(textwrap.dedent(nets))
    net = ("two_heads.py:Two", "--input", "3x6x6", "--arch", "nano", "--calibrate", "x.npy",
           "--test", "1", "-o", "two.sigbit")  # fmt: skip
    Path("two.txt").write_text("cat\ndog")
    Path("three.txt").write_text("cat\ndog\nowl")
    assert "the network has 4 (" in refused("quantize", *net, "--labels", "three.txt")
    answer = sigbit("quantize", *net, "--labels", "two.txt")
    assert answer.code == 0, answer
    assert Program.load("two.sigbit").classes == ("cat", "dog")
    error = refused("run", "two.sigbit", "x.npy", "--labels", "three.txt")
    assert "three.txt names 3 classes, Two has 4 (" in error
    boxes, scores = sigbit("run", "two.sigbit", "x.npy").out.split("Output ")[1:]
    assert "cat" not in boxes
    assert "cat" in scores


def test_a_wrong_cut(sigbit, refused, files) -> None:
    assert "nearest are odds" in refused("check", "det.onnx", "--cut", "odd")
    assert "add --cut raw" in refused("check", "det.onnx", "--cut", "odds", "--cut", "t")
    answer = sigbit("check", "det.onnx", "--cut", "kept", "--cut", "odds", "--cut", "boxes")
    assert answer.code == 1


def test_what_is_behind_is_done_with_the_outputs(sigbit, refused, files) -> None:
    """By the interpreter and by ``run``, as ONNX Runtime does it with the same outputs."""
    Path("names.txt").write_text("cat\ndog")  # the accelerator's output has seven channels
    quantize = ("quantize", "det.onnx", "--arch", "nano", "--calibrate", "x.npy", "--test", "1",
                "--cut", "f", "--images", "4", "--labels", "names.txt")  # fmt: skip
    for output in ("net.sigbit", "net.sbm"):
        answer = sigbit(*quantize, "-o", output)
        assert answer.code == 0, answer
    assert sigbit("compile", "net.sbm", "--arch", "nano", "-o", "again.sigbit").code == 0
    program = Program.load("net.sigbit")
    assert Program.load("again.sigbit").host == program.host == load_model("net.sbm").host
    assert program.classes == ("cat", "dog")
    assert "4 outputs" in refused("run", "net.sigbit", "x.npy", "-o", "y.npy")
    answer = sigbit("run", "net.sigbit", "x.npy", "-o", "y.npz", "--json", "y.json",
                    "--labels", "names.txt")  # fmt: skip
    assert answer.code == 0, answer
    document = json.loads(Path("y.json").read_text())
    assert document["host"][0]["function"] == "Reshape"
    assert document["outputs"]["kept"][0][0][0] == 0
    got = dict(np.load("y.npz"))
    assert sorted(got) == ["best", "boxes", "kept", "which"]
    (port,) = program.inputs
    stored = Interp(program.config).run(program, port.quantize(files)).outputs
    (real,) = (p.dequantize(stored[p.name]) for p in program.outputs)
    tail = onnx.load("det.onnx")
    del tail.graph.node[0], tail.graph.input[:]
    kind = onnx.TensorProto.FLOAT
    tail.graph.input.append(onnx.helper.make_tensor_value_info("f", kind, [1, 7, 6, 6]))
    session = onnxruntime.InferenceSession(tail.SerializeToString())
    names = [o.name for o in tail.graph.output]
    for name, value in results(program, stored).items():
        assert np.array_equal(value, got[name], equal_nan=True)
    for i, image in enumerate(real):
        found = session.run(None, {"f": image[None].astype(np.float32)})
        want = dict(zip(names, found, strict=True))
        kept = got["kept"][i]
        kept = kept[~np.isnan(kept).any(1)]
        assert (kept == want["kept"]).all()
        for name in ("best", "boxes"):
            np.testing.assert_allclose(got[name][i], want[name][0], rtol=1e-5, atol=1e-5)
        tied = np.diff(got["best"][i], axis=1)[:, 0] == 0
        assert (got["which"][i][~tied] == want["which"][0][~tied]).all()
