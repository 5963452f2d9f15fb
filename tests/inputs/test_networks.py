"""Float networks and samples as objects, beside those that users name."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sigbit.errors import UserError
from sigbit.inputs.networks import FloatNetwork, Network, load_network
from sigbit.inputs.samples import Calibration, SampleData, load_samples


class Two(nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.relu(a + b)


@pytest.fixture(scope="module")
def one() -> FloatNetwork:
    return load_network(Network(nn.Sequential(nn.Conv2d(1, 2, 3)), ((1, 6, 6),)))


@pytest.fixture(scope="module")
def two() -> FloatNetwork:
    return load_network(Network(Two(), ("2x4x4", (2, 4, 4))))


def test_modules(one: FloatNetwork, two: FloatNetwork) -> None:
    assert [node.shape for node in one.graph.inputs] == [(1, 6, 6)]
    assert [node.name for node in two.graph.inputs] == ["a", "b"]
    assert one.weights == "as Sequential has them"


def test_checkpoint_of_a_module(tmp_path: Path) -> None:
    model = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3)))
    weights = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    torch.save(weights, tmp_path / "ones.pt")
    loaded = load_network(Network(model, ((1, 6, 6),), tmp_path / "ones.pt"))
    assert all((value == 1).all() for value in loaded.graph.parameters.values())
    assert loaded.weights == f"those in {tmp_path / 'ones.pt'}"


def test_graphs_and_exported_programs(one: FloatNetwork) -> None:
    assert load_network(Network.of(one.graph)).graph is one.graph
    exported = torch.export.export(nn.Conv2d(1, 2, 3).eval(), (torch.rand(1, 1, 6, 6),))
    assert load_network(Network.of(exported)).graph.name == "ExportedProgram"
    with pytest.raises(UserError, match=r"is not an nn\.Module: leave out --input"):
        load_network(Network(exported, ((1, 6, 6),)))


@pytest.mark.parametrize("shape", [(), (0, 4, 4), (1, 2, 3, 4), (1.5, 4, 4), "1x-2", "x", ""])
def test_wrong_shapes(shape: str | tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="one to three positive numbers without the batch"):
        load_network(Network(nn.Conv2d(1, 2, 3), (shape,)))


def test_samples_in_arrays(one: FloatNetwork) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((10, 1, 6, 6)), np.array([0, 1, 1, 0, 0, 0, 1, 0, 1, 1])
    seen, tested = load_samples(Calibration({"x": x, "y": y}, images=6, test=100), one)
    assert (len(seen), len(tested)) == (6, 4)
    assert seen.labels is not None
    assert tested.labels is not None
    batches = np.concatenate([seen.batch(0, len(seen))[0], tested.batch(0, len(tested))[0]])
    same = batches[:, None] == x.astype(np.float32)
    chosen = same.all((2, 3, 4)).argmax(1)
    assert sorted(chosen) == list(range(10))  # no sample is in both
    assert [*seen.labels, *tested.labels] == y[chosen].tolist()
    with pytest.raises(UserError, match="y must hold classes from 0 to 1, which the network has"):
        load_samples(Calibration({"x": x, "y": np.arange(10)}), one)
    alone, _ = load_samples(Calibration(x, images=6), one)
    assert (alone.batch(0, len(alone))[0] == seen.batch(0, len(seen))[0]).all()
    assert alone.labels is None


def test_arrays_in_files_and_in_memory_are_the_same(two: FloatNetwork, tmp_path: Path) -> None:
    arrays = {name: np.random.default_rng(2).random((5, 2, 4, 4)) for name in "ab"}
    np.savez(tmp_path / "x.npz", **arrays)
    for part, other in zip(
        load_samples(Calibration(arrays, images=3), two),
        load_samples(Calibration(str(tmp_path / "x.npz"), images=3), two),
        strict=True,
    ):
        pairs = zip(part.batch(0, len(part)), other.batch(0, len(other)), strict=True)
        assert all((x == y).all() for x, y in pairs)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros((3, 2, 4, 4))}, "the given samples: the arrays are a, the inputs"),
        (np.zeros((3, 2, 4, 4)), "the inputs of the network a, b"),
        (dict.fromkeys("ab", np.zeros((3, 2, 4))), r"must have shape \[N, 2, 4, 4\]"),
        (dict.fromkeys("ab", np.full((3, 2, 4, 4), np.nan)), "holds NaN or infinity"),
        (dict.fromkeys("ab", np.full((3, 2, 4, 4), "x")), "must hold numbers"),
        ({"a": np.zeros((3, 2, 4, 4)), "b": np.zeros((2, 2, 4, 4))}, "different numbers"),
    ],
)
def test_wrong_arrays(two: FloatNetwork, arrays: SampleData, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_samples(Calibration(arrays), two)
