"""The float graph: its verifier names what is wrong, and evaluation follows PyTorch."""

import pytest
import torch

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
