"""``sigbit run``: results, checks, and every way to give it the wrong input."""

import json
from pathlib import Path

import numpy as np
import pytest

from sigbit.cli.console.files import write_arrays
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program


@pytest.fixture
def net(rng, tmp_path):
    """A random Program for ``nano`` with two images in stored integers, and their files."""
    program = random_program(PRESETS["nano"], rng, execs=3)
    stored = random_inputs(program, rng, 2)
    (port,) = program.inputs
    files = tmp_path / "net.sigbit", tmp_path / "x.npy"
    program.save(files[0])
    np.save(files[1], port.dequantize(stored[port.name]))
    return program, stored, *files


def test_interp(sigbit, net, tmp_path):
    program, stored, file, x = net
    answer = sigbit("run", file, x, "--layers", tmp_path / "l", "--json", tmp_path / "r.json")
    assert answer.code == 0, answer
    want = Interp(program.config).run(program, stored, layers=True)
    assert want.layers
    for name, values in want.layers.items():
        got = np.load(tmp_path / "l" / f"{name}.npy")
        assert got.dtype.kind == "i"
        assert (got == values).all()
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["images"] == 2
    assert document["program_digest"] == program.digest
    for port in program.outputs:
        wanted = port.dequantize(want.outputs[port.name])
        assert (np.array(document["outputs"][port.name]) == wanted).all()


def test_any_name_is_a_name_in_an_archive(tmp_path):
    """Those of numpy.savez's own arguments, too."""
    arrays = {"file": np.arange(3), "allow_pickle": np.zeros((2, 2)), "y.1": np.ones(1)}
    write_arrays(tmp_path / "y.npz", arrays)
    with np.load(tmp_path / "y.npz", allow_pickle=False) as archive:
        assert set(archive) == set(arrays)
        for name, array in arrays.items():
            assert archive[name].dtype == array.dtype
            assert (archive[name] == array).all()


def test_output_file(sigbit, refused, program_file, net, tmp_path):
    x = tmp_path / "one.npy"
    np.save(x, np.zeros((1, 4, 4, 4), np.float32))
    answer = sigbit("run", program_file, x, "-o", tmp_path / "y.npy")
    assert answer.code == 0
    assert np.load(tmp_path / "y.npy").shape == (1, 4, 4, 4)
    assert "2 outputs (y, z), and an .npy file holds one: let -o end in .npz" in refused(
        "run", net[2], net[3], "-o", tmp_path / "z.npy"
    )
    assert not (tmp_path / "z.npy").exists()
    assert sigbit("run", net[2], net[3], "-o", tmp_path / "z.npz").code == 0
    wanted = Interp(net[0].config).run(net[0], net[1]).outputs
    with np.load(tmp_path / "z.npz") as archive:
        assert list(archive) == ["y", "z"]
        for port in net[0].outputs:
            assert (archive[port.name] == port.dequantize(wanted[port.name])).all()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 4)), "must have shape [N, 4, 4, 4]"),
        (np.zeros((1, 4, 4, 5)), "must have shape [N, 4, 4, 4]"),
        (np.zeros((0, 4, 4, 4)), "N >= 1"),
        (np.full((1, 4, 4, 4), np.nan), "must be finite, but 64 of 64"),
        (np.full((1, 4, 4, 4), -np.inf), "must be finite"),
        (np.zeros((1, 4, 4, 4), bool), "not bool"),
        (np.zeros((1, 4, 4, 4), complex), "not complex128"),
        (np.full((1, 4, 4, 4), "a"), "not <U1"),
    ],
)
def test_wrong_arrays(refused, program_file, tmp_path, array, message):
    np.save(tmp_path / "x.npy", array)
    error = refused("run", program_file, tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert message in error
    assert not (tmp_path / "y.npy").exists()


def test_an_array_means_one_thing(sigbit, refused, net, tmp_path):
    """Integers are real values, as floats are; stored ones are said to be, and come back."""
    program, stored, file, _ = net
    (port,) = program.inputs
    want = Interp(program.config).run(program, stored)
    np.save(tmp_path / "s.npy", stored[port.name])
    answer = sigbit("run", file, tmp_path / "s.npy", "--stored", "--json", tmp_path / "s.json")
    assert answer.code == 0, answer
    document = json.loads((tmp_path / "s.json").read_text())
    for name, values in want.outputs.items():
        assert document["outputs"][name] == values.tolist()
    whole = np.rint(port.dequantize(stored[port.name]))
    outputs = []
    for dtype in (np.int16, np.float64):
        np.save(tmp_path / "x.npy", whole.astype(dtype))
        answer = sigbit("run", file, tmp_path / "x.npy", "--json", tmp_path / "r.json")
        assert answer.code == 0, answer
        outputs.append(json.loads((tmp_path / "r.json").read_text())["outputs"])
    assert outputs[0] == outputs[1]
    np.save(tmp_path / "x.npy", stored[port.name] + 1000)
    assert "stored integers must be in [" in refused("run", file, tmp_path / "x.npy", "--stored")
    np.save(tmp_path / "x.npy", whole)
    assert "must hold stored integers" in refused("run", file, tmp_path / "x.npy", "--stored")


def test_inputs_that_mostly_saturate_are_said(sigbit, program_file, tmp_path):
    x = np.zeros((1, 4, 4, 4))
    x[0, :2] = 9  # zeros do not count, as backgrounds
    np.save(tmp_path / "x.npy", x)
    answer = sigbit("run", program_file, tmp_path / "x.npy")
    assert answer.code == 0
    assert "warning: 100% of the values of x lie outside [-3.5, 3.5]" in answer.err
    np.save(tmp_path / "x.npy", x / 9)
    assert "warning" not in sigbit("run", program_file, tmp_path / "x.npy").err


NETWORKS = """
import torch
from torch import nn

class Vector(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(7, 16), nn.Linear(16, 3)
    def forward(self, x):
        return self.second(torch.relu(self.first(x)))

class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.head = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 3)
    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, picture):
        y = self.conv(picture)
        return {"map": y, "flat": y.flatten(1), "odds": y.mean((2, 3)).softmax(1)}
"""


@pytest.mark.parametrize(
    ("name", "shape", "outputs"),
    [
        ("Vector", (7,), {"second": (3,)}),
        ("Sequence", (4, 4), {"head": (3,)}),
        ("Named", (3, 6, 6), {"map": (4, 4, 4), "flat": (64,), "odds": (4,)}),
    ],
)
def test_a_network_runs_with_what_it_was_calibrated_with(sigbit, tmp_path, name, shape, outputs):
    """The same array, outputs under the model's own names in its own shapes, near the float
    model's and equal to the integer model's."""
    import torch

    from sigbit.quant import IntegerModel

    (tmp_path / "nets.py").write_text(NETWORKS)
    spec = "x".join(map(str, shape))
    x = np.random.default_rng(1).normal(size=(6, *shape)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    options = ("--input", spec, "--calibrate", tmp_path / "x.npy", "--acts", "esb8")
    options += ("--weights", "esb8")
    for end in ("sigbit", "sbm"):
        file = tmp_path / f"net.{end}"
        assert sigbit("quantize", f"{tmp_path}/nets.py:{name}", *options, "-o", file).code == 0
    answer = sigbit("run", tmp_path / "net.sigbit", tmp_path / "x.npy", "--json", tmp_path / "r")
    assert answer.code == 0, answer
    got = json.loads((tmp_path / "r").read_text())["outputs"]
    assert {n: np.shape(v)[1:] for n, v in got.items()} == outputs
    space: dict = {}
    exec(NETWORKS, space)
    with torch.no_grad():
        real = space[name]()(torch.from_numpy(x))
        exact = IntegerModel.load(tmp_path / "net.sbm").double()(torch.from_numpy(x).double())
    real = real if isinstance(real, dict) else {next(iter(outputs)): real}
    exact = exact if isinstance(exact, tuple) else (exact,)
    for (key, want), golden in zip(real.items(), exact, strict=True):
        assert np.abs(np.array(got[key]) - want.numpy()).max() < 0.1
        if key != "odds":
            assert (np.array(got[key]) == golden.numpy()).all()


def test_wrong_files(refused, program_file, tmp_path):
    x = tmp_path / "x.npy"
    assert "No such file" in refused("run", program_file, x)
    x.write_text("1, 2, 3")
    assert "write one with numpy.save" in refused("run", program_file, x)
    np.save(x, np.zeros((4, 4, 4)))
    x.write_bytes(x.read_bytes()[:-1])
    assert "write one with numpy.save" in refused("run", program_file, x)
    np.save(x, np.array([{}]), allow_pickle=True)
    assert "write one with numpy.save" in refused("run", program_file, x)
    x.write_bytes(b"")
    assert "write one with numpy.save" in refused("run", program_file, x)
    np.savez(tmp_path / "x.npz", wrong=np.zeros((1, 4, 4, 4)))
    assert "'wrong'" in refused("run", program_file, tmp_path / "x.npz")
    np.save(x, np.zeros((4, 4, 4)))
    assert "no such file" in refused("run", tmp_path / "no.sigbit", x)
    assert "is a file" in refused("run", program_file, x, "--layers", x)


@pytest.fixture
def classifier(program, tmp_path):
    """The small Program with a host's part, for ``digits``'s name in the zoo and for another."""
    from dataclasses import replace

    from sigbit_hw.arch.host import HostInput, HostPart, HostStep
    from sigbit_hw.arch.program import ModelOutput

    files = {}
    for function in ("Softmax", "ArgMax", "LogSoftmax"):
        files[function] = tmp_path / f"{function}.sigbit"
        (port,) = program.outputs
        options = {"axis": 1, **({"keepdims": 0} if function == "ArgMax" else {})}
        step = HostStep(function, ("given",), ("z",), options, "net.py:1")
        host = HostPart((HostInput("given", "map", port.shape),), (step,), {}, ("z",))
        results = (ModelOutput("map", port.name),)
        replace(program, host=host, results=results).save(files[function])
    return files


def test_the_hosts_part(sigbit, program, classifier, rng, tmp_path):
    x = rng.normal(size=(2, 4, 4, 4))
    np.save(tmp_path / "x.npy", x)
    (port,) = program.inputs
    stored = Interp(program.config).run(program, port.quantize(x)).outputs["y"]
    real = program.outputs[0].dequantize(stored)
    odds = np.exp(real) / np.exp(real).sum(1, keepdims=True)
    wanted = {"Softmax": odds, "LogSoftmax": np.log(odds), "ArgMax": real.argmax(1)}
    for function, want in wanted.items():
        out = tmp_path / f"{function}.npy"
        answer = sigbit("run", classifier[function], tmp_path / "x.npy", "-o", out)
        assert answer.code == 0, answer
        assert np.allclose(np.load(out), want, rtol=1e-12, atol=0)
    out = tmp_path / "out.npz"
    assert sigbit("run", classifier["ArgMax"], tmp_path / "x.npy", "-o", out).code == 0
    assert list(np.load(out)) == ["z"]
    np.save(tmp_path / "codes.npy", port.quantize(x))
    answer = sigbit("run", classifier["ArgMax"], tmp_path / "codes.npy", "--stored", "-o", out)
    assert answer.code == 0, answer
    assert list(np.load(out)) == ["map"]
    assert (np.load(out)["map"] == stored).all()


def test_images(sigbit, refused, program_file, tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    image = tmp_path / "a.png"
    Image.fromarray(pixels).save(image)
    assert "give --mean and --std" in refused("run", program_file, image)
    assert "an image must be [height, width, 4]" in refused(
        "run", program_file, image, "--mean", "0", "--std", "1"
    )
    assert "--std must be 4 positive numbers" in refused("run", program_file, image, "--std", "1,2")
    assert "must be 4 positive numbers" in refused("run", program_file, image, "--std", "0")
    np.save(tmp_path / "x.npy", np.zeros((4, 4, 4)))
    assert "not both" in refused("run", program_file, image, tmp_path / "x.npy")
    image.write_text("no image")
    assert "not a readable image" in refused("run", program_file, image, "--mean", "0")


def test_images_of_the_zoo(sigbit, refused, tmp_path):
    from PIL import Image

    from sigbit.data import load

    options = ("--calibrate", "digits", "--test", "8", "--arch", "nano")
    file = tmp_path / "digits.sigbit"
    assert sigbit("quantize", "zoo:digits", *options, "-o", file).code == 0
    data = load("digits", "test")
    for i in range(2):
        Image.fromarray(data.inputs[i] * 15).resize((24, 16)).save(tmp_path / f"{i}.png")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"n{i:08} digit {i}" for i in range(10)))
    files = (tmp_path / "0.png", tmp_path / "1.png")
    answer = sigbit("run", file, *files, "--labels", labels, "--json", tmp_path / "r.json")
    assert answer.code == 0, answer
    assert "0.png  digit " in answer.out
    document = json.loads((tmp_path / "r.json").read_text())
    assert np.array(document["outputs"]["classifier"]).shape == (2, 10)
    labels.write_text("")
    assert "names no classes" in refused("run", file, *files, "--labels", labels)


def test_batches(sigbit, tmp_path):
    """Three images through a Program of two a run are those of one by one."""
    options = ("--calibrate", "digits", "--test", "8", "--arch", "nano")
    assert sigbit("quantize", "zoo:digits", *options, "-o", tmp_path / "d.sbm").code == 0
    x = np.random.default_rng(0).random((3, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    outputs = []
    for images in ("1", "2"):
        file, out = tmp_path / f"{images}.sigbit", tmp_path / f"{images}.npy"
        compiled = sigbit(
            "compile", tmp_path / "d.sbm", "--arch", "nano", "--images", images, "-o", file
        )
        assert compiled.code == 0, compiled
        assert sigbit("run", file, tmp_path / "x.npy", "-o", out).code == 0
        outputs.append(np.load(out))
    assert outputs[0].shape == (3, 10)
    assert (outputs[0] == outputs[1]).all()


@pytest.mark.sim
def test_check(sigbit, net, tmp_path):
    *_, file, x = net
    answer = sigbit("run", file, x, "--check", "--device", "rtl", "--json", tmp_path / "r.json")
    assert answer.code == 0, answer
    assert answer.out.count(" 0 differ") == 2
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["mismatches"] == 0
    assert len(document["cycles"]) == 2
    assert all(c > 0 for c in document["cycles"])


@pytest.fixture
def compiled(sigbit, tmp_path, monkeypatch):
    """A compiled network with test vectors, and an input."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "import torch\nfrom torch import nn\nfrom sigbit.quant import QuantSpec, prepare\n"
        "torch.manual_seed(0)\n"
        "model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))\n"
        "net = prepare(model.eval(), QuantSpec(), (torch.rand(16, 1, 6, 6),))\n"
    )
    np.save("x.npy", np.random.default_rng(0).random((2, 1, 6, 6)).astype(np.float32))
    answer = sigbit("compile", "net.py:net", "--arch", "nano", "--vectors", "3", "-o", "net.sigbit")
    assert answer.code == 0, answer
    return tmp_path / "net.sigbit"


@pytest.mark.sim
def test_vectors(sigbit, compiled):
    from dataclasses import replace

    from sigbit_hw.arch.program import Program

    answer = sigbit("run", compiled, "x.npy", "--check")
    assert answer.code == 0, answer
    codes = 3 * (4 * 4 * 4 + 3)
    for device in ("interp", "rtl"):
        assert f"test vectors, {device}: {codes} codes compared, 0 differ" in answer.out
    program = Program.load(compiled)
    vectors = {name: array.copy() for name, array in program.vectors.items()}
    layer = max(name for name in vectors if name.startswith("layer."))
    vectors[layer][1].flat[0] += 1
    replace(program, vectors=vectors).save("wrong.sigbit")
    answer = sigbit("run", "wrong.sigbit", "x.npy", "--check")
    assert answer.code == 1
    assert answer.err == "failed: 2 codes differ: test vectors, interp, test vectors, rtl\n"


@pytest.mark.sim
def test_vectors_of_batches(sigbit, compiled):
    options = ("--arch", "nano", "--vectors", "3", "--images", "2")
    answer = sigbit("compile", "net.py:net", *options, "-o", "two.sigbit")
    assert answer.code == 0, answer
    assert "2 images per run" in answer.out
    answer = sigbit("run", "two.sigbit", "x.npy", "--check")
    assert answer.code == 0, answer
    codes = 3 * (4 * 4 * 4 + 3)
    assert f"test vectors, rtl: {codes} codes compared, 0 differ" in answer.out


def test_check_finds_a_difference(sigbit, net, monkeypatch, tmp_path):
    from sigbit.flows import run as running
    from sigbit.flows.devices import DeviceName

    *_, file, x = net

    class Broken(Interp):
        """One code of the last layer of image 1 is wrong."""

        name = "rtl"

        def run(self, *arguments, **options):
            result = super().run(*arguments, **options)
            result.layers[sorted(result.layers)[-1]][1].flat[0] ^= 1
            return result

    def opened(name: DeviceName, config, latency: int, target, tell):
        return Broken(config) if name is DeviceName.RTL else Interp(config)

    monkeypatch.setattr(running, "open_device", opened)
    answer = sigbit("run", file, x, "--check", "--json", tmp_path / "r.json")
    assert answer.code == 1, answer
    assert answer.err.startswith("failed: 1 codes differ")
    assert "first at [1, 0, 0, 0]" in answer.out
    assert json.loads(Path(tmp_path / "r.json").read_text())["mismatches"] == 1
