"""The linear part of a source: its kernel and its convolution."""

import torch
from torch import Tensor

from sigbit.ir.convolution import conv2d
from sigbit.ir.floating import pad
from sigbit.ir.integer import spread
from sigbit.quant.plan.plans import Blocks, Ones, Picks, Separable, SourcePlan


def kernel(source: SourcePlan, weight: Tensor) -> Tensor:
    """Return the parameter ``weight`` as a kernel ``[out, in / groups, kh, kw]``: kernels of a
    transposed convolution are rotated by 180 degrees."""
    inputs = source.channels // source.groups
    if source.transposed:
        grouped = weight.view(source.groups, inputs, -1, *source.kernel)
        weight = grouped.transpose(1, 2).flatten(0, 1).flip(2, 3)
    else:
        weight = weight.view(-1, inputs, *source.kernel)
    weight = weight if source.rows is None else weight[list(source.rows)]
    return weight if source.scale == 1 else weight * source.scale


def window(source: SourcePlan) -> Tensor:
    """Return the integers (float64) ``[out, in / groups, kh, kw]`` of a source without a
    parameter."""
    height, width = source.kernel
    size = source.channels // source.groups
    match source.taps:
        case Ones(copies):
            return torch.ones(source.groups * copies, size, 1, 1, dtype=torch.float64)
        case Picks(first, count):
            rows = torch.eye(size, dtype=torch.float64)[first : first + count]
            return rows[:, :, None, None].repeat(source.groups, 1, 1, 1)
        case Separable(lines, columns):
            one = torch.outer(*(torch.tensor(v, dtype=torch.float64) for v in (lines, columns)))
            return one.repeat(source.channels, 1, 1, 1)
        case Blocks(to_space):
            ones = torch.eye(height * width, dtype=torch.float64).view(-1, height, width)
            if to_space:
                return ones.flip(1, 2).repeat(source.groups, 1, 1, 1)
            return ones[:, None].repeat(source.groups, 1, 1, 1)
    return torch.ones(source.channels, 1, height, width, dtype=torch.float64)


def accumulate(acc: Tensor | None, x: Tensor, weight: Tensor, source: SourcePlan) -> Tensor:
    """Add one source's convolution to ``acc``."""
    weight = weight.to(x.dtype)
    if source.pointwise:
        scaled = weight.view(-1, 1, 1)
        return x * scaled if acc is None else torch.addcmul(acc, x, scaled)
    x = spread(x, source.upsampling, 0)
    top, left, bottom, right = source.padding
    padding: tuple[int, int] | int = 0
    if (top, left) == (bottom, right) and min(top, left) >= 0:
        padding = (top, left)
    else:
        x = pad(x, source.padding)
    part = conv2d(x, weight, None, source.stride, padding, source.dilation, source.groups)
    return part if acc is None else acc + part
