"""An integer model is an ``nn.Module`` like any other, and what torch.export makes of it runs."""

from pathlib import Path

import pytest
import torch
from torch import nn

from quant.graphs import GRAPHS
from sigbit.quant import IntegerModel, QuantSpec, convert, prepare
from sigbit.zoo import DigitsResNet

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def integer() -> IntegerModel:
    torch.manual_seed(1)
    model = nn.Sequential(
        DigitsResNet(8).stem, nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(128, 4)
    )
    x = torch.rand(8, 1, 8, 8)
    return convert(prepare(model, QuantSpec(input_range=(0, 1)), (x,)))


def test_the_exported_program_runs_at_any_batch_size(integer: IntegerModel, tmp_path: Path) -> None:
    integer.export_pt2(tmp_path / "net.pt2")
    loaded = torch.export.load(tmp_path / "net.pt2").module()
    for batch in (1, 2, 5):
        x = torch.rand(batch, 1, 8, 8)
        assert torch.equal(loaded(x), integer(x))


@pytest.mark.parametrize("name", GRAPHS)
def test_every_kind_of_graph_is_exported(name: str, seed: int) -> None:
    """Several inputs and outputs, vectors, sequences, movements."""
    graph = GRAPHS[name](seed)
    x = tuple(torch.randn(3, *n.shape, dtype=torch.float64) for n in graph.inputs)
    integer = convert(prepare(graph, QuantSpec(), x))
    want, got = integer(*x), integer.exported().module()(*x)
    assert all(map(torch.equal, *(y if isinstance(y, tuple) else (y,) for y in (want, got))))


def test_the_model_moves_and_casts_like_any_module(integer: IntegerModel) -> None:
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(integer.double()(x), integer(x))
    assert integer(x.double()).dtype == torch.float64
    integer.load_state_dict(integer.state_dict())


def test_wrong_inputs_are_refused(integer: IntegerModel) -> None:
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        integer(torch.full((1, 1, 8, 8), torch.nan))
    with pytest.raises(TypeError, match="has 1 inputs, not 2"):
        integer(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"must have shape \[batch, 1, 8, 8\] \(channels height"):
        integer(torch.rand(1, 64))
