"""Runs: resumed ones end where uninterrupted ones end, to the bit."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sigbit.errors import DivergedError
from sigbit.inputs.integer_models import load_model
from sigbit.quant import QuantizationError
from sigbit.training import Machine, Options, TrainingError
from sigbit.training.loop import Loop, Progress
from sigbit.training.machine import instructions
from sigbit.training.samples import TensorSamples
from sigbit.training.schedule import Schedule
from sigbit_tools.files import FileError
from training.configs import DIGITS, digits, started

METHODS = {
    "native": {},
    "strategies": {
        "quantizer__weights": "lsq",
        "quantizer__activations": "pact",
        "quantizer__weight_bits": 3,
        "quantizer__act_bits": 3,
        "train__optimizer": "sgd",
        "train__rate": "steps",
        "train__lr": 0.02,
        "train__clip": 1.0,
        "data__flip": True,
        "strategies": [
            {"name": "distillation"},
            {"name": "stochastic_precision"},
            {"name": "gradient_quantization"},
        ],
    },
}


def state(folder: Path) -> dict[str, torch.Tensor]:
    """Everything the training made."""
    found: dict[str, torch.Tensor] = torch.load(folder / "prepared.pt", weights_only=True)
    assert len(found) > 10
    return found


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


class Stop:
    """Ctrl-C after so many steps of a phase."""

    def __init__(self, phase: str, step: int) -> None:
        self.phase, self.step = phase, step

    def __call__(self, phase: str, at: Progress) -> None:
        if (phase, at.step) == (self.phase, self.step):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module", params=METHODS, ids=list(METHODS))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    config = digits(**METHODS[request.param])
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return config, folder, started(config, folder).finish()


def test_resumed_runs_end_equal(whole, tmp_path: Path) -> None:
    config, folder, summary = whole
    resume = Options(resume=True, every=7)
    for number, stop in enumerate((Stop("float", 3), Stop("quantized", 13), Stop("quantized", 20))):
        options = resume if number else Options(every=7)
        with pytest.raises(KeyboardInterrupt):
            started(config, tmp_path / "parts", options=options, tell=stop).finish()
    again = started(config, tmp_path / "parts", options=resume).finish()
    wanted, got = state(folder), state(tmp_path / "parts")
    assert wanted.keys() == got.keys()
    assert all(torch.equal(wanted[k], got[k]) for k in wanted)
    assert log(folder) == log(tmp_path / "parts")
    assert len(log(folder)) == 4
    same = {k: v for k, v in summary.items() if k not in ("seconds", "cpu_seconds")}
    assert same == {k: v for k, v in again.items() if k not in ("seconds", "cpu_seconds")}


def test_a_checkpoint_of_an_earlier_step_will_do(whole, tmp_path: Path) -> None:
    """As after a crash: what came behind the last checkpoint is done again."""
    config, folder, _ = whole

    def crash(phase: str, at: Progress) -> None:
        if (phase, at.step) == ("quantized", 12):
            raise MemoryError

    with pytest.raises(MemoryError):
        started(config, tmp_path / "parts", options=Options(every=5), tell=crash).finish()
    started(config, tmp_path / "parts", options=Options(resume=True, every=5)).finish()
    wanted, got = state(folder), state(tmp_path / "parts")
    assert all(torch.equal(wanted[k], got[k]) for k in wanted)
    assert log(folder) == log(tmp_path / "parts")


def test_results(whole) -> None:
    config, folder, summary = whole
    assert summary == json.loads((folder / "summary.json").read_text())
    assert 0 < summary["accuracy_quantized"] == summary["accuracy_deployed"] < 1
    losses = [float(row["loss"]) for row in log(folder)]
    assert losses[1] < losses[0]
    assert (summary["digest"], summary["test_samples"]) == (config.digest, 100)
    assert "basis_error" not in summary
    graph = load_model(str(folder / "model.sbm"))
    assert len(graph.nodes) > 5
    assert not (folder / "checkpoint.pt").exists()
    assert not list(folder.glob(".*.tmp"))
    again = started(config, folder, options=Options(resume=True)).finish()
    assert again == summary


def test_what_integer_bases_change(tmp_path: Path) -> None:
    sides = {"weights": "lq-nets", "activations": "lq-nets", "weight_bits": 2, "act_bits": 2}
    config = digits(float__epochs=1, train__epochs=1, quantizer=sides)
    found = started(config, tmp_path / "lq").finish()
    assert found["digest"] == config.digest
    errors = found.pop("basis_error")
    assert errors.keys() == {"weights", "activations"}
    graph = load_model(str(tmp_path / "lq" / "model.sbm"))
    names = {node.name for node in graph.nodes}
    assert errors["weights"].keys() | errors["activations"].keys() <= names
    assert all(0 <= e < 0.05 for by_layer in errors.values() for e in by_layer.values())
    assert max(errors["weights"].values()) > 0


def test_another_configuration_is_refused(whole, tmp_path: Path) -> None:
    config, folder, _ = whole
    with pytest.raises(TrainingError, match="holds a run already"):
        started(config, folder)
    with pytest.raises(TrainingError, match="no run to resume"):
        started(config, tmp_path / "new", options=Options(resume=True))
    other = replace(config, train=replace(config.train, lr=0.5), seed=4)
    with pytest.raises(TrainingError) as caught:
        started(other, folder, options=Options(resume=True))
    assert "train.lr: " in str(caught.value)
    assert "-> 0.5" in str(caught.value)
    assert "seed: 3 -> 4" in str(caught.value)
    assert "data" not in str(caught.value).replace(str(folder), "")


def test_another_machine_is_refused(tmp_path: Path) -> None:
    def crash(phase: str, at: Progress) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        started(digits(), tmp_path / "run", tell=crash).finish()
    with pytest.raises(TrainingError, match="threads: 1 -> 2"):
        started(
            digits(), tmp_path / "run", options=Options(resume=True), machine=Machine(threads=2)
        )


def test_another_instruction_set_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "default")
    used = instructions()
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", used)
    assert instructions() == used  # no limit
    with pytest.raises(KeyboardInterrupt):
        started(digits(), tmp_path / "run", tell=Stop("float", 1)).finish()
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "sse41")
    with pytest.raises(
        TrainingError, match=f"instructions: '{used}' -> '{used}, convolutions SSE41'"
    ):
        started(digits(), tmp_path / "run", options=Options(resume=True))


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        started(digits(), tmp_path / "run", tell=Stop("float", 2)).finish()
    path = tmp_path / "run" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is not a"):
        started(digits(), tmp_path / "run", options=Options(resume=True)).finish()


def test_a_damaged_twin_and_what_was_half_written(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        started(digits(), tmp_path / "run", tell=Stop("quantized", 2)).finish()
    twin, half = tmp_path / "run" / "float.safetensors", tmp_path / "run" / ".log.csv.x.tmp"
    content = twin.read_bytes()
    half.touch()
    twin.write_bytes(content[:1000])
    with pytest.raises(TrainingError, match=r"float\.safetensors does not hold .*: remove it"):
        started(digits(), tmp_path / "run", options=Options(resume=True)).finish()
    assert not half.exists()


def test_learned_bits_are_trained_further(tmp_path: Path) -> None:
    learned = {"name": "sinareq", "learn_bits": True, "beta_lr": 20.0, "beta_min": 2.0}
    config = digits(
        quantizer__weights="dorefa", quantizer__weight_bits=8, quantizer__act_bits=4,
        train__epochs=1, float__epochs=1, data__train_samples=96, strategies=[learned],
        continued={"epochs": 1, "batch_size": 32},
    )  # fmt: skip
    whole = started(config, tmp_path / "whole").finish()
    assert 3 <= min(whole["bits"].values()) < max(whole["bits"].values()) <= 8
    assert [row["phase"] for row in log(tmp_path / "whole")] == ["float", "quantized", "continued"]
    assert whole["accuracy_quantized"] == whole["accuracy_deployed"]
    options = Options()
    for phase in ("quantized", "continued"):
        with pytest.raises(KeyboardInterrupt):
            started(config, tmp_path / "parts", options=options, tell=Stop(phase, 2)).finish()
        options = Options(resume=True)
    started(config, tmp_path / "parts", options=options).finish()
    wanted, got = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(wanted[k], got[k]) for k in wanted)
    with pytest.raises(TrainingError, match="needs sinareq with learn_bits"):
        digits(continued={"epochs": 1})


def test_attacks_are_measured(tmp_path: Path) -> None:
    config = digits(float__epochs=1, train__epochs=1, strategies=[{"name": "jarn", "active": 0.5}])
    found = started(config, tmp_path / "run").finish()["measures"]
    assert set(found) == {"fgsm", "fgsm_float", "pgd", "pgd_float"}
    assert all(0 <= v <= 1 for v in found.values())


def test_twins_are_shared(tmp_path: Path) -> None:
    options = Options(twins=tmp_path / "twins")
    first = started(digits(), tmp_path / "a", options=options).finish()
    phases: set[str] = set()
    second = started(
        digits(train__lr=0.01),
        tmp_path / "b",
        options=options,
        tell=lambda phase, at: phases.add(phase),
    ).finish()
    assert phases == {"quantized"}
    assert first["accuracy_float"] == second["accuracy_float"]
    assert len(list((tmp_path / "twins").iterdir())) == 1


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    wild = digits(float__lr=1e15, float__optimizer="sgd", float__warm_up=0.0)
    with pytest.raises(DivergedError, match=r"the loss is .* at step \d+ of 20 .*lower the learn"):
        started(wild, tmp_path / "run").finish()


def test_batches_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="batch_size 999 is larger than the 320"):
        started(digits(float__batch_size=999), tmp_path / "a").finish()
    with pytest.raises(TrainingError, match=r"data\.train_samples must be in \[1, 1437\]"):
        started(digits(data__train_samples=5000), tmp_path / "b")


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model__options": {"width": "four"}}, "no network digits with options .*'four'"),
        ({"model__options": {"width": 0}}, "does not read inputs"),
        ({"model__options": {"classes": 5}}, "5 outputs.*10 classes: set model.options.classes"),
        ({"model__options": {"classes": 1}}, "has 1 outputs"),
        ({"model__name": "fashion", "model__options": {}}, r"fashion does not read.*\(28, 28\)"),
        ({"data__crop": 8}, "data.crop must be less than the 8 pixels"),
        ({"train__batch_size": 999}, "train: batch_size 999 is larger than the 320"),
        ({"strategies": [{"name": "temperature"}]}, "temperature is for the quantizer 'qn'"),
    ],
    ids=["option", "width", "classes", "one", "pixels", "crop", "batch", "strategy"],
)
def test_what_does_not_fit_is_found_before_training(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises((TrainingError, QuantizationError), match=says):
        started(digits(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(digits(), tmp_path / "run")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=r"cannot write .*log\.csv: No space left on device"):
        run.finish()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TrainingError, match="is not the configuration of a run"):
        started(digits(), tmp_path, options=Options(resume=True))


def test_pixels() -> None:
    """A network with one output a pixel learns a mask."""
    torch.manual_seed(0)
    x = torch.rand(64, 1, 8, 8)
    y = (x[:, 0] > 0.5).long()
    model = torch.nn.Conv2d(1, 1, 1)
    schedule = Schedule(epochs=20, batch_size=16, lr=0.3, warm_up=0)
    loop = Loop(model, TensorSamples(x, y, 2), schedule)
    losses = [progress.loss for progress in loop]
    assert losses[-1] < losses[0] / 2
    score = loop.task.confusion(model(x), y)
    assert int(score.diagonal().sum()) / y.numel() > 0.9


def test_two_processes(tmp_path: Path) -> None:
    """Halves of every batch in two processes make the steps of one, up to the order of sums."""
    text = _toml({**DIGITS, "float": {**DIGITS["float"], "epochs": 0}})
    (tmp_path / "run.toml").write_text(text)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    for name, start in (("two", [*launch, "-m"]), ("one", [sys.executable, "-m"])):
        subprocess.run(
            [*start, "sigbit.cli", "train", "run.toml", "-o", name, "--threads", "1"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            timeout=3600,  # a hang, on whatever machine
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
    kept = json.loads((tmp_path / "two" / "config.json").read_text())
    assert kept["machine"]["processes"] == 2
    one, two = state(tmp_path / "one"), state(tmp_path / "two")
    assert all(torch.allclose(one[k], two[k], rtol=0.02, atol=0.02) for k in one)
    losses = [[float(r["loss"]) for r in log(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert len(losses[0]) == 2


def _toml(table: dict[str, object], where: str = "") -> str:
    lines = [f"{k} = {json.dumps(v)}" for k, v in table.items() if not isinstance(v, dict)]
    if where and lines:
        lines.insert(0, f"[{where}]")
    for key, value in table.items():
        if isinstance(value, dict):
            lines.append(_toml(value, f"{where}.{key}" if where else key))
    return "\n".join([*lines, ""])
