"""``sigbit train``, ``sigbit sweep`` and ``sigbit bench quant`` as users call them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

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
