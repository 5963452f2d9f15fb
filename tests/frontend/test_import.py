"""Import through torch.export: the model's own function, or a report."""

import inspect
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.frontend import UnsupportedModel, import_model
from sigbit.frontend.moves import Bordered, Chosen, moves
from sigbit.frontend.torch_export import graph_from_exported
from sigbit.ir.floating import BatchNorm, Conv2d, Flatten


class Everything(nn.Module):
    """Every supported operation at least once, in-place ones and dropout among them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.BatchNorm2d(8), nn.ReLU6())
        self.same = nn.Conv2d(8, 8, (2, 4), padding="same", bias=False)
        self.tail = nn.Sequential(
            nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8, affine=False), nn.ReLU(inplace=True)
        )
        self.pool, self.mean = nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, padding=1)
        self.hidden, self.norm, self.drop = nn.Linear(8 * 4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x)
        y = x + self.same(x)
        F.relu_(y)
        y = y + x  # reads the value after the in-place ReLU
        z = self.mean(self.pool(self.tail(y)))
        v = torch.relu(self.norm(self.hidden(self.drop(torch.flatten(z, 1)))))
        w = y.mean((2, 3)) + y.mean((-1, -2), keepdim=True).view(len(y), -1)
        return (
            self.out(v),
            w,
            F.adaptive_avg_pool2d(torch.clamp(y, min=0), 1).squeeze(-1).squeeze(-1),
        )


def randomized(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return model


class Plain(nn.Module):
    """The operations that the importer takes without a second trace by torch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6(), nn.Dropout())
        self.wide, self.tail = nn.Conv2d(8, 8, 1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.pad(F.max_pool2d(x, 2), (0, 0, 0, 0, 1, 1))[:, 1:-1]
        y = torch.cat([torch.relu(self.wide(y)), F.avg_pool2d(x, 2) + y], 1)
        z = F.adaptive_avg_pool2d(y, 1).flatten(1) + y.mean((2, 3))
        return self.tail(z)


@pytest.mark.parametrize(
    ("model", "once"),
    [(Plain(), True), (Everything(), False), (nn.AdaptiveAvgPool2d((2, 3)), False)],
    ids=["functional", "in place", "decomposed"],
)
def test_the_functional_form_is_traced_only_if_there_is_another(
    model: nn.Module, once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, traced = torch.randn(2, 3, 16, 16), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(randomized(model).eval(), (x,))
    wanted = graph_from_exported(exported, type(model).__name__)
    again = torch.export.ExportedProgram.run_decompositions

    def tracing(self: torch.export.ExportedProgram, table: dict) -> torch.export.ExportedProgram:
        traced.append(table)
        return again(self, table)

    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", tracing)
    found = import_model(model, x)
    assert len(traced) == (not once)
    assert (found.nodes, found.outputs) == (wanted.nodes, wanted.outputs)
    assert found.parameters.keys() == wanted.parameters.keys()
    assert all(torch.equal(v, wanted.parameters[k]) for k, v in found.parameters.items())


def test_computes_what_the_model_computes(seed: int) -> None:
    torch.manual_seed(seed)
    model = randomized(Everything()).double()
    model.tail.train()
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    graph = import_model(model, (x,))
    assert model.training, "import must leave the model's mode alone"
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    values = graph.evaluate({graph.inputs[0].name: x})
    expected = model.eval()(x)
    assert len(graph.outputs) == len(expected) == 3
    for name, want in zip(graph.outputs, expected, strict=True):
        torch.testing.assert_close(values[name], want, rtol=1e-12, atol=1e-12)


def test_names_and_locations_are_the_users() -> None:
    graph = import_model(Everything(), (torch.randn(2, 3, 16, 16),))
    assert isinstance(graph["stem.0"], Conv2d)
    assert isinstance(graph["norm"], BatchNorm)
    assert any(isinstance(n, Flatten) for n in graph.nodes)
    line = 1 + next(
        i
        for i, text in enumerate(Path(__file__).read_text().splitlines())
        if "self.same(x)" in text
    )
    assert graph["same"].location == f"test_import.py:{line} (same)"


class Bad(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.big = nn.Conv2d(4, 4, 33, padding=16)
        self.strided = nn.Conv2d(4, 4, 3, stride=16, padding=16)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        a = torch.softmax(x, 1)
        b = torch.lgamma(a)
        c = self.big(x + x) // x
        d = torch.digamma(c)
        e = F.max_pool2d(x, 3, dilation=2)
        f = x.cumsum(1)
        g = F.interpolate(x, size=(33, 33), mode="bilinear", align_corners=True)
        h = torch.cat([x, x], 0)
        i = x + x.transpose(2, 3)
        return self.strided(b + d), e, f, g, h, i, x.amax(1)


def test_one_report_names_every_obstacle() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        import_model(Bad(), (torch.randn(2, 4, 16, 16),))
    source, start = inspect.getsourcelines(Bad)
    expected = {
        "lgamma": "not supported",
        "// x": "division",
        "self.big(": "33",
        "digamma": "not supported",
        "dilation=2": "dilation",
        "cumsum": "not supported",
        "align_corners": "weights differ",
        "cat": "dimension 0",
        "transpose": "rearrangement",
        "amax(1)": "reduction",
        "self.strided(": "stride",
    }
    rows = caught.value.rows
    for text, reason in expected.items():
        line = start + next(
            i for i, code in enumerate(source) if text in code and "nn." not in code
        )
        found = [
            r
            for r in rows
            if r.location.startswith(f"test_import.py:{line}") and reason in r.reason
        ]
        assert found, f"no row for line {line} ({text}): {reason}"
        assert all(r.op.startswith("aten.") and r.remedy for r in found)
    assert str(caught.value).startswith(f"Bad: {len(rows)} unsupported nodes\n")


def test_nodes_behind_a_refused_one_are_examined_too() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 33, padding=16),
        nn.MaxPool2d(3, dilation=2),
        nn.Conv2d(4, 4, 33, padding=16),
    )
    with pytest.raises(UnsupportedModel) as caught:
        import_model(model, (torch.randn(2, 4, 8, 8),))
    assert [r.op for r in caught.value.rows][:2] == [
        "aten.conv2d.default",
        "aten.max_pool2d.default",
    ]
    assert {r.location.split("(")[-1].strip(")") for r in caught.value.rows} == {
        "module 1",
        "module 2",
        "module 3",
    }


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_a_model_that_cannot_be_exported_is_one_clear_error() -> None:
    with pytest.raises(
        UnsupportedModel, match=r"Branching: 1 unsupported node\n.*cannot be exported"
    ):
        import_model(Branching(), (torch.randn(2, 4),))


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("map", torch.arange(64.0).view(1, 1, 8, 8).repeat(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.map)


def test_a_constant_may_differ_from_pixel_to_pixel() -> None:
    model, x = Constant(), torch.randn(2, 4, 8, 8)
    graph = import_model(model, (x,))
    (got,) = graph.results({graph.inputs[0].name: x})
    assert torch.equal(got, model(x))


class Mixing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x.view(1, -1))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Mixing(), "mixes the samples"),
        (nn.Sequential(nn.BatchNorm2d(4, track_running_stats=False)), "running statistics"),
        (nn.Sequential(nn.Flatten(), nn.Unflatten(1, (16, 4, 4)), nn.Conv2d(16, 2, 1)), "reshape"),
    ],
)
def test_refusals(model: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        import_model(model, (torch.randn(2, 4, 8, 8),))


def test_channels_of_long_sequences_are_found() -> None:
    """Of an index of more elements than NumPy's iterators buffer, in a column of pixels."""
    index = np.arange(96 * 197).reshape(96, 197, 1)
    assert moves((96, 197, 1), index[32:64]) == (Chosen(tuple(range(32, 64))),)
    assert moves((96, 197, 1), index[:, 5:]) == (Bordered((-5, 0, 0, 0)),)
