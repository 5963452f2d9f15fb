"""``sigbit train``, ``sigbit sweep`` and ``sigbit bench quant`` as users call them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sigbit import load_run
from sigbit.data import load
from sigbit.errors import TrainingError
from sigbit.training import Machine, TrainingRun
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.program import Program

RUN = """
[data]
name = "digits"
train_samples = 96
test_samples = 40
[model]
name = "digits"
options = { width = 4 }
[float]
epochs = 1
batch_size = 32
[train]
epochs = 1
batch_size = 32
"""
SPACE = """
[sweep]
trials = 2
sampler = "grid"
space = { "quantizer.weight_bits" = { choices = [2, 4] } }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    return path


def test_train_and_compile(sigbit, config: Path, tmp_path: Path) -> None:
    out, figures = tmp_path / "out", tmp_path / "run.json"
    answer = sigbit("train", config, "-o", out, "--cpu", "--threads", "1", "--json", figures)
    assert answer.code == 0, answer
    assert "accuracy" in answer.out
    assert f"`sigbit compile {out}/model.sbm --arch micro -o NET.sigbit`" in answer.out
    summary = json.loads(figures.read_text())
    assert summary["accuracy_quantized"] == summary["accuracy_deployed"]
    assert (out / "log.csv").read_text().count("\n") == 3
    answer = sigbit("compile", out / "model.sbm", "-o", tmp_path / "net.sigbit")
    assert answer.code == 0, answer
    again = sigbit("train", config, "-o", out, "--cpu", "--threads", "1")
    assert (again.code, "holds a run already" in again.err) == (2, True)


NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4, classes=10):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten()
        )
        self.head = nn.Linear(9 * width, classes)

    def forward(self, image):
        return self.head(self.body(image))
"""
OWN = (
    RUN.replace('name = "digits"\noptions', 'name = "my_nets.py:Net"\noptions')
    + """
[model.images]
mean = [0.0]
std = [0.0625]
"""
)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("my_nets.py").write_text(NETWORK)
    Path("run.toml").write_text(OWN)
    return tmp_path


def test_a_network_of_ones_own(sigbit, refused, own: Path) -> None:
    """Trained, loaded in one call, run on an image that its preprocessing is stored for, and not
    taken for another one once its file has changed."""
    answer = sigbit("train", "run.toml", "-o", "out", "--cpu", "--threads", "1")
    assert answer.code == 0, answer
    assert sigbit("compile", "out/model.sbm", "-o", "net.sigbit").code == 0
    images = load("digits", "test").inputs[:3]
    for i, image in enumerate(images):
        Image.fromarray(image).save(f"{i}.png")
    answer = sigbit("run", "net.sigbit", "0.png", "1.png", "2.png", "-o", "y.npy")
    assert answer.code == 0, answer
    done = load_run("out")
    x = torch.from_numpy(images[:, None].astype(np.float32) / 255 / 0.0625)
    with torch.no_grad():
        exact = done.integer(x)
        real = done.float_model(x)
    assert np.abs(np.load("y.npy") - exact.numpy()).max() < 1e-5
    assert real.shape == (3, 10)
    assert not done.float_model.training
    assert done.summary["accuracy_deployed"] == done.summary["accuracy_quantized"]
    Path("my_nets.py").write_text(NETWORK + "\n")
    with pytest.raises(TrainingError, match="Net has changed since out was trained"):
        load_run("out")
    answer = sigbit("train", "run.toml", "-o", "out", "--resume")
    assert answer.code == 2
    assert "model.source" in answer.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":Net", ":Absent", "there is no 'Absent'"),
        ("my_nets", "absent", "absent.py: No such file"),
        ("std = [0.0625]", "std = [0.0]", "std and scale positive"),
        ("mean = [0.0]", "mean = [0.0, 0.0]", "mean must be 1 numbers, one for each channel"),
        (
            "[model.images]\nmean = [0.0]\nstd = [0.0625]",
            "",
            "as a table with mean and std",
        ),
        ("width = 4", "depth = 4", "unexpected keyword argument 'depth'"),
        ("width = 4", "classes = 5", "set model.options.classes = 10"),
        ("my_nets.py:Net", "digits", "digits says itself how they become inputs"),
    ],
)
def test_mistakes_with_ones_own_network(refused, own: Path, old: str, new: str, message: str):
    assert old in OWN
    Path("run.toml").write_text(OWN.replace(old, new))
    assert message in refused("train", "run.toml", "-o", "out", "--cpu", "--threads", "1")
    assert not Path("out").exists()


def test_sweep_a_network_of_ones_own(sigbit, own: Path) -> None:
    Path("run.toml").write_text(OWN + SPACE.replace("trials = 2", "trials = 1"))
    answer = sigbit("sweep", "run.toml", "-o", "trials", "--cpu", "--threads", "1")
    assert answer.code == 0, answer
    assert list(own.glob("trials/*/model.sbm"))


def test_train_for_an_accelerator_of_ones_own(sigbit, tmp_path: Path) -> None:
    mine, path, out = tmp_path / "mine.json", tmp_path / "run.toml", tmp_path / "out"
    document = PRESETS["nano"].to_json() | {"name": "mine", "acc_bits": 26}
    mine.write_text(json.dumps(document))
    path.write_text(RUN + f'[quantizer]\narch = "{mine}"\n')
    answer = sigbit("train", path, "-o", out, "--cpu", "--threads", "1")
    assert answer.code == 0, answer
    assert f"--arch {out}/arch.json -o NET.sigbit`" in answer.out
    net = tmp_path / "net.sigbit"
    assert sigbit("compile", out / "model.sbm", "--arch", out / "arch.json", "-o", net).code == 0
    assert Program.load(net).config == ArchConfig.from_json(document)


def test_what_integer_bases_cost_is_said(sigbit, config: Path, tmp_path: Path) -> None:
    config.write_text(
        f'{RUN}[quantizer]\nweights = "lq-nets"\nweight_bits = 2\n'
        'activations = "uniform"\nact_bits = 4\n'
    )
    figures = tmp_path / "run.json"
    answer = sigbit(
        "train", config, "-o", tmp_path / "out", "--cpu", "--threads", "1", "--json", figures
    )
    assert answer.code == 0, answer
    (errors,) = json.loads(figures.read_text())["basis_error"].items()
    assert errors[0] == "weights"
    worst = max(errors[1], key=lambda name: errors[1][name])
    assert f"{errors[1][worst]:.2%} at most ({worst})" in " ".join(answer.out.split())


def test_mistakes(refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(RUN.replace("epochs", "epoch"))
    assert "did you mean epochs?" in refused("train", path, "-o", tmp_path / "out")
    path.write_text(RUN.replace('name = "digits"\noptions', 'name = "lenet"\noptions'))
    assert "there is no network 'lenet'" in refused("train", path, "-o", tmp_path / "out")
    path.write_text(RUN + '[quantizer]\nweights = "lsqq"\n')
    assert "lsqq" in refused("train", path, "-o", tmp_path / "out", "--cpu")
    assert not (tmp_path / "out").exists()
    path.write_text(RUN)
    assert "precision must be" in refused(
        "train", path, "-o", tmp_path / "out", "--precision", "fp8"
    )
    assert "no table [sweep]" in refused("sweep", path, "-o", tmp_path / "out")
    assert "no run has" in refused("bench", "quant", "--only", "lenet9000")
    assert "--group must be one of quantizers, " in refused("bench", "quant", "--group", "tusks")


def test_an_interruption(
    sigbit, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(run: TrainingRun) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingRun, "finish", cut)
    answer = sigbit("train", config, "-o", tmp_path / "out", "--cpu")
    assert (answer.code, answer.out) == (130, "")
    assert "out keeps what is done: the same command with --resume goes on" in answer.err
    assert answer.err.endswith("interrupted\n")


def test_a_trial_has_one_process(
    refused: Callable[..., str], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(RUN + SPACE)
    monkeypatch.setattr(Machine, "processes", 2)
    assert "by one process, not by 2" in refused("sweep", config, "-o", tmp_path / "out", "--cpu")


def test_sweep(sigbit, config: Path, tmp_path: Path) -> None:
    config.write_text(RUN + SPACE)
    figures = tmp_path / "sweep.json"
    for _ in range(2):
        answer = sigbit(
            "sweep", config, "-o", tmp_path / "out", "--cpu", "--threads", "1", "--json", figures
        )
        assert answer.code == 0, answer
        assert "2 trials, the best first" in answer.out
    trials = json.loads(figures.read_text())["trials"]
    assert {t["quantizer.weight_bits"] for t in trials} == {2, 4}
    assert (tmp_path / "out" / "trial-0001" / "model.sbm").exists()
