"""Evaluation of the float graph's nodes with torch; batch norm uses its running statistics."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.ir.convolution import conv2d, conv_transpose2d
from sigbit.ir.integer import GraphError, spread
from sigbit.ir.nodes import (
    Add,
    AvgPool2d,
    BatchNorm,
    BelowMax,
    Channels,
    Concat,
    Constant,
    Conv2d,
    ConvTranspose2d,
    DepthToSpace,
    Flatten,
    FromImage,
    GroupSum,
    Interpolate,
    Linear,
    MatMul,
    MaxPool2d,
    Mosaic,
    Multiply,
    Node,
    Pad,
    Padding,
    Relu,
    SpaceToDepth,
    ToImage,
    Transpose,
    Unary,
    Upsample,
)

UNARY: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "abs": torch.abs,
        "asinh": torch.asinh,
        "atan": torch.atan,
        "ceil": torch.ceil,
        "celu": F.celu,
        "clamp": torch.clamp,
        "cos": torch.cos,
        "cosh": torch.cosh,
        "elu": F.elu,
        "erf": torch.erf,
        "erfc": torch.erfc,
        "exp": torch.exp,
        "exp2": torch.exp2,
        "expm1": torch.expm1,
        "floor": torch.floor,
        "frac": torch.frac,
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "hardshrink": F.hardshrink,
        "hardsigmoid": F.hardsigmoid,
        "hardswish": F.hardswish,
        "identity": lambda x: x,
        "leaky_relu": F.leaky_relu,
        "log": torch.log,
        "log_between": lambda x, low, high: torch.log(x.clamp(low, high) / low),
        "log10": torch.log10,
        "log1p": torch.log1p,
        "log2": torch.log2,
        "logsigmoid": F.logsigmoid,
        "mish": F.mish,
        "neg": torch.neg,
        "pow": torch.pow,
        "inverse_root": lambda x, eps: torch.rsqrt(x.clamp(min=0) + eps),
        "reciprocal": torch.reciprocal,
        "round": torch.round,
        "rsqrt": torch.rsqrt,
        "selu": F.selu,
        "sigmoid": torch.sigmoid,
        "sign": torch.sign,
        "silu": F.silu,
        "sin": torch.sin,
        "sinc": torch.sinc,
        "sinh": torch.sinh,
        "softplus": F.softplus,
        "softshrink": F.softshrink,
        "softsign": F.softsign,
        "sqrt": torch.sqrt,
        "tanh": torch.tanh,
        "threshold": F.threshold,
        "trunc": torch.trunc,
    }
)
"""The functions of :class:`Unary`; parameters are torch's, in its order."""


ABSENT = 1e9
"""Number subtracted from elements that do not count in a maximum."""


def apply(node: Node, x: list[Tensor], p: Mapping[str, Tensor]) -> Tensor:
    """Return the value ``[batch, *shape]`` of ``node`` from the values of its operands and the
    parameters."""
    match node:
        case Conv2d():
            return conv2d(
                pad(x[0], node.padding),
                p[node.weight],
                _get(p, node.bias),
                node.stride,
                0,
                node.dilation,
                node.groups,
            )
        case ConvTranspose2d():
            full = conv_transpose2d(x[0], p[node.weight], node.stride, node.dilation, node.groups)
            top, left, bottom, right = node.crop
            y = pad(full, (-top, -left, -bottom, -right))
            bias = _get(p, node.bias)
            return y if bias is None else y + bias[:, None, None]
        case Linear():
            return F.linear(x[0], p[node.weight], _get(p, node.bias))
        case BatchNorm():
            return F.batch_norm(
                x[0],
                p[node.mean],
                p[node.var],
                _get(p, node.weight),
                _get(p, node.bias),
                eps=node.eps,
            )
        case Relu():
            return x[0].clamp(0, node.limit)
        case Unary():
            return UNARY[node.function](x[0], *node.parameters)
        case Add():
            return x[0] + x[1]
        case Multiply():
            return x[0] * (x[1][:, :, None, None] if x[0].dim() - x[1].dim() == 2 else x[1])
        case Constant():
            return p[node.value][None]
        case MatMul():
            rows = x[1].flatten(2).transpose(1, 2)
            products = torch.matmul(rows, x[0].flatten(2)) * node.factor
            return products.unflatten(2, x[0].shape[2:])
        case Transpose():
            return x[0].flatten(2).transpose(1, 2).unsqueeze(2)
        case GroupSum():
            sums = x[0].unflatten(1, (node.groups, -1)).sum(2) * node.factor
            return sums.repeat_interleave(node.copies, 1)
        case BelowMax():
            masked = x[0] if node.keep is None else x[0] - ABSENT * (1 - p[node.keep])
            parts = masked.unflatten(1, (node.groups, -1))
            top = parts.amax(2, keepdim=True).expand_as(parts).flatten(1, 2)
            return (top - x[0]).clamp(min=0)
        case Concat():
            batch = max(len(part) for part in x)
            return torch.cat([part.expand(batch, *[-1] * (part.dim() - 1)) for part in x], dim=1)
        case Channels():
            return x[0][:, list(node.index)]
        case Pad():
            return pad(x[0], node.padding)
        case Upsample():
            vertical, horizontal = node.factor
            return x[0].repeat_interleave(vertical, 2).repeat_interleave(horizontal, 3)
        case ToImage():
            channels, height, width = node.shape
            return node.axes.to_stored(x[0], (channels, height, width))
        case FromImage():
            return node.axes.from_stored(x[0])
        case DepthToSpace() | SpaceToDepth():
            return _blocks(x[0], node.factor, isinstance(node, DepthToSpace))
        case Mosaic():
            return _mosaic(x, node)
        case Interpolate():
            return _interpolated(x[0], node)
        case MaxPool2d():
            return F.max_pool2d(pad(x[0], node.padding, -torch.inf), node.kernel, node.stride)
        case AvgPool2d():
            x0 = pad(x[0], node.padding)
            return F.avg_pool2d(x0, node.kernel, node.stride, divisor_override=node.divisor)
        case Flatten():
            return x[0].flatten(1)
    raise GraphError(f"{node.name}: no evaluation of {type(node).__name__}")


def _blocks(x: Tensor, factor: tuple[int, int], to_space: bool) -> Tensor:
    """Rearrange channels as blocks of ``factor`` pixels, or blocks as channels."""
    (h, w), (batch, channels, height, width) = factor, x.shape
    if to_space:
        split = x.reshape(batch, channels // (h * w), h, w, height, width)
        return split.permute(0, 1, 4, 2, 5, 3).reshape(batch, -1, height * h, width * w)
    split = x.reshape(batch, channels, height // h, h, width // w, w)
    return split.permute(0, 1, 3, 5, 2, 4).reshape(batch, -1, height // h, width // w)


def _mosaic(pieces: list[Tensor], node: Mosaic) -> Tensor:
    result = pieces[0].new_zeros(max(map(len, pieces)), *node.shape)
    for (line, column), piece in zip(node.places, pieces, strict=True):
        height, width = piece.shape[2:]
        result[:, :, line : line + height, column : column + width] = piece
    return result


def _interpolated(x: Tensor, node: Interpolate) -> Tensor:
    padded = pad(spread(x, node.factor, 0), node.padding)
    lines, columns = (torch.tensor(v, dtype=x.dtype) for v in (node.lines, node.columns))
    kernel = (torch.outer(lines, columns) / node.divisor).expand(x.shape[1], 1, -1, -1)
    return conv2d(padded, kernel.contiguous(), None, node.stride, 0, (1, 1), x.shape[1])


def _get(parameters: Mapping[str, Tensor], name: str | None) -> Tensor | None:
    return None if name is None else parameters[name]


def pad(x: Tensor, padding: Padding, value: float = 0) -> Tensor:
    """Return ``x`` ``[..., H, W]`` with a border of ``value``; ``x`` itself if there is none."""
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(padding) else x
