"""The ends of an exported ONNX model: from real inputs to stored integers, and back."""

import numpy as np
from onnx import TensorProto

from sigbit.export.onnx_nodes import Nodes
from sigbit.ir.integer import Axes, Input, TensorType


def quantize(nodes: Nodes, name: str, node: Input, result: str) -> None:
    """Compute stored integers ``[batch, C, H, W]`` of the real input ``name`` in its own shape,
    like ``Port.quantize``: nearest to ``x / scale - zero`` in float64, ties away from zero,
    clipped."""

    def number(what: str, value: float) -> str:
        return nodes.constant(f"{name}.{what}", np.asarray(value, np.float64))

    v = nodes.add("Cast", name, to=TensorProto.DOUBLE)
    v = nodes.add("Div", v, number("scale", node.type.scale))
    v = nodes.add("Sub", v, number("zero", node.type.zero))
    size = nodes.add("Abs", v)
    whole = nodes.add("Floor", size)
    up = nodes.add("GreaterOrEqual", nodes.add("Sub", size, whole), number("half", 0.5))
    near = nodes.add("Add", whole, nodes.add("Cast", up, to=TensorProto.DOUBLE))
    v = nodes.add("Mul", near, nodes.add("Sign", v))
    v = nodes.add("Clip", v, number("low", node.low), number("high", node.high))
    v = nodes.add("Cast", v, to=TensorProto.FLOAT)
    if node.axes.channels_last:
        last = len(node.axes.shape(node.type.shape))
        v = nodes.add("Transpose", v, perm=[0, last, *range(1, last)])
    nodes.add("Reshape", v, nodes.ints(0, *node.type.shape), result=result)


def dequantize(nodes: Nodes, tensor: str, kind: TensorType, axes: Axes, result: str) -> None:
    """Compute real values ``result`` in their own shape from stored integers: ``scale * (stored +
    zero)`` in float32."""
    zero = nodes.constant(f"{tensor}.zero", np.asarray(kind.zero, np.float32))
    scale = nodes.constant(f"{tensor}.scale", np.asarray(kind.scale, np.float32))
    real = nodes.add("Mul", nodes.add("Add", tensor, zero), scale)
    if axes.channels_last:
        real = nodes.add("Transpose", real, perm=[0, 2, 3, 1])
    nodes.add("Reshape", real, nodes.ints(0, *axes.shape(kind.shape)), result=result)
