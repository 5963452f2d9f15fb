"""Sums of products of integers: exact, and in the fastest type that is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.ir import integer
from sigbit.ir.integer import Source, convolve, multiply

Seen = list[torch.dtype]


def watched(function: Callable[..., Tensor], seen: Seen) -> Callable[..., Tensor]:
    """``function``, noting the type of its operands."""

    def inner(*arguments: Any, **keywords: Any) -> Tensor:
        seen.append(arguments[0].dtype)
        assert all(a.dtype == seen[-1] for a in arguments if isinstance(a, Tensor))
        return function(*arguments, **keywords)

    return inner


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    types: Seen = []
    monkeypatch.setattr(torch, "matmul", watched(torch.matmul, types))
    monkeypatch.setattr(integer, "conv2d", watched(integer.conv2d, types))
    return types


@pytest.mark.parametrize(
    ("left", "right", "channels", "dtype"),
    [
        ((1 << 25) - 1, 1 << 26, 4, torch.float64),
        (1 << 25, 1 << 26, 4, torch.int64),
        (1 << 25, (1 << 26) + 1, 4, torch.int64),
        (1 << 25, (1 << 26) - 1, 4, torch.float64),
        (1 << 26, 1 << 26, 3, torch.int64),
        (3, 5, 7, torch.float64),
    ],
)
def test_products_of_pixels(
    left: int, right: int, channels: int, dtype: torch.dtype, seen: Seen
) -> None:
    """The largest sum is below 2**53, or not; every number is odd where it can be."""
    rng = np.random.default_rng(1)
    a, b = (
        torch.from_numpy(rng.integers(-1, 2, (2, channels, *size)) * peak)
        for size, peak in (((2, 3), left), ((5, 1), right))
    )
    a[0, :, 0, 0], b[0, :, 0, 0] = left, right
    a[0, 0, 0, 0], a[0, 0, 0, 1] = -left, 1
    b[0, 0, 1, 0] = 1
    wanted = torch.einsum("bchw,bcpq->bpqhw", a, b).flatten(1, 2)
    assert torch.equal(multiply(a, b), wanted)
    assert seen == [dtype]


def test_products_of_nothing() -> None:
    a, b = (torch.zeros(0, 3, *size, dtype=torch.int64) for size in ((2, 3), (5, 1)))
    assert multiply(a, b).shape == (0, 5, 2, 3)
    assert convolve(a, Source("x", np.ones((4, 3, 1, 1))), 0, torch.ones(4, 3, 1, 1)).shape == (
        0, 4, 2, 3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("peak", "zero", "weight", "dtype"),
    [
        ((1 << 20) - 1, 5, 4, torch.float32),
        (1 << 20, 5, 4, torch.float64),
        (5, (1 << 20) - 1, 4, torch.float32),
        (5, 1 << 20, 4, torch.float64),
        (5, -(1 << 20), 4, torch.float64),
        ((1 << 20) + 1, 5, 5, torch.float64),
        ((1 << 24) - 1, 0, 4, torch.float64),
        (3, 2, 4, torch.float32),
    ],
)
def test_convolutions(peak: int, zero: int, weight: int, dtype: torch.dtype, seen: Seen) -> None:
    """The largest sum, of stored integers or of the border, is below 2**24 or not: the weights of
    one output channel are larger than those of the others."""
    weights = torch.ones(3, 2, 2, 1, dtype=torch.int64)
    weights[1] = torch.tensor([weight, -weight]).view(2, 1, 1)
    x = torch.ones(2, 2, 4, 3, dtype=torch.int64)
    x[0, 0, 1, 2], x[1, 1, 2, 0] = -peak, peak
    source = Source("x", weights.numpy(), padding=(1, 2, 0, 1), stride=(1, 2), upsampling=(1, 2))
    wide = torch.full((2, 2, 4, 5), -zero)
    wide[..., ::2] = x
    wide = F.pad(wide, (2, 1, 1, 0), value=-zero)
    patches = wide.unfold(2, 2, 1).unfold(3, 1, 2)
    wanted = torch.einsum("nchwij,ocij->nohw", patches, weights)
    assert torch.equal(convolve(x, source, zero, weights), wanted)
    assert seen == [dtype]
