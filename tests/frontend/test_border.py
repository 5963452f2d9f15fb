"""What networks of other people contain that was once ignored, misread, or made the importer fail:
each has its right value, or the refusal that names it."""

import warnings
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from sigbit.frontend import UnsupportedModel, graph_from_exported, import_model, import_onnx
from sigbit.ir.floating import FloatGraph

Function = Callable[..., Tensor]


class Net(nn.Module):
    def __init__(self, function: Function, **buffers: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


torch.manual_seed(3)
IMAGE, VECTOR = torch.randn(2, 3, 4, 6) * 3, torch.randn(2, 6) * 3


def same(graph: FloatGraph, x: Tensor, want: Tensor | tuple[Tensor, ...]) -> None:
    wanted = want if isinstance(want, tuple) else (want,)
    for got, w in zip(graph.results({graph.inputs[0].name: x}), wanted, strict=True):
        assert got.shape == w.shape
        torch.testing.assert_close(got, w, rtol=1e-5, atol=1e-5)


RIGHT: dict[str, tuple[Tensor, Function, dict[str, Tensor]]] = {
    "rsub alpha": (IMAGE, lambda s, x: torch.rsub(x, 3.0, alpha=2), {}),
    "rsub tensor alpha": (
        IMAGE,
        lambda s, x: torch.rsub(x, s.b, alpha=2),
        {"b": torch.tensor(3.0)},
    ),
    "sub alpha": (IMAGE, lambda s, x: torch.sub(x, torch.sigmoid(x), alpha=2), {}),
    "clamp by tensor": (IMAGE, lambda s, x: torch.clamp(x, min=s.b), {"b": torch.tensor(0.5)}),
    "maximum": (IMAGE, lambda s, x: torch.maximum(x, s.b), {"b": torch.tensor(0.0)}),
    "minimum": (IMAGE, lambda s, x: torch.minimum(s.b, x), {"b": torch.tensor(1.0)}),
    "pow tensor": (IMAGE, lambda s, x: x**s.b, {"b": torch.tensor(2.0)}),
    "cube": (IMAGE, lambda s, x: x**3, {}),
    "float": (IMAGE, lambda s, x: F.relu(x.float()), {}),
    "to device": (IMAGE, lambda s, x: F.relu(x).to(x.device), {}),
    "to dtype": (IMAGE, lambda s, x: F.relu(x.to(x.dtype)).type_as(x), {}),
    "constant cast": (
        IMAGE,
        lambda s, x: F.conv2d(x, s.w.half().float()),
        {"w": torch.ones(2, 3, 3, 3) / 3},
    ),
    "mean with dtype": (IMAGE, lambda s, x: x.mean((2, 3), dtype=torch.float32), {}),
    "mean over channels": (IMAGE, lambda s, x: x.mean((1, 2, 3), keepdim=True), {}),
    "mean over large images": (
        torch.randn(2, 1, 40, 96),
        lambda s, x: x.mean((2, 3), keepdim=True),
        {},
    ),
    "maximum over large images": (torch.randn(2, 1, 40, 96), lambda s, x: x.amax((2, 3)), {}),
    "sum over large images": (torch.randn(2, 1, 64, 33), lambda s, x: x.sum((2, 3)), {}),
    "sum over features": (VECTOR, lambda s, x: x.sum(1, keepdim=True), {}),
    "amin": (IMAGE, lambda s, x: x.amin((2, 3)), {}),
    "addmm row": (
        VECTOR,
        lambda s, x: torch.addmm(s.b, x, s.w),
        {"b": torch.ones(1, 5), "w": torch.linspace(-1, 1, 30).view(6, 5)},
    ),
    "channels by a list": (IMAGE, lambda s, x: F.relu(x[:, [2, 0, 1]]), {}),
    "stack and flatten": (
        IMAGE,
        lambda s, x: torch.stack([x, F.relu(x)], 2).flatten(1, 2) * 2,
        {},
    ),
    "stack of steps": (VECTOR, lambda s, x: torch.stack([x, F.relu(x)], 1)[:, 1] * 2, {}),
    "mean over a prime": (torch.randn(2, 1, 37, 41), lambda s, x: x.mean((2, 3)), {}),
    "constants by shape": (IMAGE, lambda s, x: x + torch.ones_like(x), {}),
    "constant map": (IMAGE, lambda s, x: x * s.b, {"b": torch.full((1, 3, 4, 6), 0.5)}),
    "div floor": (IMAGE, lambda s, x: torch.div(x, 0.3, rounding_mode="floor"), {}),
    "div trunc": (IMAGE, lambda s, x: torch.div(x, -0.3, rounding_mode="trunc"), {}),
    "floor divide": (IMAGE, lambda s, x: x // 0.7, {}),
    "border of a value": (IMAGE, lambda s, x: F.pad(x, (1, 2, 0, 1), value=2.5), {}),
    "border of channels": (
        IMAGE,
        lambda s, x: torch.constant_pad_nd(x, (1, 1, 1, 1), -3.0),
        {},
    ),
    "pool that drops rows": (IMAGE, lambda s, x: F.max_pool2d(x, 3, 3), {}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right(name: str) -> None:
    x, function, buffers = RIGHT[name]
    model = Net(function, **buffers).eval()
    same(import_model(model, x), x, model(x))


REFUSED: dict[str, tuple[Tensor, Function, dict[str, Tensor], str]] = {
    "division by a tensor": (IMAGE, lambda s, x: x // F.relu(x), {}, "by a computed tensor"),
    "an empty slice": (IMAGE, lambda s, x: x[:, 1:1], {}, "without elements"),
    "clamp by many": (
        IMAGE, lambda s, x: torch.clamp(x, min=s.b), {"b": torch.zeros(3, 1, 1)},
        "argument 'min' is 3 numbers, not one",
    ),
    "mean of all": (IMAGE, lambda s, x: x.mean(), {}, "reduction over dimensions None"),
    "sum of all": (IMAGE, lambda s, x: x.sum(), {}, "reduction over dimensions None"),
    "mean in double": (
        IMAGE, lambda s, x: x.mean((2, 3), dtype=torch.float64), {}, "float64",
    ),
    "addmm matrix": (
        VECTOR, lambda s, x: torch.addmm(s.b, x, s.w),
        {"b": torch.ones(2, 5), "w": torch.ones(6, 5)}, "a matrix of shape .* added",
    ),
    "softmax of a scalar": (
        VECTOR, lambda s, x: x.mean().softmax(0), {}, "reduction over dimensions None",
    ),
    "tensor_split by a tensor": (
        IMAGE, lambda s, x: torch.tensor_split(x, s.b, 1)[0], {"b": torch.tensor([1, 2])},
        "numbers that the network computes",
    ),
    "norm times norm": (
        VECTOR, lambda s, x: x.norm(dim=1) * (x + 1).norm(dim=1), {}, "not supported",
    ),
    "prod times prod": (VECTOR, lambda s, x: x.prod(1) * (x + 1).prod(1), {}, "not supported"),
    "int cast": (IMAGE, lambda s, x: x.int().float(), {}, "a cast from torch.float32 to"),
    "bool cast": (IMAGE, lambda s, x: x.bool().float(), {}, "a cast from torch.float32 to"),
    "half cast": (IMAGE, lambda s, x: x.half().float(), {}, "a cast from torch.float32 to"),
    "double cast": (IMAGE, lambda s, x: F.relu(x.double()), {}, "a cast from torch.float32 to"),
    "batch norm of the batch": (
        IMAGE,
        lambda s, x: F.batch_norm(x, s.m, s.v, training=True),
        {"m": torch.zeros(3), "v": torch.ones(3)},
        "training mode",
    ),
    "batch 0": (torch.zeros(0, 3, 4, 4), lambda s, x: F.relu(x), {}, "without elements"),
    "steps of nothing": (IMAGE, lambda s, x: F.relu(x[:, :, 2:2]), {}, "without elements"),
    "half precision": (IMAGE.half(), lambda s, x: F.relu(x), {}, r"float16: .*model\.float"),
    "elu input_scale": (
        IMAGE, lambda s, x: torch.ops.aten.elu(x, 1.0, 1.0, 2.0), {}, "input_scale=2",
    ),
    "rounded to decimals": (
        IMAGE, lambda s, x: torch.round(x, decimals=2), {}, "argument 'decimals' is 2",
    ),
    "moved by what is computed": (
        IMAGE, lambda s, x: x[:, F.relu(x[0, 0, 0]).long()], {}, "mixes the samples",
    ),
    "batch among steps": (
        torch.randn(2, 2, 6), lambda s, x: x + x.mean(1), {}, "mixes the samples",
    ),
    "batch among lines": (
        torch.randn(2, 3, 2, 3), lambda s, x: x.mean((2, 3)) * x, {}, "mixes the samples",
    ),
    "maximum of the batch": (
        torch.randn(2, 2, 6), lambda s, x: torch.maximum(x.mean(1), x), {}, "mixes the samples",
    ),
    "batch among heads": (
        torch.randn(2, 2, 4, 4), lambda s, x: x.mean(1) @ x, {}, "mixes the samples",
    ),
    "attention to the batch": (
        torch.randn(2, 2, 4, 4),
        lambda s, x: F.scaled_dot_product_attention(x, x.mean(1), x), {}, "mixes the samples",
    ),
    "pool of an image without a batch": (
        torch.randn(8, 4, 3), lambda s, x: F.adaptive_avg_pool2d(x, (5, None)), {},
        "image without a batch",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    x, function, buffers, reason = REFUSED[name]
    with pytest.raises(UnsupportedModel, match=reason):
        import_model(Net(function, **buffers).eval(), x)


def test_torch_says_nothing_itself(capfd) -> None:
    """The graph that it could not trace, and its log, are not shown before the refusal."""

    def function(s: Net, x: Tensor) -> Tensor:
        return x + torch.ones(2, int(x.sum()))

    with pytest.raises(UnsupportedModel, match="cannot be exported"):
        import_model(Net(function).eval(), VECTOR)
    assert capfd.readouterr() == ("", "")


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Hardswish(),
            nn.ConvTranspose2d(8, 6, 2, 2), nn.SiLU(), nn.Upsample(scale_factor=2),
            nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).softmax(1)


def test_programs_of_core_operators() -> None:
    """``run_decompositions()`` reduces convolutions to ``aten.convolution``, for one."""
    model, x = Body().eval(), torch.randn(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.export's internals
        core = torch.export.export(model, (x,)).run_decompositions()
    assert torch.ops.aten.convolution.default in {n.target for n in core.graph.nodes}
    same(graph_from_exported(core), x, model(x))


def test_programs_in_training_mode() -> None:
    exported = torch.export.export(Body().train(), (torch.randn(2, 3, 8, 8),))
    with pytest.raises(UnsupportedModel, match=r"training mode.*model\.eval\(\)"):
        graph_from_exported(exported)


class Counting(nn.Module):
    """A buffer that is no tensor of one sample, and changes."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        return self.layer(x)


@pytest.mark.parametrize("shape", [(), (4,), (3, 4)])
def test_buffers_that_are_no_states(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedModel, match="count: buffer: forward overwrites it") as caught:
        import_model(Counting(*shape).eval(), torch.randn(1, 4))
    assert [row.op for row in caught.value.rows] == ["buffer"]


class Attention(nn.Module):
    """The parts of a vision transformer: patches, a class token, positions, attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(torch.randn(1, 5, 8))
        self.blocks = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False
        )
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patches(x).reshape(x.shape[0], 8, 4).permute(0, 2, 1)
        y = torch.cat([self.token.expand(x.shape[0], -1, -1), y], 1) + self.positions
        y, _ = self.attention(y, y, y, need_weights=False)
        return self.head(self.blocks(y)[:, 0])


def test_vision_transformers_compute_the_same() -> None:
    torch.manual_seed(0)
    model, x = Attention().eval(), torch.randn(2, 3, 8, 8)
    graph = import_model(model, x)
    with torch.no_grad():
        (got,) = graph.results({graph.inputs[0].name: x})
        torch.testing.assert_close(got, model(x), rtol=1e-4, atol=1e-5)


def proto(
    nodes: list[onnx.NodeProto],
    shape: tuple[int | str, ...],
    opset: int = 17,
    **constants: object,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op: str, *inputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, ["x", *inputs], ["y"], **attributes)


def same_as_reference(model: onnx.ModelProto, *shape: int) -> None:
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    (want,) = ReferenceEvaluator(model).run(None, {"x": x})
    same(import_onnx(model), torch.from_numpy(x), torch.from_numpy(np.asarray(want)))


def test_clip_without_bounds() -> None:
    same_as_reference(proto([node("Clip")], (2, 4)), 2, 4)


def test_open_batch_written_as_minus_one() -> None:
    model = proto([node("Relu")], (-1, 3, 4, 4))
    assert import_onnx(model).inputs[0].shape == (3, 4, 4)


def old_norm(opset: int, **attributes: object) -> onnx.ModelProto:
    constants = {k: np.linspace(0.5, 1.5, 3, dtype=np.float32) for k in "sbmv"}
    norm = node("BatchNormalization", *"sbmv", **attributes)
    return proto([norm], (2, 3, 4, 4), opset, **constants)


def test_old_operators_say_that_they_are_not_in_training() -> None:
    x = torch.randn(2, 3, 4, 4)
    (want,) = import_onnx(old_norm(9)).results({"x": x})
    assert torch.equal(import_onnx(old_norm(6, is_test=1)).results({"x": x})[0], want)
    for model in (old_norm(6), proto([node("Dropout")], (2, 4), 6)):
        with pytest.raises(UnsupportedModel, match=r"statistics of the batch|stays active"):
            import_onnx(model)


@pytest.mark.parametrize("axis", [None, 1])
def test_old_operators_broadcast_from_an_axis_on(axis: int | None) -> None:
    b = np.linspace(1, 2, 3, dtype=np.float32)
    given = {"axis": 1} if axis else {}
    model = proto([node("Add", "b", broadcast=1, **given)], (2, 3, 4, 4), 6, b=b if axis else b[:1])
    x = torch.randn(2, 3, 4, 4)
    bias = torch.from_numpy(b)[:, None, None] if axis else 1.0
    torch.testing.assert_close(import_onnx(model).results({"x": x})[0], x + bias)


@pytest.mark.parametrize("transform", ["asymmetric", "half_pixel", "half_pixel_symmetric"])
@pytest.mark.parametrize("nearest", ["floor", "round_prefer_floor", "ceil"])
@pytest.mark.parametrize("scales", [(2.6, 1.0), (0.4, 0.5), (2.0, 0.3), (1.5, 2.5)])
def test_resize_by_scales_that_do_not_divide(
    scales: tuple[float, float], nearest: str, transform: str
) -> None:
    """Positions come from the scale given, not from the sizes."""
    options = {"coordinate_transformation_mode": transform, "nearest_mode": nearest}
    array = np.array([1, 1, *scales], np.float32)
    model = proto([node("Resize", "", "s", mode="nearest", **options)], (2, 3, 7, 6), s=array)
    try:
        same_as_reference(model, 2, 3, 7, 6)
    except UnsupportedModel as error:
        assert "repeats pixels unequally" in str(error)  # noqa: PT017  # a refusal is right, too


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            proto([node("Conv", "w", pads=[1, 1])], (2, 3), w=np.ones((2, 3, 3), np.float32)),
            "works on a tensor with 2 axes",
        ),
        (
            proto(
                [helper.make_node("Dropout", ["x"], ["a", "m"]), helper.make_node(
                    "Mul", ["a", "m"], ["y"])],
                (2, 4),
            ),
            r"its result 1 \('m'\) is read",
        ),
        (
            proto([node("ReduceMean", axes=[0])], (2, 3, 4, 4)),
            "reduces over the batch",
        ),
        (
            proto([node("Cast", to=TensorProto.INT32)], (2, 4)),
            "a cast of a computed tensor to INT32",
        ),
    ],
)  # fmt: skip
def test_onnx_refused(model: onnx.ModelProto, reason: str) -> None:
    with pytest.raises(UnsupportedModel, match=reason):
        import_onnx(model)
