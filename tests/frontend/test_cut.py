"""Networks in two parts: what is behind a cut is what ONNX Runtime and torch compute there."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from sigbit.errors import UserError
from sigbit.frontend import UnsupportedModel, import_model, import_onnx
from sigbit.ir.floating import FloatGraph

Floats = NDArray[np.float32]
N = helper.make_node


def model_of(
    nodes: list[onnx.NodeProto],
    arrays: dict[str, Any],
    outputs: list[str],
    batch: int | str = 1,
    opset: int = 13,
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 6, 6])],
        [helper.make_empty_tensor_value_info(o) for o in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def head(rng: np.random.Generator, channels: int) -> dict[str, Any]:
    return {
        "w": rng.normal(0, 0.3, (channels, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(0, 0.3, channels).astype(np.float32),
    }


CONV = N("Conv", ["x", "w", "b"], ["f"], name="head", pads=[1, 1, 1, 1])


def detector(batch: int | str = 1, shape: tuple[int, ...] = (1, 7, -1)) -> ModelProto:
    """A convolution, boxes and classes of every pixel, those of the boxes that are kept."""
    arrays = head(np.random.default_rng(0), 7) | {
        "shape": np.array(shape),
        "parts": np.array([4, 3]),
        "size": np.array([6, 6, 3, 3], np.float32),
        "zero": np.array([0]),
        "two": np.array([2]),
        "four": np.array([4]),
        "most": np.array([5]),
        "overlap": np.array([0.4], np.float32),
        "least": np.array([0.4], np.float32),
    }
    nodes = [
        CONV,
        N("Reshape", ["f", "shape"], ["r"], name="rows"),
        N("Transpose", ["r"], ["t"], perm=[0, 2, 1], name="turned"),
        N("Split", ["t", "parts"], ["raw", "classes"], axis=2, name="split"),
        N("Sigmoid", ["raw"], ["gate"], name="gate"),
        N("Mul", ["gate", "size"], ["scaled"], name="scale"),
        N("Slice", ["scaled", "zero", "two", "two"], ["corner"], name="first"),
        N("Slice", ["scaled", "two", "four", "two"], ["extent"], name="second"),
        N("Add", ["corner", "extent"], ["far"], name="add"),
        N("Concat", ["corner", "far"], ["boxes"], axis=2, name="join"),
        N("Softmax", ["classes"], ["odds"], axis=2, name="odds"),
        N("Transpose", ["odds"], ["scores"], perm=[0, 2, 1], name="scores"),
        N("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["kept"]),
        N("TopK", ["odds", "two"], ["best", "which"], axis=2, name="top"),
    ]
    return model_of(nodes, arrays, ["kept", "best", "which", "boxes"], batch)


def samples(count: int = 5) -> Floats:
    return np.random.default_rng(1).normal(size=(count, 3, 6, 6)).astype(np.float32)


def compare(graph: FloatGraph, model: ModelProto, x: Floats) -> None:
    """Every result, sample by sample, with ONNX Runtime's."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    got = [v.numpy() for v in graph.results({graph.inputs[0].name: torch.from_numpy(x)})]
    for i in range(len(x)):
        for mine, want in zip(got, session.run(None, {"x": x[i : i + 1]}), strict=True):
            own = mine[i] if want.shape[:1] != (1,) else mine[i][None]
            rows = own[tuple(slice(n) for n in want.shape)]
            np.testing.assert_allclose(rows, want, rtol=1e-4, atol=1e-5)
            assert own.shape == want.shape or np.isnan(own[len(want) :]).all()


FUNCTIONS = ["Reshape", "Transpose", "Split", "Sigmoid", "Mul", "Slice", "Slice", "Add", "Concat",
             "Softmax", "Transpose", "NonMaxSuppression", "TopK"]  # fmt: skip


@pytest.mark.parametrize(
    ("cuts", "nodes", "first", "source"),
    [
        ((), ["Placeholder", "Conv2d", "FromImage"], 2, "split"),
        (("f",), ["Placeholder", "Conv2d"], 0, "rows"),
    ],
    ids=["found", "given"],
)
def test_a_detector(cuts: tuple[str, ...], nodes: list[str], first: int, source: str) -> None:
    """A cut that is found leaves the accelerator the pixels as rows, which is a matter of axes."""
    model = detector()
    graph = import_onnx(model, cuts=cuts)
    assert [type(n).__name__ for n in graph.nodes] == nodes
    assert [s.function for s in graph.host.steps] == FUNCTIONS[first:]
    assert graph.host.results == ("kept", "best", "which", "boxes")
    assert graph.host.steps[0].source == source
    compare(graph, model, samples())


def test_an_open_batch() -> None:
    """What is computed from shapes is that of one sample."""
    model = detector("n", (0, 7, -1))
    compare(import_onnx(model), model, samples())
    nodes = [
        CONV,
        N("Shape", ["f"], ["s"]),
        N("Gather", ["s", "zero"], ["batch"], axis=0),
        N("Concat", ["batch", "rest"], ["target"], axis=0),
        N("Reshape", ["f", "target"], ["r"]),
        N("Softmax", ["r"], ["y"], axis=1),
    ]
    arrays = head(np.random.default_rng(0), 4) | {
        "zero": np.array([0]),
        "rest": np.array([2, 2, 6, 6]),
    }
    model = model_of(nodes, arrays, ["y"], "n")
    graph = import_onnx(model)
    assert [s.function for s in graph.host.steps] == ["Reshape", "Softmax"]
    compare(graph, model, samples())


@pytest.mark.parametrize("opset", [9, 11, 13])
def test_earlier_operator_sets(opset: int) -> None:
    """Attributes that have become operands since."""
    old = opset < 11
    axes = {"axes": [2, 3]}
    shrink = (
        N("Slice", ["f"], ["s"], starts=[1, 0], ends=[5, 6], axes=[2, 3])
        if old
        else N("Slice", ["f", "low", "high", "sides"], ["s"])
    )
    clip = (
        N("Clip", ["s"], ["c"], min=-0.5, max=0.5)
        if old
        else N("Clip", ["s", "minus", "plus"], ["c"])
    )
    mean = N("ReduceMean", ["c"], ["m"], keepdims=1, **axes)
    rise = (
        N("Unsqueeze", ["m"], ["u"], axes=[1])
        if opset < 13
        else N("Unsqueeze", ["m", "one"], ["u"])
    )
    fall = (
        N("Squeeze", ["u"], ["q"], axes=[3, 4])
        if opset < 13
        else N("Squeeze", ["u", "last"], ["q"])
    )
    nodes = [CONV, shrink, clip, mean, rise, fall, N("Softmax", ["q"], ["y"], axis=2)]
    arrays = head(np.random.default_rng(0), 4) | {
        "low": np.array([1, 0]), "high": np.array([5, 6]), "sides": np.array([2, 3]),
        "minus": np.float32(-0.5), "plus": np.float32(0.5),
        "one": np.array([1]), "last": np.array([3, 4]),
    }  # fmt: skip
    used = {i for n in nodes for i in n.input}
    model = model_of(nodes, {k: v for k, v in arrays.items() if k in used}, ["y"], 1, opset)
    compare(import_onnx(model, cuts=["f"]), model, samples())


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        (["odd"], "computes no tensor of this name; nearest are odds"),
        (["x"], "computes no tensor of this name"),
        (["odds", "t"], "also reads raw, which is not: add --cut raw"),
        (["f", "kept", "odds", "boxes"], "--cut f: nothing behind it that is not before another"),
    ],
)
def test_a_cut_that_is_none(cuts: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        import_onnx(detector(), cuts=cuts)
    assert message in str(error.value)


def test_what_neither_has_is_refused() -> None:
    """A layer behind a cut, an operator that the host lacks, a batch of several."""
    arrays = head(np.random.default_rng(0), 3)
    nodes = [CONV, N("Relu", ["f"], ["r"]), N("Conv", ["r", "w", "b"], ["y"], name="second")]
    with pytest.raises(UnsupportedModel, match="behind the cut, and the host has no") as error:
        import_onnx(model_of(nodes, arrays, ["y"]), cuts=["f"])
    assert [(r.name, r.op) for r in error.value.rows] == [("second", "Conv")]
    nodes = [CONV, N("Det", ["f"], ["d"]), N("Relu", ["d"], ["y"])]
    with pytest.raises(UnsupportedModel, match="Det: not supported on this accelerator"):
        import_onnx(model_of(nodes, arrays, ["y"]))
    with pytest.raises(UnsupportedModel, match="batches of 4, the host one sample at a time"):
        import_onnx(detector(4, (4, 7, -1)), cuts=["f"])


def test_what_the_accelerator_has_stays_there() -> None:
    nodes = [CONV, N("Relu", ["f"], ["r"]), N("Sigmoid", ["r"], ["y"])]
    model = model_of(nodes, head(np.random.default_rng(0), 3), ["y"])
    assert not import_onnx(model).host
    assert [s.function for s in import_onnx(model, cuts=["r"]).host.steps] == ["Sigmoid"]


def test_softmax_before_a_tail() -> None:
    """The channels' softmax, which importers know themselves, and what follows it."""
    nodes = [
        CONV,
        N("Softmax", ["f"], ["odds"], axis=1),
        N("TopK", ["odds", "two"], ["best", "which"], axis=1),
    ]
    arrays = head(np.random.default_rng(0), 4) | {"two": np.array([2])}
    model = model_of(nodes, arrays, ["best", "odds", "which"])
    graph = import_onnx(model)
    assert [s.function for s in graph.host.steps] == ["Softmax", "TopK"]
    compare(graph, model, samples())


class Boxes(nn.Module):
    """Boxes, classes and their best ones, of every pixel and anchor."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 10, 3, padding=1)
        self.register_buffer("size", torch.tensor([2.0, 2.0, 3.0, 3.0]))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        f = torch.relu(self.head(x))
        n = f.shape[0]
        y = f.view(n, 2, 5, -1).permute(0, 1, 3, 2).reshape(n, -1, 5)
        centre, extent = (torch.sigmoid(y[..., :4]) * self.size + 0.5).split(2, dim=-1)
        odds = y[..., 4].softmax(-1)
        best, which = odds.topk(3)
        most, where = y.max(dim=1)
        corners = torch.cat([centre - extent / 2, centre + extent / 2], -1)
        return corners, best, which, most, where, y.mean(1).clamp(0, 0.4)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("cuts", [(), ("relu",)], ids=["found", "given"])
def test_a_module(batch: int, cuts: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model, x = Boxes().eval(), torch.randn(5, 3, 6, 6)
    graph = import_model(model, x[:batch], cuts=cuts)
    assert [type(n).__name__ for n in graph.nodes] == ["Placeholder", "Conv2d", "Relu"]
    with torch.no_grad():
        want = model(x)
    for got, w in zip(graph.results({graph.inputs[0].name: x}), want, strict=True):
        assert got.dtype == w.dtype
        torch.testing.assert_close(got, w)


class Mixing(nn.Module):
    """Something over the batch at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x).softmax(0)


def test_the_batch_is_left_alone() -> None:
    with pytest.raises(UnsupportedModel, match="dimension 0"):
        import_model(Mixing().eval(), torch.randn(2, 3, 6, 6))
    with pytest.raises(UnsupportedModel, match="dim=0, behind the cut"):
        import_model(Mixing().eval(), torch.randn(2, 3, 6, 6), cuts=["conv2d"])
    with pytest.raises(UserError, match="nearest are conv2d"):
        import_model(Mixing().eval(), torch.randn(2, 3, 6, 6), cuts=["conv2"])


class Named(nn.Module):
    """Several results of one tensor under names of their own, one of them called like a layer."""

    def __init__(self, *, cut: bool) -> None:
        super().__init__()
        self.fc, self.cut = nn.Linear(4, 3), cut

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.fc(x)
        more = {"two": y.topk(2, 1)[0]} if self.cut else {}
        return {"fc": y.softmax(1), "raw": y, "same": y, "best": y.argmax(1), **more}


@pytest.mark.parametrize("cut", [False, True])
def test_results_have_the_models_own_names(cut: bool) -> None:
    net = Named(cut=cut).double().eval()
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    want = net(x)
    graph = import_model(net, x)
    assert graph.host.results == tuple(want)
    assert graph.outputs == ("fc",) == graph.output_names
    for got, wanted in zip(graph.results({graph.inputs[0].name: x}), want.values(), strict=True):
        assert torch.allclose(got, wanted, rtol=1e-12, atol=0)
