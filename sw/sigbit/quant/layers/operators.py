"""The ``sigbit`` operator library: the integer graph's nodes as PyTorch operators, with shapes for
tracing.

Tensors are stored integers, int64.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.ir.integer import Source, convolve, multiply
from sigbit.ir.integer import gather as gather_channels
from sigbit.quant.numbers.grid import round_half_away
from sigbit_hw.arch import numerics

Sizes = list[int]
GEOMETRY = 11
"""Number of values that describe a source's geometry."""


def describe(source: Source) -> Sizes:
    """Return the arguments of :func:`source_of`: stride, padding, groups, dilation, upsampling."""
    return [
        *source.stride,
        *source.padding,
        source.groups,
        *source.dilation,
        *source.upsampling,
    ]


def source_of(weights: Tensor, numbers: Sequence[int]) -> Source:
    """Return a source with these :func:`describe` numbers."""
    sy, sx, top, left, bottom, right, groups, dy, dx, uy, ux = numbers
    return Source(
        "",
        weights.numpy(force=True),
        stride=(sy, sx),
        padding=(top, left, bottom, right),
        groups=groups,
        dilation=(dy, dx),
        upsampling=(uy, ux),
    )


@torch.library.custom_op("sigbit::quantize", mutates_args=())
def quantize(
    x: Tensor,
    scale: float,
    zero: int,
    low: int,
    high: int,
    name: str,
) -> Tensor:
    """Stored integers of a real input as an image: nearest to ``x / scale - zero``, ties away from
    zero, clipped; in float64.
    """
    v = x.double() / scale - zero
    if not bool(torch.isfinite(v).all()):
        raise ValueError(f"input {name!r} holds NaN or infinity")
    stored = round_half_away(v).clamp_(low, high)
    return stored.to(torch.int64).contiguous()


@quantize.register_fake
def _(x: Tensor, scale: float, zero: int, low: int, high: int, name: str) -> Tensor:
    return x.new_empty(x.shape, dtype=torch.int64)


@torch.library.custom_op("sigbit::conv", mutates_args=())
def conv(
    xs: list[Tensor],
    weights: list[Tensor],
    base: Tensor,
    step: Tensor,
    tie: Tensor,
    table: Tensor,
    geometry: Sizes,
    zeros: Sizes,
    shape: Sizes,
) -> Tensor:
    """Return ``table[requantize(sum of convolutions) & 255]``; ``geometry`` holds :func:`describe`
    of every source."""
    total: Tensor | None = None
    for i, (x, w) in enumerate(zip(xs, weights, strict=True)):
        source = source_of(w, geometry[GEOMETRY * i : GEOMETRY * (i + 1)])
        part = convolve(x, source, zeros[i], w)
        total = part if total is None else total + part
    assert total is not None
    parameters = (p.numpy(force=True)[:, None, None] for p in (base, step, tie))
    y = torch.from_numpy(numerics.requantize(total.numpy(force=True), *parameters))
    return table[numerics.table_index(y.to(total.device))]


@conv.register_fake
def _(
    xs: list[Tensor],
    weights: list[Tensor],
    base: Tensor,
    step: Tensor,
    tie: Tensor,
    table: Tensor,
    geometry: Sizes,
    zeros: Sizes,
    shape: Sizes,
) -> Tensor:
    return xs[0].new_empty((xs[0].shape[0], *shape))


@torch.library.custom_op("sigbit::matmul", mutates_args=())
def matmul(
    left: Tensor,
    right: Tensor,
    base: Tensor,
    step: Tensor,
    tie: Tensor,
    table: Tensor,
    shape: Sizes,
) -> Tensor:
    """Return ``table[requantize(products of all pixels) & 255]``."""
    parameters = (p.numpy(force=True)[:, None, None] for p in (base, step, tie))
    total = multiply(left, right)
    y = torch.from_numpy(numerics.requantize(total.numpy(force=True), *parameters))
    return table[numerics.table_index(y.to(total.device))]


@matmul.register_fake
def _(
    left: Tensor,
    right: Tensor,
    base: Tensor,
    step: Tensor,
    tie: Tensor,
    table: Tensor,
    shape: Sizes,
) -> Tensor:
    return left.new_empty((left.shape[0], *shape))


@torch.library.custom_op("sigbit::max_pool", mutates_args=())
def max_pool(
    x: Tensor,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    shape: Sizes,
    lowest: int,
) -> Tensor:
    """Window maxima of stored integers; padding holds the lowest value."""
    top, left, bottom, right = padding
    padded = F.pad(x, (left, right, top, bottom), value=lowest).double()
    return F.max_pool2d(padded, kernel, stride).long()


@max_pool.register_fake
def _(x: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes, shape: Sizes, lowest: int) -> Tensor:
    return x.new_empty((x.shape[0], *shape))


@torch.library.custom_op("sigbit::gather", mutates_args=())
def gather(
    xs: list[Tensor],
    channels: Tensor,
    shape: Sizes,
) -> Tensor:
    """Channels (rows: tensor, channel) of tensors of equal size."""
    return gather_channels(xs, channels.numpy(force=True))


@gather.register_fake
def _(xs: list[Tensor], channels: Tensor, shape: Sizes) -> Tensor:
    return xs[0].new_empty((xs[0].shape[0], *shape))


@torch.library.custom_op("sigbit::dequantize", mutates_args=())
def dequantize(x: Tensor, scale: float, zero: int, like: Tensor) -> Tensor:
    """Return ``scale * (x + zero)`` in the dtype of ``like``."""
    return (x + zero).to(like.dtype) * torch.tensor(scale, dtype=like.dtype)


@dequantize.register_fake
def _(x: Tensor, scale: float, zero: int, like: Tensor) -> Tensor:
    return torch.empty_like(x, dtype=like.dtype)
