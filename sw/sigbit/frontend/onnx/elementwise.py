"""Translation of ONNX sums, products, elementwise functions, and the host's functions."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.onnx.trace import Call, aten

Result = FxNode


def binary(operation: Callable[..., Any]) -> Callable[[Call], Result]:
    """Add, Sub, Div: of two tensors, or of a tensor and a constant."""
    return lambda c: c.emit(operation, c.operand(0), second(c))


def second(c: Call) -> FxNode:
    """Return the second operand; before opset 7 it broadcasts from ``axis`` on, and only if
    requested."""
    if not c.get("broadcast", 0) or (axis := c.get("axis")) is None:
        return c.operand(1)
    trailing = len(c.shape()) - c.axis(int(axis)) - len(c.shape(1))
    c.need(trailing >= 0, f"axis {axis} of {c.shape(1)}", "mend the axis")
    return c.derived(1, "aligned", c.array(1).reshape(*c.shape(1), *[1] * trailing))


def multiply(c: Call) -> Result:
    """Mul; ``x * sigmoid(x)`` and similar products become the matching function."""
    if not (c.is_constant(0) or c.is_constant(1)):
        a, b = c.computed(0), c.computed(1)
        for x, y in ((a, b), (b, a)):
            if (function := _GATES.get(y.target)) is not None and y.args[0] is x:
                return c.emit(function, x)
            inner = y.args[0] if y.target is aten.tanh.default else None
            match inner:
                case FxNode(target=aten.softplus.default, args=(source, *_)) if source is x:
                    return c.emit(aten.mish.default, x)
        return c.emit(aten.mul.Tensor, a, b)
    return c.emit(aten.mul.Tensor, c.operand(0), second(c))


_GATES: dict[Any, Callable[..., Any]] = {
    aten.sigmoid.default: aten.silu.default,
    aten.hardsigmoid.default: aten.hardswish.default,
}


def total(c: Call) -> Result:
    """Sum of any number of tensors."""
    nodes = [c.operand(i) for i in range(len(c.node.input))]
    return functools.reduce(lambda a, b: c.emit(aten.add.Tensor, a, b), nodes)


def average(c: Call) -> Result:
    """Mean of any number of tensors."""
    count = len(c.node.input)
    return total(c) if count == 1 else c.emit(aten.div.Tensor, total(c), float(count))


def extreme(operation: Callable[..., Any]) -> Callable[[Call], Result]:
    """Max and Min of any number of tensors, one of them computed."""

    def translate(c: Call) -> Result:
        nodes = [c.operand(i) for i in range(len(c.node.input))]
        return functools.reduce(lambda a, b: c.emit(operation, a, b), nodes)

    return translate


def softsign(x: Tensor) -> Tensor:
    """Softsign, for which torch has no operation."""
    return F.softsign(x)


def swish(c: Call) -> Result:
    """Swish: ``x * sigmoid(alpha * x)``."""
    alpha, x = float(c.get("alpha", 1.0)), c.computed()
    if alpha == 1:
        return c.emit(aten.silu.default, x)
    inner = c.emit(aten.sigmoid.default, c.emit(aten.mul.Tensor, x, alpha))
    return c.emit(aten.mul.Tensor, x, inner)


def shrink(c: Call) -> Result:
    """Shrink without bias, or with a bias equal to its threshold."""
    bias, lambd = float(c.get("bias", 0.0)), float(c.get("lambd", 0.5))
    c.need(
        bias in (0, lambd) and lambd >= 0,
        f"bias={bias:g} and lambd={lambd:g}",
        "use a bias of 0, or of lambd",
    )
    return c.emit((aten.softshrink if bias else aten.hardshrink).default, c.computed(), lambd)


def thresholded(c: Call) -> Result:
    """ThresholdedRelu: x where it is larger than alpha, else 0."""
    return c.emit(aten.threshold.default, c.computed(), float(c.get("alpha", 1.0)), 0.0)


def power(c: Call) -> Result:
    """Pow by a constant exponent, or of a constant."""
    if c.is_constant(0):
        return c.emit(aten.pow.Scalar, c.number(0, 1.0), c.computed(1))
    exponent = c.number(1, 1.0)
    return c.emit(aten.pow.Tensor_Scalar, c.computed(), exponent)


def function(operation: Callable[..., Any], **defaults: float) -> Callable[[Call], Result]:
    """Return the translator of a function of every element whose parameters are attributes with
    these defaults."""

    def translate(c: Call) -> Result:
        values = [float(c.get(name, default)) for name, default in defaults.items()]
        return c.emit(operation, c.computed(), *values)

    return translate


def clip(c: Call) -> Result:
    """Clip; bounds are operands or attributes."""
    if c.trace.opset < 11:
        low, high = float(c.get("min", -math.inf)), float(c.get("max", math.inf))
    else:
        low, high = c.number(1, -math.inf), c.number(2, math.inf)
    if low < -3e38 and high > 3e38:
        return c.computed()
    return c.emit(
        aten.clamp.default,
        c.computed(),
        None if low < -3e38 else low,
        None if high > 3e38 else high,
    )


def prelu(c: Call) -> Result:
    """PRelu with one slope, or one per channel."""
    slopes = np.asarray(c.array(1))
    if np.unique(slopes).size == 1:
        return c.emit(aten.leaky_relu.default, c.computed(), float(slopes.flat[0]))
    return c.emit(prelu_of, c.computed(), c.operand(1))


def prelu_of(x: Tensor, slope: Tensor) -> Tensor:
    """PReLU whose slopes broadcast."""
    return torch.where(x < 0, x * slope, x)


def where(c: Call) -> Result:
    """Choice by a constant mask."""
    c.array(0)
    return c.emit(aten.where.self, c.operand(0), c.operand(1), c.operand(2))


def hard_sigmoid(c: Call) -> Result:
    """HardSigmoid: ``clip(alpha * x + beta, 0, 1)``."""
    alpha, beta = float(c.get("alpha", 0.2)), float(c.get("beta", 0.5))
    x = c.computed()
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return c.emit(aten.hardsigmoid.default, x)
    line = c.emit(aten.add.Tensor, c.emit(aten.mul.Tensor, x, alpha), beta)
    return c.emit(aten.clamp.default, line, 0.0, 1.0)


def gelu(c: Call) -> Result:
    """Gelu, exact or by tanh."""
    return c.emit(aten.gelu.default, c.computed(), approximate=c.get("approximate", "none"))


def selu(c: Call) -> Result:
    """Selu with its usual parameters."""
    alpha, gamma = float(c.get("alpha", 1.6732632)), float(c.get("gamma", 1.0507010))
    c.need(
        abs(alpha - 1.6732632) < 1e-5 and abs(gamma - 1.0507010) < 1e-5,
        f"alpha={alpha:g} and gamma={gamma:g}",
        "leave both at their defaults",
    )
    return c.emit(aten.selu.default, c.computed())


def on_host(operation: Callable[..., Any]) -> Callable[[Call], Result]:
    """Softmax and LogSoftmax."""

    def translate(c: Call) -> Result:
        axis = c.axis(int(c.get("axis", -1 if c.trace.opset >= 13 else 1)))
        flat = math.prod(c.shape()[axis + 1 :]) == 1
        c.need(
            c.trace.opset >= 13 or flat,
            "of several dimensions at once, as before opset 13",
            "convert the model to opset 13 or later",
        )
        return c.emit(operation, c.computed(), axis)

    return translate


def argmax(c: Call) -> Result:
    """ArgMax."""
    c.need(not c.get("select_last_index", 0), "select_last_index=1", "leave it at 0")
    axis = c.axis(int(c.get("axis", 0)))
    return c.emit(aten.argmax.default, c.computed(), axis, bool(c.get("keepdims", 1)))
