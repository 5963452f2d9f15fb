"""Values and shapes of the float graph's nodes, against their definitions written out in NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sigbit.ir import nodes as n
from sigbit.ir.evaluation import apply
from sigbit.ir.shapes import expected_shape
from sigbit_hw.arch.axes import Axes

Arrays = list[np.ndarray]
A = (6, 4, 5)
"""Shape of the first operand, unless stated."""


def plain(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Small integers, for which every result is exact."""
    return np.random.default_rng(seed).integers(-4, 5, (2, *shape)).astype(np.float64)


def node(kind: type[n.Node], shape: tuple[int, ...] = A, **fields: Any) -> n.Node:
    return kind(name="y", inputs=("x",), shape=shape, **fields)


def padded(x: np.ndarray, padding: n.Padding, value: float = 0) -> np.ndarray:
    top, left, bottom, right = padding
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def windows(x: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int]) -> np.ndarray:
    """``[N, C, H, W, kh, kw]``."""
    view = np.lib.stride_tricks.sliding_window_view(x, kernel, (2, 3))
    return view[:, :, :: stride[0], :: stride[1]]


def blocks_to_space(x: np.ndarray) -> np.ndarray:
    batch, channels, height, width = x.shape
    y = np.zeros((batch, channels // 6, height * 2, width * 3))
    for c, i, j in np.ndindex(channels // 6, 2, 3):
        y[:, c, i::2, j::3] = x[:, 6 * c + 3 * i + j]
    return y


def mosaic(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.concatenate([right, left], 3)


SIDES = (1, 2, 0, 1)
Case = tuple[n.Node, list[tuple[int, ...]], Callable[..., np.ndarray]]
CASES: dict[str, Case] = {
    "relu": (node(n.Relu), [A], lambda x: np.maximum(x, 0)),
    "relu with a limit": (node(n.Relu, limit=2.0), [A], lambda x: x.clip(0, 2)),
    "unary": (node(n.Unary, function="abs"), [A], np.abs),
    "unary with parameters": (
        node(n.Unary, function="clamp", parameters=(-1.0, 2.0)), [A], lambda x: x.clip(-1, 2),
    ),
    "gelu of tanh": (
        node(n.Unary, function="gelu_tanh"), [A],
        lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    ),
    "log between": (
        node(n.Unary, function="log_between", parameters=(0.5, 3.0)), [A],
        lambda x: np.log(x.clip(0.5, 3) / 0.5),
    ),
    "inverse root": (
        node(n.Unary, function="inverse_root", parameters=(0.5,)), [A],
        lambda x: 1 / np.sqrt(np.maximum(x, 0) + 0.5),
    ),
    "add": (node(n.Add), [A, A], np.add),
    "multiply": (node(n.Multiply), [A, A], np.multiply),
    "multiply by channels": (
        node(n.Multiply), [A, (6,)], lambda x, y: x * y[:, :, None, None],
    ),
    "multiply by an image of one pixel": (node(n.Multiply), [A, (6, 1, 1)], np.multiply),
    "multiply vectors": (node(n.Multiply, (6,)), [(6,), (6,)], np.multiply),
    "matrix product": (
        node(n.MatMul, (6, 4, 5), factor=0.5), [(3, 4, 5), (3, 2, 3)],
        lambda x, y: 0.5 * np.einsum("bchw,bcn->bnhw", x, y.reshape(2, 3, 6)),
    ),
    "transpose": (
        node(n.Transpose, (20, 1, 6)), [A],
        lambda x: x.reshape(2, 6, 20).transpose(0, 2, 1)[:, :, None],
    ),
    "sums of groups": (
        node(n.GroupSum, (6, 4, 5), groups=2, copies=3, factor=0.5), [A],
        lambda x: np.repeat(x.reshape(2, 2, 3, 4, 5).sum(2) * 0.5, 3, 1),
    ),
    "below the maximum": (
        node(n.BelowMax, groups=2), [A],
        lambda x: (x.reshape(2, 2, 3, 4, 5).max(2, keepdims=True) - x.reshape(2, 2, 3, 4, 5))
        .reshape(x.shape),
    ),
    "concat": (node(n.Concat, (8, 4, 5)), [A, (2, 4, 5)], lambda x, y: np.concatenate([x, y], 1)),
    "channels": (node(n.Channels, (3, 4, 5), index=(5, 0, 0)), [A], lambda x: x[:, [5, 0, 0]]),
    "pad": (node(n.Pad, (6, 5, 8), padding=SIDES), [A], lambda x: padded(x, SIDES)),
    "upsample": (
        node(n.Upsample, (6, 8, 15), factor=(2, 3)), [A], lambda x: x.repeat(2, 2).repeat(3, 3),
    ),
    "depth to space": (
        node(n.DepthToSpace, (1, 8, 15), factor=(2, 3)), [A], blocks_to_space,
    ),
    "mosaic": (
        node(n.Mosaic, (6, 4, 8), places=((0, 3), (0, 0))), [A, (6, 4, 3)], mosaic,
    ),
    "maxima": (
        node(n.MaxPool2d, (6, 2, 6), kernel=(3, 2), stride=(2, 1), padding=(1, 1, 0, 1)), [A],
        lambda x: windows(padded(x, (1, 1, 0, 1), -np.inf), (3, 2), (2, 1)).max((4, 5)),
    ),
    "averages": (
        node(n.AvgPool2d, (6, 2, 6), kernel=(3, 2), stride=(2, 1), padding=(1, 1, 0, 1),
             divisor=4), [A],
        lambda x: windows(padded(x, (1, 1, 0, 1)), (3, 2), (2, 1)).sum((4, 5)) / 4,
    ),
    "interpolation": (
        node(n.Interpolate, (6, 8, 9), lines=(1, 2), columns=(1, 3, 1), factor=(2, 2),
             stride=(1, 1), padding=(1, 1, 1, 1), divisor=4), [A],
        lambda x: interpolated(x),
    ),
    "flatten": (node(n.Flatten, (120,)), [A], lambda x: x.reshape(2, -1)),
    "to an image": (
        node(n.ToImage, (6, 1, 1), axes=Axes.FEATURES), [(6,)], lambda x: x[:, :, None, None],
    ),
    "from an image": (
        node(n.FromImage, (5, 6), axes=Axes.SEQUENCE), [(6, 5, 1)],
        lambda x: x[..., 0].transpose(0, 2, 1),
    ),
}  # fmt: skip


def interpolated(x: np.ndarray) -> np.ndarray:
    spread = np.zeros((2, 6, 7, 9))
    spread[:, :, ::2, ::2] = x
    kernel = np.outer([1, 2], [1, 3, 1]) / 4
    return np.asarray((windows(padded(spread, (1, 1, 1, 1)), (2, 3), (1, 1)) * kernel).sum((4, 5)))


@pytest.mark.parametrize("name", CASES)
def test_values_and_shapes(name: str) -> None:
    one, shapes, definition = CASES[name]
    arrays = [plain(shape, seed) for seed, shape in enumerate(shapes)]
    expected = definition(*arrays)
    assert expected.shape == (2, *one.shape)
    got = apply(one, [torch.from_numpy(array) for array in arrays], {})
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-12)
    assert expected_shape(one, shapes, {}) == one.shape


def test_space_to_depth_undoes_depth_to_space() -> None:
    x = plain((1, 8, 15), 0)
    back = node(n.SpaceToDepth, A, factor=(2, 3))
    got = apply(back, [torch.from_numpy(x)], {}).numpy()
    assert (blocks_to_space(got) == x).all()
    assert expected_shape(back, [(1, 8, 15)], {}) == A


def test_a_mask_of_a_maximum() -> None:
    """What does not count may be above the maximum, and is then 0 below it."""
    x = torch.tensor([1.0, 9.0, 4.0, 2.0]).view(1, 4, 1, 1)
    keep = {"keep": torch.tensor([1.0, 0.0, 1.0, 1.0]).view(4, 1, 1)}
    one = node(n.BelowMax, (4, 1, 1), groups=1, keep="keep")
    assert apply(one, [x], keep).flatten().tolist() == [3.0, 0.0, 0.0, 2.0]


def test_one_sample_of_several() -> None:
    """Constants, which have a batch of one, are concatenated and combined with every sample."""
    fixed = node(n.Constant, (1, 4, 5), value="v")
    value = torch.arange(20.0).view(1, 4, 5)
    one = apply(fixed, [], {"v": value})
    assert one.shape == (1, 1, 4, 5)
    x = torch.ones(3, 2, 4, 5)
    got = apply(node(n.Concat, (3, 4, 5)), [x, one], {})
    assert got.shape == (3, 3, 4, 5)
    assert all((got[k, 2] == value[0]).all() for k in range(3))


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolutions(groups: int) -> None:
    """Every pixel adds a kernel; a crop cuts off, a negative one appends zeros."""
    rng = np.random.default_rng(groups)
    x, bias = plain((4, 3, 2), 0), rng.integers(-3, 4, 6).astype(float)
    weight = rng.integers(-3, 4, (4, 6 // groups, 2, 3)).astype(float)
    crop = (1, 0, -2, 1)
    one = node(
        n.ConvTranspose2d, (6, 8, 5), weight="w", bias="b", stride=(2, 3), crop=crop,
        dilation=(2, 1), groups=groups,
    )  # fmt: skip
    full = np.zeros((2, 6, 9, 6))
    per = 4 // groups
    for c, y, z in np.ndindex(4, 3, 2):
        outs = slice((c // per) * (6 // groups), (c // per + 1) * (6 // groups))
        for ky, kx in np.ndindex(2, 3):
            place = full[:, outs, 2 * y + 2 * ky, 3 * z + kx]
            place += x[:, c, y, z, None] * weight[c, :, ky, kx]
    parameters = {"w": torch.from_numpy(weight), "b": torch.from_numpy(bias)}
    got = apply(one, [torch.from_numpy(x)], parameters).numpy()
    assert (got == full[:, :, 1:, :5] + bias[:, None, None]).all()
    assert expected_shape(one, [(4, 3, 2)], parameters) == (6, 8, 5)


WEIGHTS: dict[str, Tensor] = {
    "w": torch.zeros(4, 3, 3, 3), "v": torch.zeros(5, 6), "b": torch.zeros(4),
    "k": torch.zeros(2, 4, 5), "t": torch.zeros(4, 3, 3, 3), "one": torch.zeros(6, 4, 5),
}  # fmt: skip
PLAIN = {"stride": (1, 1), "padding": (0, 0, 0, 0)}
REFUSED: list[tuple[n.Node, list[tuple[int, ...]], str]] = [
    (node(n.Upsample, factor=(2, 2)), [(6,)], "needs a (channels, height, width) input, not (6,)"),
    (node(n.Conv2d, weight="w", bias=None, **PLAIN), [A], "1 groups of 3 channels cannot read 6"),
    (node(n.Conv2d, weight="w", bias=None, groups=3, **PLAIN), [(9, 4, 5)],
     "3 groups of 3 channels cannot read 9"),
    (node(n.ConvTranspose2d, weight="t", bias=None, stride=(1, 1), crop=(0, 0, 0, 0)), [A],
     "weights for 4 channels cannot read 6"),
    (node(n.ConvTranspose2d, weight="t", bias=None, stride=(1, 1), crop=(0, 0, 0, 0), groups=3),
     [(4, 4, 5)], "weights for 4 channels cannot read 4"),
    (node(n.Linear, (5,), weight="v", bias=None), [(7,)], "for 6 features cannot read (7,)"),
    (node(n.BatchNorm, weight=None, bias="b", mean="b", var="b", eps=0.0), [A],
     "do not fit 6 channels"),
    (node(n.Add), [A, (6, 4, 4)], "operands (6, 4, 5) and (6, 4, 4) differ in shape"),
    (node(n.Multiply), [A, (5,)], "do not fit together"),
    (node(n.Multiply), [(6,), (6, 1, 1)], "do not fit together"),
    (node(n.Concat), [A, (6, 4, 4)], "differ in more than their channels"),
    (node(n.Channels, index=(6,)), [A], "channels (6,) do not exist among 6"),
    (node(n.Channels, index=(-1,)), [A], "channels (-1,) do not exist among 6"),
    (node(n.ToImage, (7, 1, 1), axes=Axes.FEATURES), [(6,)], "are not (6,)"),
    (node(n.DepthToSpace, factor=(2, 2)), [A], "blocks of (2, 2) pixels do not divide 6 channels"),
    (node(n.SpaceToDepth, factor=(3, 1)), [A], "blocks of (3, 1) pixels do not divide (6, 4, 5)"),
    (node(n.SpaceToDepth, factor=(1, 2)), [A], "blocks of (1, 2) pixels do not divide (6, 4, 5)"),
    (node(n.MatMul), [A, (5, 4, 5)], "differ in their channels"),
    (node(n.GroupSum, groups=4, copies=1), [A], "4 groups do not divide 6 channels"),
    (node(n.BelowMax, groups=1, keep="k"), [A], "a mask of (2, 4, 5) for (6, 4, 5)"),
    (node(n.Unary, function="magic"), [A], "unknown function 'magic'"),
    (node(n.Constant, (5,), value="b"), [], "is no image: (4,)"),
    (node(n.Constant, (6, 4, 4), value="one"), [], "is no image: (6, 4, 5)"),
    (node(n.Mosaic, (6, 4, 5), places=((0, 0), (0, 1))), [A], "differ in their channels or number"),
    (node(n.Mosaic, (6, 4, 5), places=((0, 0), (0, 3))), [(6, 4, 3), (5, 4, 2)],
     "differ in their channels or number"),
    (node(n.Mosaic, (6, 4, 5), places=((0, 0), (0, 2))), [(6, 4, 3), (6, 4, 3)], "do not cover"),
    (node(n.Mosaic, (6, 4, 5), places=((0, 0), (0, 4))), [(6, 4, 3), (6, 4, 2)], "leaves"),
    (node(n.Mosaic, (6, 4, 5), places=((0, 0), (0, -2))), [(6, 4, 3), (6, 4, 2)], "leaves"),
    (node(n.Mosaic, (6, 4, 5), places=((0, 0), (0, 3))), [(6, 4, 3), (6, 4, 1)], "do not cover"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "shapes", "message"), REFUSED, ids=lambda v: type(v).__name__)
def test_shapes_that_do_not_fit(one: n.Node, shapes: list[tuple[int, ...]], message: str) -> None:
    found = expected_shape(one, shapes, WEIGHTS)
    assert isinstance(found, str)
    assert message in found
