"""Translation of ONNX convolutions, products, batch norms, pooling and reductions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.onnx.trace import Call, aten
from sigbit.ir.floating import Padding

Result = FxNode | tuple[FxNode, ...]


def convolution(c: Call) -> Result:
    """Conv."""
    _need_images(c)
    x, weight = c.computed(), c.operand(1)
    group = int(c.get("group", 1))
    kernel = c.shape(1)[2:]
    c.same("kernel_shape", list(kernel))
    stride, dilation = _pair(c, "strides"), _pair(c, "dilations")
    padding = _padding(c, kernel, stride, dilation)
    sides = (padding[0], padding[1])
    if sides != padding[2:]:
        x, sides = _bordered(c, x, padding), (0, 0)
    return c.emit(aten.conv2d.default, x, weight, _bias(c, 0), stride, sides, dilation, group)


def transposed(c: Call) -> Result:
    """ConvTranspose."""
    _need_images(c)
    x, weight = c.computed(), c.operand(1)
    kernel, stride, dilation = c.shape(1)[2:], _pair(c, "strides"), _pair(c, "dilations")
    c.same("kernel_shape", list(kernel))
    more = tuple(c.get("output_padding", (0, 0)))
    full = [
        s * (n - 1) + m + (k - 1) * d + 1
        for n, s, k, d, m in zip(c.shape()[2:], stride, kernel, dilation, more, strict=True)
    ]
    automatic = c.get("auto_pad", "NOTSET")
    size = c.get("output_shape")
    if size is None and automatic.startswith("SAME"):
        size = [n * s for n, s in zip(c.shape()[2:], stride, strict=True)]
    if size is not None:
        totals = [f - n for f, n in zip(full, size[-2:], strict=True)]
        low, high = [t // 2 for t in totals], [t - t // 2 for t in totals]
        begin, end = (low, high) if automatic == "SAME_UPPER" else (high, low)
    else:
        pads = c.get("pads", (0, 0, 0, 0))
        begin, end = list(pads[:2]), list(pads[2:])
    c.need(min(*begin, *end) >= 0, f"pads {(*begin, *end)}", "use pads >= 0")
    extra = [m + b - e for m, b, e in zip(more, begin, end, strict=True)]
    direct = all(0 <= e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True))
    sides, rest = (begin, extra) if direct else ([0, 0], list(more))
    group = int(c.get("group", 1))
    operands = (x, weight, _bias(c, 1, group), stride, sides, rest, group, dilation)
    y = c.emit(aten.conv_transpose2d.input, *operands)
    return y if direct else _bordered(c, y, (-begin[0], -begin[1], -end[0], -end[1]))


def _bias(c: Call, axis: int, groups: int = 1) -> FxNode | None:
    """The bias of a convolution whose weight has its output channels along ``axis``."""
    count = c.shape(1)[axis] * groups
    c.need(
        not c.has(2) or c.shape(2) == (count,),
        f"a bias of shape {c.shape(2) if c.has(2) else ()} for {count} channels",
        "give one number a channel",
    )
    return c.optional(2)


def gemm(c: Call) -> Result:
    """Gemm with a constant matrix."""
    c.array(1)
    c.need(not c.get("transA", 0), "transA", "give [batch, features] as it is")
    alpha, beta = float(c.get("alpha", 1.0)), float(c.get("beta", 1.0))
    c.get("broadcast")  # before opset 7 only said what the shapes say
    if alpha != 1:
        matrix = np.asarray(c.array(1)) * np.asarray(alpha, c.array(1).dtype)
        weight = c.derived(1, "scaled", matrix if c.get("transB", 0) else matrix.T.copy())
    else:
        weight = c.operand(1) if c.get("transB", 0) else c.transposed(1)
    bias = None
    given = np.asarray(c.array(2)) if c.has(2) else None
    if given is not None and beta != 0:
        rows = int(weight.meta["val"].shape[0])
        c.need(
            given.size in (1, rows) and (given.ndim < 2 or given.shape[0] == 1),
            f"a matrix of shape {given.shape} added to the product",
            "add one number, or one a feature",
        )
        if beta == 1 and given.shape == (rows,):
            bias = c.operand(2)
        else:
            row = np.broadcast_to(given.reshape(-1) * np.asarray(beta, given.dtype), rows)
            bias = c.derived(2, "row", np.ascontiguousarray(row))
    return c.emit(aten.linear.default, c.computed(), weight, bias)


def matmul(c: Call) -> Result:
    """MatMul by a constant matrix."""
    c.need(
        c.is_constant(1) and c.array(1).ndim == 2,
        "a product that is not a tensor times a constant matrix",
        "multiply [batch, features] by an initializer [features, outputs]",
    )
    return c.emit(aten.linear.default, c.computed(), c.transposed(1), None)


def batch_norm(c: Call) -> Result:
    """BatchNormalization with stored statistics."""
    c.need(
        not c.in_training() and len([o for o in c.node.output if o]) == 1,
        "batch norm with the statistics of the batch",
        "export the model in evaluation mode",
    )
    for i in range(1, 5):
        c.array(i)
    weight, bias, mean, var = (c.operand(i) for i in range(1, 5))
    options = (False, 0.0, float(c.get("epsilon", 1e-5)), False)
    return c.emit(aten.batch_norm.default, c.computed(), weight, bias, mean, var, *options)


def max_pool(x: Tensor, kernel: list[int], stride: list[int], padding: list[int]) -> Tensor:
    """Maximum over windows of an image with a border (top, left, bottom, right) that never wins."""
    top, left, bottom, right = padding
    return F.max_pool2d(F.pad(x, (left, right, top, bottom), value=-math.inf), kernel, stride)


def max_pool_of(c: Call) -> Result:
    """MaxPool."""
    _need_images(c)
    c.need(
        set(_pair(c, "dilations")) == {1}, f"dilations {c.get('dilations')}", "use dilations of 1"
    )
    c.need(
        len([o for o in c.node.output if o]) == 1, "indices of maxima", "use the first result only"
    )
    kernel, stride = tuple(c.get("kernel_shape")), _pair(c, "strides")
    padding = _whole(c, kernel, stride, _padding(c, kernel, stride, (1, 1)))
    return c.emit(max_pool, c.computed(), list(kernel), list(stride), list(padding))


def average_pool(c: Call) -> Result:
    """AveragePool where every window has the same divisor."""
    _need_images(c)
    c.need(
        set(_pair(c, "dilations")) == {1}, f"dilations {c.get('dilations')}", "use dilations of 1"
    )
    kernel, stride = tuple(c.get("kernel_shape")), _pair(c, "strides")
    padding, counted = _padding(c, kernel, stride, (1, 1)), bool(c.get("count_include_pad", 0))
    c.need(
        not any(padding) or counted,
        "count_include_pad=0 with padding divides by different numbers",
        "set count_include_pad=1, or pad nothing",
    )
    c.need(
        _whole(c, kernel, stride, padding) == padding,
        "ceil_mode with windows beyond the border divides by different numbers",
        "use ceil_mode=0",
    )
    x = _bordered(c, c.computed(), padding)
    return c.emit(aten.avg_pool2d.default, x, list(kernel), list(stride))


def global_pool(operation: Callable[..., Any]) -> Callable[[Call], Result]:
    """GlobalAveragePool and GlobalMaxPool."""

    def translate(c: Call) -> Result:
        _need_images(c)
        return c.emit(operation, c.computed(), [2, 3], True)

    return translate


def reduction(operation: Callable[..., Any]) -> Callable[[Call], Result]:
    """ReduceMean, ReduceSum and ReduceMax; axes are an attribute or the second operand."""

    def translate(c: Call) -> Result:
        axes = c.ints(1) if c.has(1) else tuple(c.get("axes", ()))
        if c.get("noop_with_empty_axes", 0) and not axes:
            return c.computed()
        rank = len(c.shape())
        axes = tuple(c.axis(a) for a in axes) or tuple(range(rank))
        c.need(0 not in axes, "reduces over the batch", "reduce over height and width")
        return c.emit(operation, c.computed(), list(axes), bool(c.get("keepdims", 1)))

    return translate


def pad(c: Call) -> Result:
    """Pad with zeros."""
    mode = c.get("mode", "constant")
    c.need(mode == "constant", f"a border by mode {mode!r}", "pad with zeros")
    pads = c.ints(1) if c.has(1) else tuple(c.get("pads", c.get("paddings", ())))
    value = c.number(2, 0.0) if c.has(2) else float(c.get("value", 0.0))
    rank = len(c.shape())
    axes = [c.axis(a) for a in c.ints(3)] if c.has(3) else list(range(rank))
    sides = {a: (pads[i], pads[i + len(axes)]) for i, a in enumerate(axes)}
    flat = [n for a in reversed(range(rank)) for n in sides.get(a, (0, 0))]
    while flat and flat[-2:] == [0, 0]:
        del flat[-2:]
    return c.emit(aten.constant_pad_nd.default, c.computed(), flat, value) if flat else c.computed()


def _need_images(c: Call) -> None:
    c.need(
        len(c.shape()) == 4,
        f"works on a tensor with {len(c.shape())} axes",
        "give [batch, channels, height, width]",
    )


def _pair(c: Call, name: str) -> tuple[int, int]:
    vertical, horizontal = c.get(name) or (1, 1)
    return int(vertical), int(horizontal)


def _padding(
    c: Call, kernel: tuple[int, ...], stride: tuple[int, int], dilation: tuple[int, int]
) -> Padding:
    """(top, left, bottom, right) from ``pads`` or ``auto_pad``."""
    automatic = c.get("auto_pad", "NOTSET")
    if automatic in ("NOTSET", ""):
        top, left, bottom, right = c.get("pads") or (0, 0, 0, 0)
        return int(top), int(left), int(bottom), int(right)
    if automatic == "VALID":
        return 0, 0, 0, 0
    sides = []
    for n, k, s, d in zip(c.shape()[2:], kernel, stride, dilation, strict=True):
        total = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
        few, many = total // 2, total - total // 2
        sides.append((few, many) if automatic == "SAME_UPPER" else (many, few))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


def _whole(c: Call, kernel: tuple[int, ...], stride: tuple[int, int], padding: Padding) -> Padding:
    """With ``ceil_mode`` the padding that also completes the last window, which must start inside
    the image or the padding before it."""
    if not c.get("ceil_mode", 0):
        return padding
    after = []
    sizes = zip(c.shape()[2:], kernel, stride, padding[:2], padding[2:], strict=True)
    for n, k, s, before, behind in sizes:
        count = math.ceil((n + before + behind - k) / s) + 1
        if (count - 1) * s >= n + before:
            count -= 1
        after.append(max(behind, (count - 1) * s + k - n - before))
    return padding[0], padding[1], after[0], after[1]


def _bordered(c: Call, x: FxNode, padding: Padding) -> FxNode:
    top, left, bottom, right = padding
    if not any(padding):
        return x
    return c.emit(aten.constant_pad_nd.default, x, [left, right, top, bottom], 0.0)
