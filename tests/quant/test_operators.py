"""The operators of the integer graph: results by definition, shapes and types for tracing,
refusals."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from sigbit.ir.integer import Source
from sigbit.quant.layers.operators import (
    GEOMETRY,
    conv,
    dequantize,
    describe,
    gather,
    matmul,
    max_pool,
    quantize,
    source_of,
)
from sigbit_hw.arch.numerics import UNIT

GENERATOR = torch.Generator()


def integers(*shape: int, most: int = 7) -> Tensor:
    return torch.randint(-most, most + 1, shape, generator=GENERATOR.manual_seed(4))


def requantized(acc: Tensor, base: Tensor, step: Tensor, tie: Tensor, table: Tensor) -> Tensor:
    """Of accumulators ``[N, C, H, W]``."""
    columns = (v[:, None, None] for v in (base, step, tie))
    base, step, tie = columns
    total = acc * UNIT + base
    y = torch.div(total, step, rounding_mode="floor").clamp(-128, 127)
    y = y - tie * (y % 2) * (y * step == total)
    return table[y % 256]


def parameters(channels: int) -> tuple[Tensor, ...]:
    """Base, step, tie and table; exact quotients occur."""
    base = (torch.arange(channels) - 1) * UNIT // 2
    step = torch.tensor([UNIT, 2 * UNIT, UNIT // 2, 3 * UNIT] * channels)[:channels]
    table = torch.arange(256).flip(0) - 100
    return base, step, torch.arange(channels) % 2, table


SOURCE = Source(
    "x", integers(4, 2, 3, 2).numpy(), stride=(2, 1), padding=(3, 1, 2, 4), groups=2,
    dilation=(1, 3), upsampling=(2, 3),
)  # fmt: skip


def test_descriptions_come_back() -> None:
    numbers = describe(SOURCE)
    assert numbers == [2, 1, 3, 1, 2, 4, 2, 1, 3, 2, 3]
    assert len(numbers) == GEOMETRY
    again = source_of(torch.from_numpy(SOURCE.weights), numbers)
    for name in ("stride", "padding", "groups", "dilation", "upsampling"):
        assert getattr(again, name) == getattr(SOURCE, name)
    assert (again.weights == SOURCE.weights).all()


def same_when_traced(operator: object, *arguments: object) -> Tensor:
    """The result; a trace must expect its shape and its type."""
    result = operator(*arguments)
    with FakeTensorMode() as mode:

        def fake(value: object) -> object:
            if isinstance(value, Tensor):
                return mode.from_tensor(value)
            return [fake(v) for v in value] if isinstance(value, list) else value

        expected = operator(*map(fake, arguments))
    assert expected.shape == result.shape
    assert expected.dtype == result.dtype
    return result


def test_quantize() -> None:
    x = torch.tensor([[[[-9.0, -0.75, -0.26, 0.25], [0.24, 0.75, 1.0, 9.0]]]]).repeat(3, 1, 1, 1)
    stored = same_when_traced(quantize, x, 0.5, -1, -1, 3, "x")
    # x / 0.5 + 1, ties away from zero
    assert stored.dtype == torch.int64
    assert stored.tolist() == [[[[-1, -1, 0, 2], [1, 3, 3, 3]]]] * 3
    for wrong in (math.nan, math.inf):
        x[1, 0, 0, 1] = wrong
        with pytest.raises(ValueError, match="input 'x' holds NaN or infinity"):
            quantize(x, 0.5, -1, -1, 3, "x")


def test_conv_of_two_sources() -> None:
    """Borders and the places between pixels hold the real number 0."""
    base, step, tie, table = parameters(4)
    xs, zeros = [integers(2, 4, 5, 4), integers(2, 3, 9, 10)], [3, -2]
    other = Source("y", integers(4, 3, 1, 1).numpy())
    weights = [torch.from_numpy(s.weights) for s in (SOURCE, other)]
    wide = torch.full((2, 4, 9, 10), -3)
    wide[:, :, ::2, ::3] = xs[0]
    padded = F.pad(wide, (1, 4, 3, 2), value=-3)
    first = F.conv2d(padded.double(), weights[0].double(), None, (2, 1), 0, (1, 3), 2)
    assert first.shape[2:] == (6, 12)
    xs[1] = integers(2, 3, 6, 12)
    acc = first + F.conv2d(xs[1].double(), weights[1].double())
    geometry = describe(SOURCE) + describe(other)
    arguments = (xs, weights, base, step, tie, table, geometry, zeros, [4, 6, 12])
    found = same_when_traced(conv, *arguments)
    assert torch.equal(found, requantized(acc.long(), base, step, tie, table))
    assert not torch.equal(found, requantized(acc.long(), base, step, 0 * tie, table))


def test_matmul() -> None:
    left, right = integers(2, 3, 2, 4), integers(2, 3, 1, 5)
    base, step, tie, table = parameters(5)
    acc = torch.einsum("bchw,bcp->bphw", left, right.flatten(2))
    found = same_when_traced(matmul, left, right, base, step, tie, table, [5, 2, 4])
    assert torch.equal(found, requantized(acc, base, step, tie, table))
    assert not torch.equal(found, requantized(acc, base, step, 0 * tie, table))


def test_max_pool() -> None:
    x = integers(2, 3, 5, 6)
    found = same_when_traced(max_pool, x, [2, 3], [1, 2], [1, 2, 0, 1], [3, 5, 4], -9)
    padded = F.pad(x, (2, 1, 1, 0), value=-9)
    assert torch.equal(found, padded.unfold(2, 2, 1).unfold(3, 3, 2).amax((4, 5)))


def test_gather() -> None:
    xs = [integers(2, 3, 2, 2), integers(2, 4, 2, 2) + 100]
    channels = torch.tensor([[1, 3], [0, 0], [0, 2], [1, 0], [0, 1]])
    found = same_when_traced(gather, xs, channels, [5, 2, 2])
    assert torch.equal(found, torch.stack([xs[t][:, c] for t, c in channels.tolist()], 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dequantize(dtype: torch.dtype) -> None:
    x = torch.arange(-4, 4).view(2, 1, 2, 2)
    found = same_when_traced(dequantize, x, 0.1, 3, torch.ones(1, dtype=dtype))
    assert found.dtype == dtype
    assert torch.equal(found, (x + 3).to(dtype) * torch.tensor(0.1, dtype=dtype))
