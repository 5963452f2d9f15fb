"""Configurations: what files may say, and how they are refused."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from sigbit.quant import QuantizationError
from sigbit.training import RunConfig, TrainingError, load_config
from sigbit.training.config import load_sweep
from sigbit.training.methods import method_bits, quant_spec, strategies_of
from sigbit.training.tables import differences
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.formats import EsbFormat
from sigbit_tools.files import FileError
from training.configs import DIGITS, digits

TEXT = """
seed = 1
[data]
name = "digits"
[model]
name = "digits"
options = {width = 8}
[float]
epochs = 3
[quantizer]
weights = "lsq"
weight_bits = 3
[train]
epochs = 2
lr = 1
[[strategies]]
name = "sinareq"
lambda_w = 0.5
"""


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(TEXT)
    config = load_config(path)
    assert (config.seed, config.quantizer.weights, config.train.lr) == (1, "lsq", 1.0)
    assert config.strategies[0].options == {"lambda_w": 0.5}
    assert RunConfig.from_table(config.to_table()) == config
    assert RunConfig.from_table(config.to_table()).digest == config.digest


def test_the_files_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "quantization.md").read_text()
    run, own, sweep = re.findall(r"```toml\n(.*?)```", text, re.S)
    model = run.partition("[model]")[2].partition("[float]")[0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_nets.py").write_text("Net = None\n")
    (tmp_path / "own.toml").write_text(run.replace(f"[model]{model}", own))
    assert load_config(tmp_path / "own.toml").model.name == "my_nets.py:Net"
    file = tmp_path / "run.toml"
    file.write_text(run + sweep)
    table, varied = load_sweep(file)
    config = RunConfig.from_table(table)
    quant_spec(config.quantizer, (0.0, 1.0))
    assert [type(s).__name__ for s in strategies_of(config.strategies)] == [
        "BatchStatistics", "Progressive",
    ]  # fmt: skip
    assert set(varied.space) == {"train.lr", "quantizer.weights"}


@pytest.mark.parametrize(
    "text",
    [b"\xef\xbb\xbf" + TEXT.encode(), TEXT.replace("\n", "\r\n").encode()],
    ids=["mark", "lines"],
)
def test_files_of_other_systems(tmp_path: Path, text: bytes) -> None:
    """With a byte order mark, and with carriage returns."""
    path, plain = tmp_path / "run.toml", tmp_path / "plain.toml"
    path.write_bytes(text)
    plain.write_text(TEXT)
    assert load_config(path) == load_config(plain)


def test_digests_tell_what_differs() -> None:
    assert digits().digest == digits(train__optimizer="adamw").digest
    assert digits().digest != digits(train__lr=0.1).digest
    assert digits().twin_digest == digits(train__lr=0.1).twin_digest
    assert digits().twin_digest != digits(float__epochs=3).twin_digest
    lines = differences(digits().to_table(), digits(train__lr=0.1).to_table())
    assert lines == ["train.lr: 0.003 -> 0.1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEXT.replace("epochs = 3", "epoch = 3"), "no key 'epoch' (did you mean epochs?)"),
        (TEXT.replace("epochs = 3", "epochs = 3.5"), "epochs must be a whole number, not 3.5"),
        (TEXT.replace("epochs = 3", "epochs = -3"), "epochs must be at least 0"),
        (TEXT.replace("[float]\nepochs = 3", ""), "lacks float"),
        (TEXT + "[[strategies]]\nlambda_w = 1\n", "lacks name"),
        (TEXT.replace("[model]", "[model"), "is not TOML"),
        (TEXT.replace("lr = 1", 'rate = "linear"'), "rate must be one of cosine, steps, constant"),
        (TEXT.replace("seed = 1", "sead = 1"), "did you mean seed?"),
        (TEXT.replace("seed = 1", "seed = true"), "seed must be a whole number, not True"),
        (TEXT.replace("lr = 1", "lr = 0"), "lr must be positive"),
        (TEXT.replace("lr = 1", "lr = inf"), ": train.lr must be finite, not inf"),
        (TEXT.replace("lr = 1", "lr = 1e300"), "lr must be positive and at most 1e+15"),
        (TEXT.replace("lr = 1", "gamma = -1"), "gamma must be positive"),
        (TEXT.replace("lr = 1", "momentum = 2"), "momentum must be in [0, 1), not 2.0"),
        (TEXT.replace("lr = 1", "milestones = [30]"), "milestones are shares of the training"),
        (TEXT.replace("seed = 1", f"seed = {2**31}"), "seed must be in [0, 2147483647]"),
        (TEXT.replace("= 0.5", "= nan"), "strategies[0].options.lambda_w must be finite"),
        (TEXT.replace("= 0.5", "= 2020-01-01"), "lambda_w must be a number, text, true"),
    ],
    ids=[
        "key", "type", "range", "absent", "nameless", "toml", "choice", "top", "bool", "rate",
        "finite", "float32", "gamma", "momentum", "milestones", "seed", "option", "date",
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(TrainingError) as caught:
        load_config(path)
    assert says in str(caught.value)
    assert str(caught.value).count(str(path)) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"quantizer__weights": "lsqq", "quantizer__weight_bits": 4}, "lsqq"),
        ({"quantizer__weights": "lsq"}, "needs the number of bits"),
        ({"quantizer__weights": "apot", "quantizer__weight_bits": 8}, "bits of weights"),
        ({"quantizer__arch": "pico"}, "no accelerator 'pico': give a preset"),
        ({"quantizer__arch": {"name": "mine"}}, "arch: missing ArchConfig fields"),
        ({"quantizer__arch": 4}, "quantizer.arch must be text or a table, not 4"),
    ],
    ids=["method", "bits", "bits of method", "arch", "arch table", "arch type"],
)
def test_quantizers_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises((TrainingError, QuantizationError), match=says):
        quant_spec(digits(**changes).quantizer, None)


def test_an_accelerator_of_ones_own(tmp_path: Path) -> None:
    """From a file or a table; the configuration holds its content."""
    mine = replace(PRESETS["nano"], name="mine", weight_format=EsbFormat(4, 2))
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"config": mine.to_json()}))
    of_file = digits(quantizer__arch=str(path))
    path.unlink()
    assert of_file.quantizer.accelerator == mine
    assert of_file.digest == digits(quantizer__arch=mine.to_json()).digest != digits().digest
    again = RunConfig.from_table(json.loads(json.dumps(of_file.to_table())))
    assert again.quantizer.accelerator == mine
    assert quant_spec(of_file.quantizer, None).weight_format == EsbFormat(4, 2)
    assert method_bits(of_file.quantizer) == (4, 4)
    path.write_text("{")
    with pytest.raises(FileError, match=r"mine\.json is not JSON"):
        digits(quantizer__arch=str(path))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"name": "sinarec"}, r"strategies\[0\], sinarec: .* sinareq"),
        ({"name": "jarn", "x": 1}, "'x'"),
        ({"name": "progressive", "two_stage": "no"}, r"\[0\]\.two_stage must be true or false"),
        ({"name": "progressive", "bits": 8}, r"strategies\[0\]\.bits must be a list, not 8"),
        ({"name": "progressive", "bits": ["8"]}, r"bits\[0\] must be a whole number, not '8'"),
        ({"name": "progressive", "share": 5}, r"strategies\[0\], progressive: share must be in"),
        ({"name": "sinareq", "lambda_w": "1"}, "lambda_w must be a number, not '1'"),
        ({"name": "deep_projection", "dimension": 2.5}, "dimension must be a whole number"),
        ({"name": "distillation", "features": ["a"]}, "features must be a table"),
        ({"name": "distillation", "distance": "l3"}, "distance must be one of l1, l2, not 'l3'"),
    ],
    ids=["name", "key", "bool", "list", "item", "range", "float", "int", "table", "choice"],
)
def test_strategies_are_refused(table: dict[str, object], says: str) -> None:
    config = RunConfig.from_table({**DIGITS, "strategies": [table]})
    with pytest.raises(TrainingError, match=says):
        strategies_of(config.strategies)


def test_a_file_without_a_space(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(TEXT)
    with pytest.raises(TrainingError, match=r"no table \[sweep\]"):
        load_sweep(path)
    path.write_text(TEXT + "[sweep]\nspace = {}\n")
    with pytest.raises(TrainingError, match="names no key"):
        load_sweep(path)
