"""The float graph: its verifier names what is wrong, and evaluation follows PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.ir.convolution import conv2d, conv_transpose2d
from sigbit.ir.floating import (
    Add,
    Conv2d,
    Flatten,
    FloatGraph,
    Linear,
    MaxPool2d,
    Node,
    Placeholder,
)
from sigbit.ir.integer import GraphError
from sigbit.ir.streaming import unroll

X = Placeholder(name="x", shape=(2, 6, 6))
SIDES = {"stride": (1, 1), "padding": (1, 1, 1, 1)}


def conv(**changes: object) -> Conv2d:
    fields = {
        "name": "c",
        "inputs": ("x",),
        "shape": (3, 6, 6),
        "weight": "w",
        "bias": "b",
        **SIDES,
    }
    return Conv2d(**(fields | changes))  # type: ignore[arg-type]


def graph(*nodes: Node, outputs: tuple[str, ...] = ("c",)) -> FloatGraph:
    parameters = {"w": torch.randn(3, 2, 3, 3), "b": torch.randn(3), "v": torch.randn(4, 108)}
    return FloatGraph("net", nodes, parameters, outputs)


def test_evaluates_as_pytorch() -> None:
    pool = MaxPool2d(
        name="p", inputs=("c",), shape=(3, 4, 4), kernel=(3, 3), stride=(2, 2), padding=(1, 1, 2, 2)
    )
    g = graph(X, conv(), pool, outputs=("p",))
    x = torch.randn(5, 2, 6, 6)
    y = torch.nn.functional.conv2d(x, g.parameters["w"], g.parameters["b"], padding=1)
    padded = torch.nn.functional.pad(y, (1, 2, 1, 2), value=-torch.inf)
    values = g.evaluate({"x": x})
    assert torch.equal(values["c"], y)
    assert torch.equal(values["p"], torch.nn.functional.max_pool2d(padded, 3, 2))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((X, X), "x: a second node of this name"),
        ((X, conv(inputs=("y",))), "c: reads 'y', which is not an earlier node"),
        ((X, conv(inputs=())), "c: Conv2d has 1 operands, not 0"),
        ((X, conv(weight="q")), "c: parameter 'q' does not exist"),
        ((X, conv(shape=(3, 5, 6))), r"c: gives \(3, 6, 6\), not \(3, 5, 6\)"),
        ((X, conv(shape=(3, 6, 6, 6))), "c: shape must have one to three sizes"),
        ((Placeholder(name="x", shape=()),), "x: shape must have one to three sizes"),
        ((Placeholder(name="x", shape=(2, 0, 6)),), "x: shape must have one to three sizes"),
        (
            (Placeholder(name="x", shape=(4, 6, 6)), conv()),
            "c: weights for 1 groups of 2 channels cannot read 4",
        ),
        (
            (X, conv(), Add(name="a", inputs=("c", "x"), shape=(3, 6, 6))),
            "a: operands .* differ in shape",
        ),
        (
            (X, Linear(name="c", inputs=("x",), shape=(4,), weight="v", bias=None)),
            "c: weights for 108 features",
        ),
        ((X, Flatten(name="f", inputs=("x",), shape=(72,))), "output 'c' is not a node"),
        ((X, Flatten(name="c", inputs=("x",), shape=(71,))), r"c: gives \(72,\), not \(71,\)"),
    ],
)
def test_verifier_names_the_fault(nodes: tuple[Node, ...], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        graph(*nodes)


def test_sizes_of_one_are_shapes() -> None:
    for shape in ((1,), (1, 1), (1, 1, 1)):
        assert graph(Placeholder(name="c", shape=shape)).inputs[0].shape == shape


def test_convolutions_with_row_major_operands_are_torchs() -> None:
    """With the same arguments, and without."""
    x, w, t = torch.randn(2, 4, 7, 6), torch.randn(6, 4, 3, 2), torch.randn(4, 3, 2, 3)
    assert torch.equal(conv2d(x, w), F.conv2d(x, w))
    assert torch.equal(conv_transpose2d(x, t), F.conv_transpose2d(x, t))
    bias, grouped = torch.randn(6), w[:, :2]
    some = (bias, (2, 1), (1, 3), (1, 2), 2)
    assert torch.equal(conv2d(x, grouped, *some), F.conv2d(x, grouped, *some))
    assert torch.equal(
        conv_transpose2d(x, t, (2, 1), (1, 2), 2),
        F.conv_transpose2d(x, t, stride=(2, 1), dilation=(1, 2), groups=2),
    )


def test_runs_with_states_follow_each_other() -> None:
    """Each gets one sample of every input, and the states that the one before has left."""

    def step(given: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        assert all(len(v) == 1 for v in given.values())
        total = given["state"] + given["x"] * given["y"]
        return {"total": total, "before": given["state"]}, {"state": total}

    inputs = {"x": torch.tensor([[1], [2], [3]]), "y": torch.tensor([[10], [1], [2]])}
    found = unroll(step, inputs, {"state": torch.tensor([[100]])})
    assert {name: v.flatten().tolist() for name, v in found.items()} == {
        "total": [110, 112, 118],
        "before": [100, 110, 112],
    }
