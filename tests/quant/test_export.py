"""An integer model survives torch.export.save and load as an equal graph."""

from dataclasses import fields, is_dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sigbit.ir.integer import IntegerGraph
from sigbit.quant import (
    IntegerModel,
    QuantizationError,
    QuantSpec,
    convert,
    integer_graph_from_exported,
    prepare,
)
from sigbit.zoo import DigitsResNet


def same(a: object, b: object) -> bool:
    """Equality through dataclasses, tuples and arrays, dtypes included."""
    if is_dataclass(a):
        return type(a) is type(b) and all(
            same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.compare
        )
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


@pytest.fixture(scope="module")
def integer() -> IntegerModel:
    torch.manual_seed(1)
    model = nn.Sequential(
        DigitsResNet(8).stem, nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(128, 4)
    )
    x = torch.rand(8, 1, 8, 8)
    return convert(prepare(model, QuantSpec(input_range=(0, 1)), (x,)))


@pytest.fixture(scope="module")
def loaded(integer: IntegerModel) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=64)
    example = (torch.rand(3, 1, 8, 8),)
    exported = torch.export.export(integer, example, dynamic_shapes=(({0: batch},),))
    file = BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    return torch.export.load(file)


def test_the_graph_comes_back_equal(
    integer: IntegerModel, loaded: torch.export.ExportedProgram
) -> None:
    graph = integer_graph_from_exported(loaded)
    assert isinstance(graph, IntegerGraph)
    assert [n.kind for n in graph.nodes if hasattr(n, "kind")] == ["conv", "maxpool", "linear"]
    assert same(integer.graph, graph)
    assert not same(
        integer.graph,
        integer_graph_from_exported(
            torch.export.export(
                convert(prepare(nn.Conv2d(1, 2, 3), QuantSpec(), (torch.rand(2, 1, 8, 8),))),
                (torch.rand(2, 1, 8, 8),),
            )
        ),
    )


def test_the_loaded_program_runs_at_any_batch_size(
    integer: IntegerModel, loaded: torch.export.ExportedProgram
) -> None:
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(loaded.module()(x), integer(x))


def test_the_model_moves_and_casts_like_any_module(integer: IntegerModel) -> None:
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(integer.double()(x), integer(x))
    assert integer(x.double()).dtype == torch.float64
    integer.load_state_dict(integer.state_dict())


def test_a_float_program_is_told_to_quantize_first() -> None:
    exported = torch.export.export(nn.Sequential(nn.Linear(3, 2)), (torch.rand(2, 3),))
    with pytest.raises(
        QuantizationError, match=r"float model: quantize it first with sigbit\.quant\.prepare"
    ):
        integer_graph_from_exported(exported)


def test_wrong_inputs_are_refused(integer: IntegerModel) -> None:
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        integer(torch.full((1, 1, 8, 8), torch.nan))
    with pytest.raises(TypeError, match="has 1 inputs, not 2"):
        integer(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8))


def test_a_file_on_disk(integer: IntegerModel, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(integer, (torch.rand(1, 1, 8, 8),)), path)
    assert same(integer_graph_from_exported(torch.export.load(path)), integer.graph)
