"""Shapes produced by the nodes of the float graph."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sigbit.ir.evaluation import UNARY
from sigbit.ir.integer import window
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
    Relu,
    SpaceToDepth,
    ToImage,
    Transpose,
    Unary,
    Upsample,
)

_OF_IMAGES = (
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    AvgPool2d,
    Pad,
    Upsample,
    FromImage,
    DepthToSpace,
    SpaceToDepth,
    Mosaic,
    Interpolate,
    MatMul,
    Transpose,
    GroupSum,
    BelowMax,
)


def expected_shape(
    node: Node, shapes: list[tuple[int, ...]], parameters: Mapping[str, Tensor]
) -> tuple[int, ...] | str:
    """Return the shape that a node produces, or a message about its operands."""
    parameter = {
        a: tuple(parameters[getattr(node, a)].shape)
        for a in ("weight", "bias", "mean", "var")
        if getattr(node, a, None) is not None
    }
    if isinstance(node, Constant):
        value = tuple(parameters[node.value].shape)
        return node.shape if value == node.shape and len(value) == 3 else f"is no image: {value}"
    shape = shapes[0]
    match node:
        case _ if isinstance(node, _OF_IMAGES) and any(len(s) != 3 for s in shapes):
            return f"needs a (channels, height, width) input, not {shape}"
        case Conv2d():
            out, channels, *kernel = parameter["weight"]
            if channels * node.groups != shape[0] or out % node.groups:
                return (
                    f"weights for {node.groups} groups of {channels} channels cannot read "
                    f"{shape[0]} channels"
                )
            return (
                out,
                *window(shape[1:], tuple(kernel), node.stride, node.padding, node.dilation),
            )
        case ConvTranspose2d():
            channels, out, *kernel = parameter["weight"]
            if channels != shape[0] or channels % node.groups:
                return f"weights for {channels} channels cannot read {shape[0]} channels"
            full = (
                (n - 1) * s + (k - 1) * d + 1
                for n, s, k, d in zip(shape[1:], node.stride, kernel, node.dilation, strict=True)
            )
            height, width = full
            top, left, bottom, right = node.crop
            return (out * node.groups, height - top - bottom, width - left - right)
        case Pad():
            top, left, bottom, right = node.padding
            return (shape[0], shape[1] + top + bottom, shape[2] + left + right)
        case Upsample():
            return (shape[0], shape[1] * node.factor[0], shape[2] * node.factor[1])
        case MaxPool2d() | AvgPool2d():
            return (shape[0], *window(shape[1:], node.kernel, node.stride, node.padding))
        case Linear():
            out, features = parameter["weight"]
            return (
                (out,)
                if shape == (features,)
                else f"weights for {features} features cannot read {shape}"
            )
        case BatchNorm():
            wrong = {a: s for a, s in parameter.items() if s != shape[:1]}
            return f"parameters {wrong} do not fit {shape[0]} channels" if wrong else shape
        case Add():
            return (
                shape
                if shapes[0] == shapes[1]
                else f"operands {shapes[0]} and {shapes[1]} differ in shape"
            )
        case Multiply():
            small = {(shape[0],), (shape[0], 1, 1)}
            fits = shapes[0] == shapes[1] or (len(shape) == 3 and shapes[1] in small)
            return shape if fits else f"operands {shapes[0]} and {shapes[1]} do not fit together"
        case Concat():
            if len({s[1:] for s in shapes}) != 1:
                return f"operands {shapes} differ in more than their channels"
            return (sum(s[0] for s in shapes), *shape[1:])
        case Channels():
            if not all(0 <= i < shape[0] for i in node.index):
                return f"channels {node.index} do not exist among {shape[0]}"
            return (len(node.index), *shape[1:])
        case ToImage():
            channels, height, width = node.shape
            fits = node.axes.shape((channels, height, width)) == shape
            return node.shape if fits else f"{node.axes} of {node.shape} are not {shape}"
        case FromImage():
            channels, height, width = shape
            return node.axes.shape((channels, height, width))
        case DepthToSpace(factor=(h, w)):
            if shape[0] % (h * w):
                return f"blocks of {node.factor} pixels do not divide {shape[0]} channels"
            return (shape[0] // (h * w), shape[1] * h, shape[2] * w)
        case SpaceToDepth(factor=(h, w)):
            if shape[1] % h or shape[2] % w:
                return f"blocks of {node.factor} pixels do not divide {shape}"
            return (shape[0] * h * w, shape[1] // h, shape[2] // w)
        case Mosaic():
            return _covered(node, shapes)
        case Interpolate():
            spread = tuple((n - 1) * f + 1 for n, f in zip(shape[1:], node.factor, strict=True))
            taps = (len(node.lines), len(node.columns))
            return (shape[0], *window(spread, taps, node.stride, node.padding))
        case MatMul():
            if shapes[1][0] != shape[0]:
                return f"operands {shapes[0]} and {shapes[1]} differ in their channels"
            return (shapes[1][1] * shapes[1][2], *shape[1:])
        case Transpose():
            return (shape[1] * shape[2], 1, shape[0])
        case GroupSum() | BelowMax():
            if shape[0] % node.groups:
                return f"{node.groups} groups do not divide {shape[0]} channels"
            keep = node.keep if isinstance(node, BelowMax) else None
            if keep is not None and tuple(parameters[keep].shape) != shape:
                return f"a mask of {tuple(parameters[keep].shape)} for {shape}"
            return (node.groups * node.copies, *shape[1:]) if isinstance(node, GroupSum) else shape
        case Unary():
            return shape if node.function in UNARY else f"unknown function {node.function!r}"
        case Flatten():
            return (int(torch.Size(shape).numel()),)
        case Relu():
            return shape
    return f"unknown node type {type(node).__name__}"


def _covered(node: Mosaic, shapes: list[tuple[int, ...]]) -> tuple[int, ...] | str:
    """Return the shape of a mosaic whose pieces cover it without overlap, or a message."""
    if len(node.places) != len(shapes) or len({s[0] for s in shapes}) != 1:
        return f"pieces {shapes} at {node.places} differ in their channels or number"
    count = torch.zeros(node.shape[1:], dtype=torch.int64)
    for (line, column), (_, height, width) in zip(node.places, shapes, strict=True):
        inside = count[line : line + height, column : column + width]
        if min(line, column) < 0 or inside.shape != (height, width):
            return f"a piece of {height} x {width} at {(line, column)} leaves {node.shape}"
        inside += 1
    covered = bool((count == 1).all())
    return (shapes[0][0], *node.shape[1:]) if covered else f"pieces do not cover {node.shape} once"
