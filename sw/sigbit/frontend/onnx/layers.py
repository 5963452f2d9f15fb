"""Translation of ONNX convolutions, products, batch norms, pooling and reductions."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.onnx.moves import index_constant
from sigbit.frontend.onnx.trace import Call, aten

Result = FxNode | tuple[FxNode, ...]


def convolution(c: Call) -> Result:
    """Conv over lines and columns, or over steps."""
    count = _need_images(c)
    x, weight = c.computed(), c.operand(1)
    group = int(c.get("group", 1))
    kernel = c.shape(1)[2:]
    c.same("kernel_shape", list(kernel))
    stride, dilation = _each(c, "strides"), _each(c, "dilations")
    padding = _padding(c, kernel, stride, dilation)
    sides = padding[:count]
    if sides != padding[count:]:
        x, sides = _bordered(c, x, padding), (0,) * count
    operation = aten.conv1d.default if count == 1 else aten.conv2d.default
    return c.emit(operation, x, weight, _bias(c, 0), stride, sides, dilation, group)


def transposed(c: Call) -> Result:
    """ConvTranspose over lines and columns, or over steps."""
    count = _need_images(c)
    x, weight = c.computed(), c.operand(1)
    kernel, stride, dilation = c.shape(1)[2:], _each(c, "strides"), _each(c, "dilations")
    c.same("kernel_shape", list(kernel))
    more = tuple(c.get("output_padding", (0,) * count))
    full = [
        s * (n - 1) + m + (k - 1) * d + 1
        for n, s, k, d, m in zip(c.shape()[2:], stride, kernel, dilation, more, strict=True)
    ]
    automatic = c.get("auto_pad", "NOTSET")
    size = c.get("output_shape")
    if size is None and automatic.startswith("SAME"):
        size = [n * s for n, s in zip(c.shape()[2:], stride, strict=True)]
    if size is not None:
        totals = [f - n for f, n in zip(full, size[-count:], strict=True)]
        low, high = [t // 2 for t in totals], [t - t // 2 for t in totals]
        begin, end = (low, high) if automatic == "SAME_UPPER" else (high, low)
    else:
        pads = c.get("pads", (0,) * (2 * count))
        begin, end = list(pads[:count]), list(pads[count:])
    c.need(min(*begin, *end) >= 0, f"pads {(*begin, *end)}", "use pads >= 0")
    extra = [m + b - e for m, b, e in zip(more, begin, end, strict=True)]
    direct = all(0 <= e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True))
    sides, rest = (begin, extra) if direct else ([0] * count, list(more))
    group = int(c.get("group", 1))
    operands = (x, weight, _bias(c, 1, group), stride, sides, rest, group, dilation)
    one = aten.conv_transpose1d.default
    y = c.emit(one if count == 1 else aten.conv_transpose2d.input, *operands)
    return y if direct else _bordered(c, y, tuple(-n for n in (*begin, *end)))


def _bias(c: Call, axis: int, groups: int = 1) -> FxNode | None:
    """Return the bias of a convolution whose weight has its output channels along ``axis``."""
    count = c.shape(1)[axis] * groups
    c.need(
        not c.has(2) or c.shape(2) == (count,),
        f"a bias of shape {c.shape(2) if c.has(2) else ()} for {count} channels",
        "give one number per channel",
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
    """MatMul by a constant matrix, or of two computed ones."""
    if not c.is_constant(0) and not c.is_constant(1):
        return c.emit(aten.matmul.default, c.computed(), c.computed(1))
    matrix = c.array(1) if c.is_constant(1) else None
    c.need(
        matrix is not None and matrix.ndim >= 2 and math.prod(matrix.shape[:-2]) == 1,
        "a product that is not a tensor times a constant matrix",
        "multiply [batch, features] or [batch, steps, features] by an initializer [features, "
        "outputs]",
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


def layer_norm(c: Call) -> Result:
    """LayerNormalization over the last axis."""
    rank = len(c.shape())
    c.need(
        c.axis(int(c.get("axis", -1))) == rank - 1,
        "a layer norm over several axes",
        "normalize over the last axis",
    )
    c.need(
        len([o for o in c.node.output if o]) == 1, "mean and deviation", "use the first result only"
    )
    c.get("stash_type")  # in which the mean is stored
    weight, bias = c.operand(1), c.optional(2)
    sizes = [int(c.shape()[-1])]
    return c.emit(
        aten.layer_norm.default, c.computed(), sizes, weight, bias, float(c.get("epsilon", 1e-5))
    )


def instance_norm(c: Call) -> Result:
    """InstanceNormalization."""
    weight, bias, eps = c.operand(1), c.operand(2), float(c.get("epsilon", 1e-5))
    options = (None, None, True, 0.0, eps, False)
    return c.emit(aten.instance_norm.default, c.computed(), weight, bias, *options)


def group_norm(c: Call) -> Result:
    """GroupNormalization; scale and bias have one number a group before opset 21."""
    groups, channels = int(c.get("num_groups", 1)), int(c.shape()[1])
    c.get("stash_type")  # in which the mean is stored
    factors = [c.operand(1), c.operand(2)]
    if c.trace.opset < 21:
        given = [c.array(i) for i in (1, 2)]
        factors = [
            c.derived(i, "channels", np.repeat(a, channels // groups))
            for i, a in enumerate(given, start=1)
        ]
    eps = float(c.get("epsilon", 1e-5))
    return c.emit(aten.group_norm.default, c.computed(), groups, *factors, eps, False)


def einsum(c: Call) -> Result:
    """Einsum."""
    operands = [c.operand(i) for i in range(len(c.node.input))]
    return c.emit(aten.einsum.default, str(c.get("equation")), operands)


def max_pool(x: Tensor, kernel: list[int], stride: list[int], padding: list[int]) -> Tensor:
    """Maximum over windows of an image, or of a signal, with a border that is never the maximum:
    ``padding`` before each axis, then after each."""
    count = len(kernel)
    sides = [n for i in reversed(range(count)) for n in (padding[i], padding[count + i])]
    pool = F.max_pool1d if count == 1 else F.max_pool2d
    return pool(F.pad(x, sides, value=-math.inf), kernel, stride)


def max_pool_of(c: Call) -> Result:
    """MaxPool."""
    _need_images(c)
    c.need(
        set(_each(c, "dilations")) == {1}, f"dilations {c.get('dilations')}", "use dilations of 1"
    )
    c.need(
        len([o for o in c.node.output if o]) == 1, "indices of maxima", "use the first result only"
    )
    kernel, stride = tuple(c.get("kernel_shape")), _each(c, "strides")
    padding = _whole(c, kernel, stride, _padding(c, kernel, stride, (1,) * len(kernel)))
    return c.emit(max_pool, c.computed(), list(kernel), list(stride), list(padding))


def average_pool(c: Call) -> Result:
    """AveragePool; windows that count different numbers of pixels become pieces."""
    count = _need_images(c)
    c.need(
        set(_each(c, "dilations")) == {1}, f"dilations {c.get('dilations')}", "use dilations of 1"
    )
    kernel, stride = tuple(c.get("kernel_shape")), _each(c, "strides")
    padding = _padding(c, kernel, stride, (1,) * count)
    counted = bool(c.get("count_include_pad", 0))
    whole = _whole(c, kernel, stride, padding)
    if whole == padding and (counted or not any(padding)):
        x = _bordered(c, c.computed(), padding)
        operation = aten.avg_pool1d.default if count == 1 else aten.avg_pool2d.default
        return c.emit(operation, x, list(kernel), list(stride))
    return c.emit(
        avg_pool, c.computed(), list(kernel), list(stride), list(padding), list(whole), counted
    )


def windows_of(
    size: int, kernel: int, stride: int, before: int, after: int, last: int, counted: bool
) -> list[tuple[int, int, int]]:
    """Windows (start, size, divisor) of an average pooling along an axis of ``size`` pixels, with
    ``before`` and ``after`` pixels of padding, which count if ``counted``; ``last`` further pixels
    complete the last window, and never count."""
    found = []
    for start in range(-before, size + last - kernel + 1, stride):
        first, end = max(start, 0), min(start + kernel, size)
        padded = min(start + kernel, size + after) - start
        found.append((first, end - first, padded if counted else end - first))
    return found


def axes_of(
    shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    whole: Sequence[int],
    counted: bool,
) -> list[list[tuple[int, int, int]]]:
    """:func:`windows_of` every axis of an image or a signal."""
    n = len(kernel)
    return [
        windows_of(
            shape[i], kernel[i], stride[i], padding[i], padding[n + i], whole[n + i], counted
        )
        for i in range(n)
    ]


def avg_pool(
    x: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    whole: list[int],
    counted: bool,
) -> Tensor:
    """Averages over windows that count different numbers of pixels."""
    counts = [len(a) for a in axes_of(x.shape[2:], kernel, stride, padding, whole, counted)]
    return x.new_empty((*x.shape[:2], *counts))


def global_pool(operation: Callable[..., Any]) -> Callable[[Call], Result]:
    """GlobalAveragePool and GlobalMaxPool."""

    def translate(c: Call) -> Result:
        axes = list(range(2, _need_images(c) + 2))
        return c.emit(operation, c.computed(), axes, True)

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
    """Pad with a number, or with pixels of the image."""
    mode = c.get("mode", "constant")
    c.need(
        mode in _MODES, f"a border by mode {mode!r}", f"use one of the modes {', '.join(_MODES)}"
    )
    pads = c.ints(1) if c.has(1) else tuple(c.get("pads", c.get("paddings", ())))
    value = c.number(2, 0.0) if c.has(2) else float(c.get("value", 0.0))
    shape = c.shape()
    rank = len(shape)
    axes = [c.axis(a) for a in c.ints(3)] if c.has(3) else list(range(rank))
    sides = {a: (pads[i], pads[i + len(axes)]) for i, a in enumerate(axes)}
    if mode != "constant":
        return _reflected(c, _MODES[mode], sides)
    flat = [n for a in reversed(range(rank)) for n in sides.get(a, (0, 0))]
    while flat and flat[-2:] == [0, 0]:
        del flat[-2:]
    return c.emit(aten.constant_pad_nd.default, c.computed(), flat, value) if flat else c.computed()


_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}
"""Borders by ONNX's names, and NumPy's names for them."""


def _reflected(c: Call, mode: Any, sides: Mapping[int, tuple[int, int]]) -> Result:
    """A border of the image's own pixels, axis by axis."""
    node, shape = c.computed(), c.shape()
    for axis, (before, after) in sides.items():
        if not before and not after:
            continue
        kept = np.arange(shape[axis])[max(-before, 0) : shape[axis] - max(-after, 0)]
        index = np.pad(kept, (max(before, 0), max(after, 0)), mode=mode)
        node = c.emit(aten.index_select.default, node, axis, index_constant(c, index))
    return node


def _need_images(c: Call) -> int:
    """Return the number of axes of an image, or a signal, behind batch and channels."""
    count = len(c.shape()) - 2
    c.need(
        count in (1, 2),
        f"works on a tensor with {count + 2} axes",
        "give [batch, channels, height, width] or [batch, channels, steps]",
    )
    return count


def _each(c: Call, name: str) -> tuple[int, ...]:
    """Return an attribute with one number for every axis behind the channels."""
    count = len(c.shape()) - 2
    given = tuple(int(v) for v in c.get(name) or (1,) * count)
    c.need(len(given) == count, f"{name} are {list(given)}, for {count} axes", "mend the model")
    return given


def _padding(
    c: Call, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, ...]:
    """Return ``pads``, or the padding of ``auto_pad``: before every axis, then after every axis."""
    automatic, count = c.get("auto_pad", "NOTSET"), len(kernel)
    if automatic in ("NOTSET", ""):
        pads = tuple(int(n) for n in c.get("pads") or (0,) * (2 * count))
        c.need(len(pads) == 2 * count, f"pads {pads} for {count} axes", "mend the model")
        return pads
    if automatic == "VALID":
        return (0,) * (2 * count)
    before, after = [], []
    for n, k, s, d in zip(c.shape()[2:], kernel, stride, dilation, strict=True):
        total = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
        few, many = total // 2, total - total // 2
        upper = automatic == "SAME_UPPER"
        before.append(few if upper else many)
        after.append(many if upper else few)
    return (*before, *after)


def _whole(
    c: Call, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the padding that with ``ceil_mode`` also completes the last window, which must start
    inside the image or the padding before it."""
    if not c.get("ceil_mode", 0):
        return padding
    n_axes = len(kernel)
    after = []
    sizes = zip(c.shape()[2:], kernel, stride, padding[:n_axes], padding[n_axes:], strict=True)
    for n, k, s, before, behind in sizes:
        count = math.ceil((n + before + behind - k) / s) + 1
        if (count - 1) * s >= n + before:
            count -= 1
        after.append(max(behind, (count - 1) * s + k - n - before))
    return (*padding[:n_axes], *after)


def _bordered(c: Call, x: FxNode, padding: tuple[int, ...]) -> FxNode:
    """Zeros around the axes behind the channels."""
    if not any(padding):
        return x
    count = len(padding) // 2
    sides = [n for i in reversed(range(count)) for n in (padding[i], padding[count + i])]
    return c.emit(aten.constant_pad_nd.default, x, sides, 0.0)
