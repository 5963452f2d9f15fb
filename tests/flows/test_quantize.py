"""Quantization as a function: budgets, results, and what is refused."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sigbit.errors import UserError
from sigbit.flows.budget import Budget, Limit
from sigbit.flows.formats import Formats
from sigbit.flows.quantize import quantize
from sigbit.inputs.networks import Network
from sigbit.inputs.samples import Calibration
from sigbit_hw.arch.config import PRESETS
from sigbit_synthesis import Target

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(2, 4, 3)
        self.b = nn.Linear(4, 3)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)).mean((2, 3)))
"""
amounts = st.none() | st.integers(1, 10**9)


@given(luts=amounts, what=st.sampled_from(("cycles", "bytes")), amount=amounts)
def test_a_budget_is_what_its_text_says(luts: int | None, what: str, amount: int | None) -> None:
    given = {"luts": luts, what: amount}
    texts = [f"{name}={n}" for name, n in given.items() if n is not None]
    budget = Budget.parse(texts, Target.ECP5)
    assert budget == Budget(**given, target=Target.ECP5)
    assert budget.of_bits == (None if amount is None else Limit(what, amount))


@given(st.decimals(0, 100, places=2))
def test_a_budget_of_accuracy_is_in_points(points: Decimal) -> None:
    assume(0 < points < 100)
    budget = Budget.parse([f"accuracy={points}"])
    assert budget.of_bits == Limit("accuracy", float(points))
    assert budget.of_bits.unit == "cycles"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["dsps=3"], "must be luts=N, cycles=N, bytes=N or accuracy=POINTS, .* not dsps=3"),
        (["accuracy=-2"], "not accuracy=-2"),
        (["accuracy=100"], "more than 0 and less than 100, not 100"),
        (["accuracy=2", "cycles=9"], "one of cycles, of bytes or of accuracy"),
        (["luts=0"], "not luts=0"),
        (["luts=-5"], "not luts=-5"),
        (["cycles="], "not cycles="),
        (["bytes"], "not bytes"),
        (["luts=5", "luts=6"], "luts twice, 5 and 6"),
        (["cycles=5", "bytes=6"], "one of cycles, of bytes or of accuracy"),
    ],
)
def test_wrong_budgets(texts: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"--budget.*{message}"):
        Budget.parse(texts)


def test_a_budget_is_positive() -> None:
    with pytest.raises(UserError, match="cycles must be at least 1, not 0"):
        Budget(cycles=0)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small_net.py").write_text(NET)
    np.save("x.npy", np.random.default_rng(0).standard_normal((12, 2, 6, 6)).astype(np.float32))
    return Network("small_net.py:Net", ("2x6x6",))


def test_in_memory(network: Network) -> None:
    """Nothing is written without an output; the result has the model and the Program."""
    told = []
    result = quantize(
        network,
        Calibration("x.npy", images=8),
        arch=PRESETS["nano"],
        formats=Formats(weights="esb8", bits=("relu=4/7",)),
        tell=lambda what, done=0, total=0, line="": told.append(what),
    )
    assert sorted(p.name for p in Path.cwd().iterdir() if p.is_file()) == ["small_net.py", "x.npy"]
    assert result.program is not None
    assert result.program.config is result.config is PRESETS["nano"]
    assert {t.name for t in result.program.layers} <= {row.layer for row in result.layers}
    rows = {row.layer: row for row in result.layers}
    assert (rows["relu"].weight_terms, rows["relu"].act_planes) == (1, 2)
    assert rows["b"].weight_terms == 2
    assert result.quality.images == 4
    assert result.file is None
    assert told[0] == "importing small_net.py:Net"
    assert any(what.startswith("compiling: ") for what in told)
    document = result.to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["formats"] == {
        "weights": "esb8",
        "acts": None,
        "first_last": 8,
        "bits": ["relu=4/7"],
    }
    assert document["program"]["digest"] == result.program.digest
    assert document["number_systems"] is document["budget"] is document["lut_budget"] is None
    assert document["layers"][1]["shape"] == list(result.layers[1].shape)
    assert result.seconds > 0
    assert result.cpu_seconds > 0


def test_refused_before_any_work(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigbit.flows.quantize.load_network", None)
    refusals = {
        "must end in .sigbit": {"output": Path("net.onnx")},
        "choose one": {"formats": Formats(bits=("a=8/8",)), "budget": Budget(bytes=9)},
        "leave out --weights": {"formats": Formats(acts="esb8"), "budget": Budget(luts=9)},
        "no accelerator 'tpu'": {"arch": "tpu"},
        "nano has esb4 or esb8, not 'esb5'": {"formats": Formats(weights="esb5"), "arch": "nano"},
    }
    for message, options in refusals.items():
        with pytest.raises(UserError, match=message):
            quantize(network, "x.npy", **options)
