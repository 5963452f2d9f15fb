"""``sigbit quantize``: a float network becomes a Program, deterministic, with clear refusals."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sigbit.inputs.integer_models import load_model
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.b = nn.Conv2d(4, 4, 3)
        self.c = nn.Linear(4, 3)

    def forward(self, x):
        y = torch.relu(self.b(torch.relu(self.norm(self.a(x)))))
        return self.c(y.mean((2, 3))).softmax(1)

class Sine(nn.Module):
    def forward(self, x):
        return torch.lgamma(x)
"""
NET = ("quantizable.py:Net", "--input", "2x6x6", "--arch", "nano")


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """A network and inputs for it, in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quantizable.py").write_text(SOURCE)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 2, 6, 6)).astype(np.float32)
    np.save("x.npy", x)
    np.savez("labelled.npz", x=x, y=rng.integers(0, 3, 24))
    return tmp_path


def _quantize(sigbit, output, *arguments, net=NET, data="x.npy"):
    options = ("--calibrate", data, "--images", "16", "--json", "q.json", "-o", output)
    return sigbit("quantize", *net, *options, *arguments)


def test_program(sigbit, nets):
    answer = _quantize(sigbit, "net.sigbit")
    assert answer.code == 0, answer
    program = Program.load("net.sigbit")
    document = json.loads((nets / "q.json").read_text())
    assert document["program"]["digest"] == program.digest
    assert document["images"] == 8
    assert 0 <= document["agreement"] <= 1
    assert document["accuracy_float"] is None
    assert [s.function for s in program.host.steps] == ["Softmax"]
    assert [i.output for i in program.host.inputs] == [program.outputs[0].name]
    assert "on the host: Softmax of c" in answer.out
    rows = {r["layer"]: r for r in document["layers"]}
    assert [(r["weight_terms"], r["act_planes"]) for r in rows.values()][:3] == [
        (None, 3),
        (2, 1),
        (1, 1),
    ]
    assert all(r["snr_db"] > 5 for r in rows.values())


def test_the_same_twice_and_by_way_of_an_integer_model(sigbit, nets):
    assert _quantize(sigbit, "a.sigbit", "--equalize").code == 0
    assert _quantize(sigbit, "b.sigbit", "--equalize").code == 0
    assert (nets / "a.sigbit").read_bytes() == (nets / "b.sigbit").read_bytes()
    assert _quantize(sigbit, "c.sbm", "--equalize").code == 0
    assert sigbit("compile", "c.sbm", "--arch", "nano", "-o", "c.sigbit").code == 0
    assert Program.load("c.sigbit").digest == Program.load("a.sigbit").digest
    for option in ("--no-bias-correction", "--activation-aware"):
        assert _quantize(sigbit, "d.sigbit", "--equalize", option).code == 0
        assert Program.load("d.sigbit").digest != Program.load("a.sigbit").digest


def test_reconstruction(sigbit, refused, nets):
    answer = _quantize(sigbit, "a.sigbit", "--reconstruct", "--steps", "3")
    assert answer.code == 0, answer
    assert "Reconstruction, on held-out calibration samples" in answer.out
    first = json.loads((nets / "q.json").read_text())
    steps = {s["step"]: s for s in first["reconstruction"]}
    assert list(steps) == ["rounded", "equalized", "compensated", "learned"]
    assert all(0 <= s["agreement"] <= 1 and s["error"] > 0 for s in steps.values())
    assert first["reconstruct"]["steps"] == 3
    assert _quantize(sigbit, "b.sigbit", "--reconstruct", "--steps", "3", "--chunk", "1").code == 0
    assert (nets / "a.sigbit").read_bytes() == (nets / "b.sigbit").read_bytes()
    for option in ("--no-bias-correction", "--activation-aware"):
        base = ("quantize", *NET, "--calibrate", "x.npy", "-o", "c.sigbit", "--reconstruct")
        assert "leave out" in refused(*base, option)


def test_finetuning(sigbit, refused, nets):
    answer = _quantize(sigbit, "a.sigbit", "--finetune", "2")
    assert answer.code == 0, answer
    assert "Fine-tuning, on held-out calibration samples" in answer.out
    document = json.loads((nets / "q.json").read_text())
    assert [s["step"] for s in document["reconstruction"]] == ["rounded", "fine-tuned"]
    assert document["finetune"]["epochs"] == 2
    assert _quantize(sigbit, "b.sigbit", "--finetune", "2", "--chunk", "5").code == 0
    assert (nets / "a.sigbit").read_bytes() == (nets / "b.sigbit").read_bytes()
    both = ("--finetune", "1", "--use-labels", "--reconstruct", "--steps", "2")
    assert _quantize(sigbit, "c.sigbit", *both, data="labelled.npz").code == 0
    document = json.loads((nets / "q.json").read_text())
    assert [s["step"] for s in document["reconstruction"]][-2:] == ["learned", "fine-tuned"]
    base = ("quantize", *NET, "--calibrate", "x.npy", "-o", "c.sigbit")
    assert "one label for each sample" in refused(*base, "--finetune", "1", "--use-labels")
    assert "belongs to --finetune" in refused(*base, "--use-labels")
    assert "choose one" in refused(*base, "--finetune", "1", "--exact")


def test_integer_model_is_what_runs(sigbit, nets):
    assert _quantize(sigbit, "net.sbm").code == 0
    assert _quantize(sigbit, "net.sigbit").code == 0
    graph, program = load_model("net.sbm"), Program.load("net.sigbit")
    stored = program.inputs[0].quantize(np.load("x.npy")[:2])
    want = graph.evaluate({program.inputs[0].name: torch.from_numpy(stored)})
    got = Interp(program.config).run(program, stored, layers=True).layers
    assert got
    assert all((want[name].numpy() == value).all() for name, value in got.items())
    assert [s.function for s in graph.host.steps] == ["Softmax"]


def test_bits(sigbit, nets):
    assert _quantize(sigbit, "net.sbm", "--weights", "esb8", "--acts", "esb8").code == 0
    eight = json.loads((nets / "q.json").read_text())
    assert {r["weight_terms"] for r in eight["layers"]} == {None, 2}
    assert {r["act_planes"] for r in eight["layers"]} == {3}
    assert _quantize(sigbit, "net.sbm", "--first-last", "4", "--bits", "relu_2=8/7").code == 0
    mixed = {r["layer"]: r for r in json.loads((nets / "q.json").read_text())["layers"]}
    assert mixed["relu"]["weight_terms"] == mixed["c"]["weight_terms"] == 1
    assert (mixed["relu_2"]["weight_terms"], mixed["relu_2"]["act_planes"]) == (2, 2)
    assert eight["layers"][1]["snr_db"] > mixed["relu"]["snr_db"]


@pytest.mark.sim
@pytest.mark.parametrize("what", ["bytes", "cycles"])
def test_bits_within_a_budget(sigbit, refused, nets, what):
    error = refused(
        "quantize", *NET, "--calibrate", "x.npy", "-o", "net.sigbit", "--budget", f"{what}=1"
    )
    least = int(float(error.split(" is below ")[1].split(",")[0]))
    found = []
    for limit in (least, 10**9):
        assert _quantize(sigbit, "net.sigbit", "--budget", f"{what}={limit}").code == 0
        document = json.loads((nets / "q.json").read_text())
        assert document["budget"]["cost"] <= limit
        if what == "bytes":
            assert document["budget"]["cost"] == document["program"]["image_bytes"]
        found.append(document["budget"])
        curve = document["budget"]["curve"]
        assert [p["cost"] for p in curve] == sorted(p["cost"] for p in curve)
        (chosen,) = (p for p in curve if p["chosen"])
        assert chosen["bits"] == document["budget"]["bits"]
        kinds = {s["kind"] for s in document["budget"]["sensitivities"]}
        assert kinds == {"weights", "activations"}
    assert found[0]["error"] >= found[1]["error"]


@pytest.mark.sim
def test_bits_within_a_loss_of_accuracy(sigbit, nets):
    answer = _quantize(sigbit, "net.sigbit", "--budget", "accuracy=50", "--report", "q.html")
    assert answer.code == 0, answer
    budget = json.loads((nets / "q.json").read_text())["budget"]
    assert budget["points"] <= 50
    assert budget["cost"] == min(p["cost"] for p in budget["curve"] if p["points"] <= 50)
    assert (budget["unit"], budget["samples"]) == ("cycles", 8)
    assert "Cycles and accuracy, on 8 held-out samples" in answer.out
    assert "of 50 points of accuracy, estimated" in answer.out
    page = (nets / "q.html").read_text()
    assert "Accuracy over cycles" in page
    assert "Sensitivity to bits" in page


@pytest.mark.synth
@pytest.mark.long
def test_the_number_system_within_luts(sigbit, refused, nets):
    """The finest one if any will do; a budget that only the smallest keeps takes that one; the
    accelerator goes with the Program."""
    narrow = PRESETS["nano"]
    tiny = ("--calibrate", "x.npy", "-o", "net.sigbit", "--budget", "luts=9")
    error = refused("quantize", *NET, *tiny)
    least = int(error.split(" is below ")[1].split(", those")[0].replace(",", ""))
    assert not (nets / "net.sigbit").exists()
    answer = _quantize(sigbit, "net.sigbit", "--budget", "luts=1000000", "--budget", "cycles=10000")
    assert answer.code == 0, answer
    document = json.loads((nets / "q.json").read_text())
    systems = document["number_systems"]
    assert len({(s["weight_format"], s["act_format"]) for s in systems}) == len(systems) > 10
    errors = [s["error"] for s in systems if s["error"] is not None]
    assert errors == sorted(errors)
    assert [s["chosen"] for s in systems] == [True, *[False] * (len(systems) - 1)]
    assert systems[0]["luts"] > least
    assert document["budget"]["cost"] <= 10000
    config = Program.load("net.sigbit").config
    assert str(config.weight_format) == systems[0]["weight_format"] != str(narrow.weight_format)
    assert config.macs == narrow.macs
    assert document["program"]["arch"] == systems[0]["accelerator"] in answer.out
    for source in ("net.sigbit", "q.json"):
        assert sigbit("arch", "show", source, "--json", "a.json").code == 0
        assert json.loads((nets / "a.json").read_text())["config"] == config.to_json()
    assert sigbit("run", "net.sigbit", "x.npy").code == 0


def test_an_integer_model_goes_with_its_accelerator(sigbit, refused, nets, monkeypatch):
    """Whatever it costs: nothing is mapped here."""
    small = SimpleNamespace(total=SimpleNamespace(lut=5000))
    monkeypatch.setattr("sigbit.flows.budget.synthesize", lambda *_, **__: small)
    answer = _quantize(sigbit, "net.sbm", "--budget", "luts=1000000")
    assert "`sigbit compile net.sbm --arch q.json -o NET.sigbit`" in answer.out
    assert sigbit("compile", "net.sbm", "--arch", "q.json", "-o", "net.sigbit").code == 0
    chosen = json.loads((nets / "q.json").read_text())["config"]
    assert Program.load("net.sigbit").config.to_json() == ArchConfig.from_json(chosen).to_json()
    alone = ("--calibrate", "x.npy", "-o", "b.sbm", "--budget", "luts=1000000")
    assert "add --json FILE" in refused("quantize", *NET, *alone)
    assert "--arch nano -o" in _quantize(sigbit, "net.sbm").out


def test_labels_and_the_zoo(sigbit, nets):
    assert _quantize(sigbit, "net.sbm", data="labelled.npz").code == 0
    assert 0 <= json.loads((nets / "q.json").read_text())["accuracy_quantized"] <= 1
    answer = _quantize(sigbit, "net.sigbit", "--test", "12", net=("zoo:digits",), data="digits")
    assert answer.code == 0, answer
    document = json.loads((nets / "q.json").read_text())
    assert document["test"].startswith("12 of Digits")
    assert document["test"].endswith("test")
    assert document["calibration"].endswith("train")
    assert document["accuracy_float"] is not None


def test_a_folder_of_images(sigbit, refused, nets):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, count in (("cat", 6), ("dog", 6), ("owl", 6)):
        (nets / "photos" / "val" / name).mkdir(parents=True)
        for i in range(count):
            size = (8 + i, 9, 3)
            image = Image.fromarray(rng.integers(0, 256, size).astype(np.uint8))
            image.save(nets / "photos" / "val" / name / f"{i}.png")
    text = SOURCE.replace("nn.Conv2d(2, 4", "nn.Conv2d(3, 4")
    (nets / "quantizable_photos.py").write_text(text)
    net = ("quantizable_photos.py:Net", "--input", "3x6x6", "--arch", "nano")
    options = ("--data", "photos", "--mean", "0.5", "--std", "0.5,0.5,0.25")
    answer = _quantize(sigbit, "net.sigbit", *options, net=net, data="image-folder")
    assert answer.code == 0, answer
    document = json.loads((nets / "q.json").read_text())
    assert document["calibration"] == "9 of photos, val"
    assert document["images"] == 9
    assert document["accuracy_float"] is not None
    bare = ("--data", "photos", "--calibrate", "image-folder", "-o", "net.sigbit")
    assert "give --mean and --std" in refused("quantize", *net, *bare)


def test_preprocessing_is_kept(sigbit, refused, nets):
    """In Program and integer model, and given or asked for, never guessed: an image is run as the
    array that the preprocessing makes of it."""
    from PIL import Image

    from sigbit.ir.model_file import load_model
    from sigbit_hw.arch.preprocessing import ImagePreprocessing
    from sigbit_hw.arch.program import Program

    text = SOURCE.replace("nn.Conv2d(2, 4", "nn.Conv2d(3, 4")
    (nets / "kept.py").write_text(text)
    net = ("kept.py:Net", "--input", "3x6x6", "--arch", "nano")
    rng = np.random.default_rng(3)
    np.save("three.npy", rng.normal(size=(24, 3, 6, 6)).astype(np.float32))
    pixels = rng.integers(0, 256, (9, 20, 3), np.uint8)
    Image.fromarray(pixels).save("a.png")
    assert _quantize(sigbit, "bare.sigbit", net=net, data="three.npy").code == 0
    assert "does not say how images become its inputs" in refused("run", "bare.sigbit", "a.png")
    Path("names.txt").write_text("\n".join(f"thing {i}" for i in range(3)))
    options = ("--mean", "0.5,0.4,0.3", "--std", "0.25", "--resize", "8", "--colours", "bgr")
    options += ("--labels", "names.txt")
    for file in ("kept.sigbit", "kept.sbm"):
        assert _quantize(sigbit, file, *options, net=net, data="three.npy").code == 0
    assert sigbit("compile", "kept.sbm", "--arch", "nano", "-o", "again.sigbit").code == 0
    how = ImagePreprocessing((6, 6), (0.5, 0.4, 0.3), (0.25,) * 3, 1 / 255, 8, "BGR")
    for file in ("kept.sigbit", "again.sigbit"):
        assert Program.load(file).preprocessing == how
        assert Program.load(file).classes == ("thing 0", "thing 1", "thing 2")
    assert load_model("kept.sbm").preprocessing == how
    np.save("a.npy", how([pixels]))
    outputs = []
    for given in ("a.png", "a.npy"):
        answer = sigbit("run", "kept.sigbit", given, "-o", f"{given}.out.npy")
        assert answer.code == 0, answer
        assert "thing " in answer.out
        outputs.append(np.load(f"{given}.out.npy"))
    assert (outputs[0] == outputs[1]).all()
    assert "6×6 BGR" in sigbit("inspect", "kept.sigbit").out
    Path("names.txt").write_text("one\ntwo")
    error = refused("run", "kept.sigbit", "a.png", "--labels", "names.txt")
    assert "names.txt names 2 classes, Net has 3" in error


def test_unsupported(sigbit, nets):
    answer = _quantize(sigbit, "net.sigbit", net=("quantizable.py:Sine", "--input", "2x6x6"))
    assert answer.code == 2
    assert "1 unsupported node; nothing was written" in answer.err
    assert "aten.lgamma" in answer.err
    assert not (nets / "net.sigbit").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "esb5"], "--weights: nano has esb4 or esb8, not 'esb5'"),
        (["--acts", "int8"], "--acts: nano has esb4 or esb7 or esb8, not 'int8'"),
        (["--first-last", "5"], "--first-last must be one of 4 or 8 on nano, not 5"),
        (["--bits", "a"], "--bits must be LAYER=WEIGHTS/ACTS"),
        (["--bits", "a=3/4"], "--bits a=3/4: nano has weights of 4 or 8"),
        (["--budget", "luts=9", "--weights", "esb8"], "leave out --weights"),
        (
            ["--budget", "cycles=few"],
            "--budget must be luts=N, cycles=N, bytes=N or accuracy=POINTS",
        ),
        (["--budget", "cycles=9", "--budget", "bytes=9"], "one of cycles, of bytes or of accuracy"),
        (["--budget", "cycles=9", "--bits", "a=8/8"], "choose one"),
        (["--bits", "absent=8/8"], "bits names 'absent'"),
        (["--calibrate", "absent.npy"], "No such file"),
        (["--calibrate", "nonsense"], "there is no data set 'nonsense'"),
        (["--calibrate", "empty.npy"], "with N >= 1"),
        (["--calibrate", "nan.npy"], "holds NaN or infinity (72 of 1728 values)"),
        (["--calibrate", "small.npy"], "must have shape [N, 2, 6, 6]"),
        (["--calibrate", "words.npy"], "must hold numbers"),
        (["--calibrate", "zero.npy"], "0 on the whole calibration batch"),
        (["--calibrate", "uneven.npz"], "different numbers of samples"),
        (
            ["--calibrate", "digits"],
            "must hold classes from 0 to 2, which the network has, not 0 to",
        ),
        (["--mean", "1,2,3"], "--mean must be 2 numbers, one for each channel"),
        (["-o", "net.txt"], "-o must end in .sigbit"),
        (["-o", "absent/net.sigbit"], "there is no folder absent"),
        (["--arch", "nonsense"], "no accelerator 'nonsense'"),
        (["--checkpoint", "absent.pt"], "absent.pt"),
    ],
)
def test_mistakes(refused, nets, arguments, message):
    x = np.load("x.npy")
    wrong = x.copy()
    wrong[3] = np.nan
    for name, array in {
        "empty": x[:0],
        "nan": wrong,
        "small": x[:, :, :4],
        "words": np.full(x.shape, "a"),
        "zero": 0 * x,
    }.items():
        np.save(f"{name}.npy", array)
    np.savez("uneven.npz", x=x, y=np.zeros(3, np.int64))
    error = refused("quantize", *NET, "--calibrate", "x.npy", "-o", "net.sigbit", *arguments)
    assert message in error
    assert not list(nets.glob("net.*"))
