"""Forms of operations, imported from PyTorch and from ONNX: the float graph computes what torch
does."""

import io
import warnings
from collections.abc import Callable

import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from examples import examples
from sigbit.frontend import UnsupportedModel, import_model, import_onnx
from sigbit.ir.floating import FloatGraph, FromImage, Mosaic, Pad, ToImage
from sigbit.ir.integer import Axes
from sigbit.quant.plan.fusion import fuse

Function = Callable[..., Tensor]


class Net(nn.Module):
    """A function of the input and of layers."""

    def __init__(self, function: Function, *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)
        for layer in layers:
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                nn.init.normal_(layer.running_mean)
                nn.init.uniform_(layer.running_var, 0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.layers)


def conv(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1)


IMAGE, LAST, SIGNAL, STEPS = (2, 4, 8, 8), (2, 8, 6, 3), (2, 3, 20), (2, 6, 5)
CHANNELS = (torch.arange(8) % 3 == 0).view(8, 1, 1)

FORMS: dict[str, tuple[tuple[int, ...], Net]] = {
    "linear of steps": (
        STEPS, Net(lambda x, a, b: b(F.relu(a(x))), nn.Linear(5, 7), nn.Linear(7, 3)),
    ),
    "linear of steps, flattened": (
        STEPS, Net(lambda x, a, b: b(F.gelu(a(x)).flatten(1)), nn.Linear(5, 7), nn.Linear(42, 3)),
    ),
    "mean of steps": (
        STEPS, Net(lambda x, a, b: b(a(x).mean(1)), nn.Linear(5, 7), nn.Linear(7, 3)),
    ),
    "residual of steps": (
        STEPS, Net(lambda x, a, b: x + b(F.relu(a(x))), nn.Linear(5, 7), nn.Linear(7, 5)),
    ),
    "linear of lines": (
        (2, 6, 4, 5), Net(lambda x, a: F.relu(a(x)), nn.Linear(5, 7)),
    ),
    "tokens of patches": (
        IMAGE,
        Net(lambda x, c, a: a(c(x).flatten(2).transpose(1, 2)).mean(1),
            nn.Conv2d(4, 8, 4, 4), nn.Linear(8, 10)),
    ),
    "a mask of pixels": (IMAGE, Net(lambda x: torch.where(torch.eye(8) > 0, x, 0.5))),
    "conv1d": (
        SIGNAL,
        Net(lambda x, a, n, b: b(F.max_pool1d(F.relu(n(a(x))), 2)).mean(2),
            nn.Conv1d(3, 8, 3, padding=1, stride=2), nn.BatchNorm1d(8),
            nn.Conv1d(8, 4, 3, dilation=2)),
    ),
    "causal conv1d": (
        SIGNAL,
        Net(lambda x, a, b: b(F.relu(a(F.pad(x, (4, 0))))),
            nn.Conv1d(3, 8, 3, dilation=2), nn.Conv1d(8, 4, 1, groups=4)),
    ),
    "cut off behind": (
        SIGNAL,
        Net(lambda x, a, b: b(F.relu(a(x)[:, :, :-4])),
            nn.Conv1d(3, 8, 3, dilation=2, padding=4), nn.Conv1d(8, 4, 3, padding=2)),
    ),
    "conv_transpose1d": (
        SIGNAL,
        Net(lambda x, a, b: b(F.avg_pool1d(a(x), 3, 2, 1)),
            nn.ConvTranspose1d(3, 8, 4, 2, 1), nn.Conv1d(8, 4, 1)),
    ),
    "conv1d of turned steps": (
        STEPS, Net(lambda x, a: a(x.transpose(1, 2)).transpose(1, 2), nn.Conv1d(5, 8, 3)),
    ),
    "conv1d into a recurrence": (
        SIGNAL,
        Net(lambda x, a, r: r(a(x).transpose(1, 2))[0][:, -1],
            nn.Conv1d(3, 6, 3, stride=3), nn.LSTM(6, 4, batch_first=True)),
    ),
    "channels last": (
        LAST,
        Net(lambda x, a: a(((x - 0.4) * torch.tensor([1.0, 2.0, 3.0])).permute(0, 3, 1, 2))
            .relu().permute(0, 2, 3, 1), conv(3, 8)),
    ),
    "channels last, flattened": (
        LAST,
        Net(lambda x, a, b: b(a(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).reshape(-1, 384) * 0.5),
            conv(3, 8), nn.Linear(384, 4)),
    ),
    "linear between permutations": (
        IMAGE,
        Net(lambda x, a, b: x + b(a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
            nn.Conv2d(4, 4, 7, padding=3, groups=4), nn.Linear(4, 4)),
    ),
    "average over a prime": ((2, 4, 37, 41), Net(lambda x, a: a(x).mean((2, 3)), conv(4, 8))),
    "maximum over a prime": ((2, 4, 37, 3), Net(lambda x, a: a(x).amax((2, 3)), conv(4, 8))),
    "linear to image": (
        (2, 10),
        Net(lambda x, a, b: b(F.relu(a(x)).view(-1, 8, 4, 4)), nn.Linear(10, 128), conv(8, 4)),
    ),
    "vector as pixel": (
        (2, 10), Net(lambda x, b: b(x.view(-1, 10, 1, 1)), nn.ConvTranspose2d(10, 4, 4)),
    ),
    "product over pixels": (IMAGE, Net(lambda x, a, b: a(x) * b(x), conv(4, 8), conv(4, 1))),
    "sum over channels": (
        IMAGE, Net(lambda x, a, b: a(x) + b(x).mean((2, 3), keepdim=True), conv(4, 8), conv(4, 8)),
    ),
    "sum over lines": (
        IMAGE, Net(lambda x, a, b: a(x) + b(x).mean(3, keepdim=True), conv(4, 8), conv(4, 8)),
    ),
    "slopes of channels": (IMAGE, Net(lambda x, a, p: p(a(x)), conv(4, 8), nn.PReLU(8))),
    "larger of channels": (
        IMAGE, Net(lambda x, a: torch.maximum(a(x), torch.arange(8.0).view(8, 1, 1)), conv(4, 8)),
    ),
    "larger of tensors": (
        IMAGE, Net(lambda x, a, b: torch.maximum(a(x), b(x)), conv(4, 8), conv(4, 8)),
    ),
    "smaller of tensors": (
        IMAGE, Net(lambda x, a, b: torch.minimum(a(x), b(x)), conv(4, 8), conv(4, 8)),
    ),
    "chosen by channel": (
        IMAGE, Net(lambda x, a, b: torch.where(CHANNELS, a(x), b(x)), conv(4, 8), conv(4, 8)),
    ),
    "filled by channel": (
        IMAGE, Net(lambda x, a: a(x).masked_fill(CHANNELS, 0.5), conv(4, 8)),
    ),
    "gated channels": (IMAGE, Net(lambda x, a: F.glu(a(x), 1), conv(4, 8))),
    "gated features": (STEPS, Net(lambda x, a: F.glu(a(x), -1), nn.Linear(5, 8))),
    "side by side": (
        IMAGE,
        Net(lambda x, a, b: torch.cat([a(x), F.max_pool2d(b(x), (2, 1))], 2),
            conv(4, 8), conv(4, 8)),
    ),
    "steps behind steps": (
        STEPS, Net(lambda x, a, b: torch.cat([a(x), b(x)], 1), nn.Linear(5, 7), nn.Linear(5, 7)),
    ),
    "steps of vectors": (
        (2, 5), Net(lambda x, a, b: b(torch.stack([a(x), x], 1)), nn.Linear(5, 5), nn.Linear(5, 3)),
    ),
    "channels in another order": (IMAGE, Net(lambda x, a: a(x[:, [2, 0, 1, 3]]), conv(4, 8))),
    "a fixed batch": (
        IMAGE, Net(lambda x, a, b: b(a(x).view(2, 512)), conv(4, 8), nn.Linear(512, 4)),
    ),
    "between values": (
        IMAGE,
        Net(lambda x, a: torch.true_divide(torch.lerp(a(x), F.relu(a(x)), 0.3), 3), conv(4, 8)),
    ),
    "positive numbers": (
        IMAGE,
        Net(lambda x, a: 2 / (F.softplus(a(x)) + 1).sqrt() + (F.relu(a(x)) + 1).log(), conv(4, 8)),
    ),
}  # fmt: skip
"""Shape of the input, and a network."""


def difference(graph: FloatGraph, net: Net, x: Tensor) -> float:
    """The largest one of the results, relative to the largest result; the graph has a plan."""
    fuse(graph)
    with torch.no_grad():
        (got,), want = graph.results({graph.inputs[0].name: x}), net(x)
    assert got.shape == want.shape
    return float((got - want).abs().max() / want.abs().max())


def exported(net: Net, x: Tensor) -> onnx.ModelProto:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's older exporter needs nothing else installed
        torch.onnx.export(net, (x,), file, dynamo=False, input_names=["x"])
    return onnx.load_from_string(file.getvalue())


@pytest.mark.parametrize("name", FORMS)
def test_torch(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    shape, net = FORMS[name]
    x = torch.randn(shape)
    assert difference(import_model(net.eval(), (x,)), net, x) < 1e-5


@pytest.mark.parametrize("name", FORMS)
def test_onnx(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    shape, net = FORMS[name]
    x = torch.randn(shape)
    assert difference(import_onnx(exported(net.eval(), x)), net, x) < 1e-5


SIDES = st.integers(0, 5)


@settings(max_examples=examples(25), deadline=None)
@given(
    mode=st.sampled_from(["reflect", "replicate", "circular", "constant"]),
    sides=st.tuples(SIDES, SIDES, SIDES, SIDES),
    crop=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_borders(mode: str, sides: tuple[int, ...], crop: tuple[int, int]) -> None:
    """Whatever border around whatever was cut off."""
    y, x = crop
    layer = nn.Conv2d(2, 3, 3, padding=1)
    net = Net(lambda v, c: c(F.pad(v.relu()[:, :, y:, x:], list(sides), mode=mode)), layer)
    data = torch.randn(2, 2, 8, 9)
    assert difference(import_model(net.eval(), (data,)), net, data) < 1e-5


@settings(max_examples=examples(25), deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    ceil=st.booleans(),
    counted=st.booleans(),
)
def test_averages(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    ceil: bool,
    counted: bool,
) -> None:
    """Windows that count different numbers of pixels, from both importers."""
    sides = (min(padding[0], kernel[0] // 2), min(padding[1], kernel[1] // 2))
    net = Net(lambda x, p: p(x.relu()), nn.AvgPool2d(kernel, stride, sides, ceil, counted)).eval()
    x = torch.randn(2, 2, 7, 9)
    assert difference(import_model(net, (x,)), net, x) < 1e-5
    assert difference(import_onnx(exported(net, x)), net, x) < 1e-5


@settings(max_examples=examples(25), deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    want=st.tuples(st.integers(1, 27), st.integers(1, 27)),
    corners=st.booleans(),
)
def test_interpolation(size: tuple[int, int], want: tuple[int, int], corners: bool) -> None:
    net = Net(lambda x: F.interpolate(x.relu(), want, mode="bilinear", align_corners=corners))
    x = torch.randn(2, 2, *size)
    assert difference(import_model(net, (x,)), net, x) < 1e-5


@settings(max_examples=examples(20), deadline=None)
@given(factor=st.integers(2, 4), size=st.integers(1, 3), channels=st.permutations(range(4)))
def test_shuffles(factor: int, size: int, channels: list[int]) -> None:
    def shuffled(x: Tensor) -> Tensor:
        deep = F.pixel_unshuffle(x.relu(), factor)
        return F.pixel_unshuffle(F.pixel_shuffle(deep.relu(), factor)[:, channels], factor)

    net, x = Net(shuffled), torch.randn(2, 4, factor * size, factor * size)
    assert difference(import_model(net, (x,)), net, x) < 1e-6


@settings(max_examples=examples(20), deadline=None)
@given(n=st.integers(1, 17), m=st.integers(1, 17), largest=st.booleans())
def test_adaptive_pooling(n: int, m: int, largest: bool) -> None:
    pool = F.adaptive_max_pool2d if largest else F.adaptive_avg_pool2d
    net, x = Net(lambda x: pool(x.relu(), (m, 3))), torch.randn(2, 2, n, 6)
    try:
        graph = import_model(net, (x,))
    except UnsupportedModel as error:
        assert "kinds" in error.rows[0].reason  # noqa: PT017
        return
    assert difference(graph, net, x) < 1e-5


def test_inputs_and_outputs_have_the_users_axes() -> None:
    shape, net = FORMS["channels last"]
    graph = import_model(net.eval(), (torch.randn(shape),))
    (image,) = [n for n in graph.nodes if isinstance(n, ToImage)]
    (given_back,) = [n for n in graph.nodes if isinstance(n, FromImage)]
    assert (image.axes, given_back.axes) == (Axes.LINES, Axes.LINES)
    assert graph.inputs[0].shape == shape[1:]
    assert graph[graph.outputs[0]].shape == (8, 6, 8)


def test_what_was_cut_off_does_not_come_back() -> None:
    """A border behind a crop is one of zeros."""
    net = Net(lambda x: F.pad(x.relu()[:, :, 2:], (0, 0, 2, 0)) + x.relu())
    graph = import_model(net, (torch.randn(2, 3, 6, 6),))
    assert [n.padding for n in graph.nodes if isinstance(n, Pad)] == [(-2, 0, 0, 0), (2, 0, 0, 0)]
    plan = fuse(graph)
    assert any(p.name.endswith("pad") for p in plan.layers), "the crop is stored"


def test_few_pieces() -> None:
    """A border of the image's own pixels is a mosaic of the image and of lines and columns."""
    net = Net(lambda x: F.pad(x.relu(), (1, 1, 1, 1), mode="reflect"))
    graph = import_model(net, (torch.randn(2, 3, 6, 6),))
    assert [len(n.inputs) for n in graph.nodes if isinstance(n, Mosaic)] == [3, 3]


REFUSED: dict[str, tuple[tuple[int, ...], Net, str]] = {
    "corners of many pixels": (
        IMAGE,
        Net(lambda x: F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=True)),
        "align_corners=False",
    ),
    "bicubic": (
        IMAGE, Net(lambda x: F.interpolate(x, scale_factor=2, mode="bicubic")), "bilinear",
    ),
    "exchanged lines and columns": (
        IMAGE,
        Net(lambda x, a: a(x.relu() + x.relu().transpose(2, 3)), conv(4, 8)),
        "keep [batch, C, H, W]",
    ),
    "rounded division": (IMAGE, Net(lambda x: x // (x.relu() + 1)), "round by a constant"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_has_a_remedy(name: str) -> None:
    shape, net, remedy = REFUSED[name]
    with pytest.raises(UnsupportedModel) as caught:
        import_model(net, (torch.randn(shape),))
    (row,) = caught.value.rows
    assert remedy in row.remedy
