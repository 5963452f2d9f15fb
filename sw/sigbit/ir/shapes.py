"""The shape that a node of the float graph produces."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sigbit.ir.evaluation import UNARY
from sigbit.ir.integer import window
from sigbit.ir.nodes import (
    Add,
    AvgPool2d,
    BatchNorm,
    Channels,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Linear,
    MaxPool2d,
    Multiply,
    Node,
    Pad,
    Relu,
    Select,
    Unary,
    Upsample,
)


def expected_shape(
    node: Node, shapes: list[tuple[int, ...]], parameters: Mapping[str, Tensor]
) -> tuple[int, ...] | str:
    """The shape a node produces, or what is wrong with its operands."""
    parameter = {
        a: tuple(parameters[getattr(node, a)].shape)
        for a in ("weight", "bias", "mean", "var")
        if getattr(node, a, None) is not None
    }
    shape = shapes[0]
    match node:
        case Conv2d() | ConvTranspose2d() | MaxPool2d() | AvgPool2d() | Pad() | Upsample() if (
            len(shape) != 3
        ):
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
        case Select():
            if len(shape) != 2 or not 0 <= node.step < shape[0]:
                return f"step {node.step} of {shape} does not exist"
            return shape[1:]
        case Unary():
            return shape if node.function in UNARY else f"unknown function {node.function!r}"
        case Flatten():
            return (int(torch.Size(shape).numel()),)
        case Relu():
            return shape
    return f"unknown node type {type(node).__name__}"
