"""Translation of convolutions, matrix products, batch norms and pooling."""

from typing import Any

import torch
from torch import Tensor

from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating
from sigbit.ir.floating import MAX_WINDOW, Padding

MAX_STRIDE = 15
"""Column phases that a stored tensor can have."""


def pair(value: Any) -> tuple[int, int]:
    """One number, or two, as two."""
    value = list(value) if isinstance(value, (list, tuple)) else [value]
    return (int(value[0]), int(value[-1]))


def check_window(
    kernel: tuple[int, int], stride: tuple[int, int], size: tuple[int, ...]
) -> tuple[int, int]:
    """The stride, 1 where a dimension of the result has size 1; :class:`Refusal` if the window is
    too large."""
    if max(kernel) > MAX_WINDOW:
        raise Refusal(
            f"kernel {kernel} is larger than {MAX_WINDOW}x{MAX_WINDOW}",
            f"use kernels up to {MAX_WINDOW}x{MAX_WINDOW}",
        )
    vertical, horizontal = (1 if n == 1 else s for s, n in zip(stride, size, strict=True))
    if max(vertical, horizontal) > MAX_STRIDE:
        raise Refusal(f"stride {stride} is not supported", f"use strides up to {MAX_STRIDE}")
    return vertical, horizontal


def _unpadded(t: Translation, tensor: str, padding: Padding) -> tuple[str, Padding]:
    """A zero border before a zero-padded window is part of the padding."""
    node = t.build.nodes[tensor]
    while isinstance(node, floating.Pad):
        top, left, bottom, right = (a + b for a, b in zip(padding, node.padding, strict=True))
        tensor, padding = node.inputs[0], (top, left, bottom, right)
        node = t.build.nodes[tensor]
    return tensor, padding


def convolution(t: Translation) -> Value:
    """conv2d, also with padding by name."""
    tensor = t.image("input")
    weight = t.weight("weight")
    kernel = pair(t.build.parameters[weight].shape[2:])
    dilation = pair(t.argument("dilation"))
    stride = check_window(kernel, pair(t.argument("stride")), t.shape[1:])
    padding = t.argument("padding")
    if padding == "same":
        total = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        top, left = total[0] // 2, total[1] // 2
        sides = (top, left, total[0] - top, total[1] - left)
    else:
        vertical, horizontal = (0, 0) if padding == "valid" else pair(padding)
        sides = (vertical, horizontal, vertical, horizontal)
    shape = t.shape
    tensor, sides = _unpadded(t, tensor, sides)
    base = t.base(tensor, shape=shape)
    size = t.shape_of(tensor)[1:]
    after = tuple(
        min(end, (out - 1) * s + (k - 1) * d + 1 - n - start) if out == 1 else end
        for end, out, s, k, d, n, start in zip(
            sides[2:], shape[1:], stride, kernel, dilation, size, sides[:2], strict=True
        )
    )
    return t.add(
        floating.Conv2d(
            **base,
            weight=weight,
            bias=t.parameter("bias"),
            stride=stride,
            padding=(sides[0], sides[1], after[0], after[1]),
            dilation=dilation,
            groups=int(t.argument("groups")),
        )
    )


def any_convolution(t: Translation) -> Value:
    """convolution, to which the core operators reduce all convolutions."""
    if len(t.argument("stride")) != 2:
        return unsupported_convolution(t)
    if t.argument("transposed"):
        return transposed(t)
    if any(t.argument("output_padding")):
        raise Refusal(f"output_padding={t.argument('output_padding')}", "leave it at 0")
    return convolution(t)


def transposed(t: Translation) -> Value:
    """conv_transpose2d."""
    tensor = t.image("input")
    weight = t.weight("weight")
    stride = pair(t.argument("stride"))
    check_window(pair(t.build.parameters[weight].shape[2:]), stride, (2, 2))
    (y, x), (more_y, more_x) = pair(t.argument("padding")), pair(t.argument("output_padding"))
    return t.add(
        floating.ConvTranspose2d(
            **t.base(tensor),
            weight=weight,
            bias=t.parameter("bias"),
            stride=stride,
            crop=(y, x, y - more_y, x - more_x),
            dilation=pair(t.argument("dilation")),
            groups=int(t.argument("groups")),
        )
    )


def unsupported_convolution(t: Translation) -> Value:
    """conv1d, conv3d."""
    raise Refusal("only two-dimensional convolutions are supported", "use Conv2d (kernel 1 x k)")


def linear(t: Translation) -> Value:
    """linear: a matrix of the module's times a vector."""
    return _product(t, t.computed("input"), t.weight("weight"), t.parameter("bias"))


def matmul(t: Translation) -> Value:
    """matmul and mm: vectors times a constant matrix."""
    first = t.argument("self")
    matrix = t.constant("other" if t.argument("mat2") is None else "mat2")
    if matrix is None or matrix.dim() != 2:
        raise Refusal(
            "a product of two computed matrices", "multiply by a parameter, or use Linear"
        )
    return _product(t, t.known(first), t.derived("weight", matrix.t()), None)


def addmm(t: Translation) -> Value:
    """addmm with a constant matrix and bias."""
    matrix, bias = t.constant("mat2"), t.constant("self")
    if matrix is None or bias is None or t.argument("beta") != 1 or t.argument("alpha") != 1:
        raise Refusal("addmm with computed or scaled operands", "use Linear")
    if bias.dim() > 1 and bias.shape[0] != 1:
        raise Refusal(
            f"a matrix of shape {tuple(bias.shape)} added to the product",
            "add one number, or one a feature",
        )
    bias = bias.expand(1, matrix.shape[1]).reshape(-1)
    weight = t.derived("weight", matrix.t())
    return _product(t, t.computed("mat1"), weight, t.derived("bias", bias))


def _product(t: Translation, value: Computed, weight: str, bias: str | None) -> Value:
    """Where features were moved, the columns of the matrix move instead."""
    shape = t.shape_of(value.tensor)
    if len(t.shape) != 1:
        raise Refusal("works on [batch, features] tensors only", "flatten from dimension 1 first")
    if value.index is None or (value.index == range(value.index.size)).all():
        return t.add(
            floating.Linear(
                **t.base(t.build.tensor(value, t.location, t.dtype)), weight=weight, bias=bias
            )
        )
    if len(shape) == 2:
        tensor = t.build.tensor(value, t.location, t.dtype)
        return t.add(floating.Linear(**t.base(tensor), weight=weight, bias=bias))
    size = int(torch.Size(shape).numel())
    old = t.build.parameters[weight]
    used = torch.from_numpy(value.index >= 0)
    columns = torch.from_numpy(value.index)[used]
    moved = old.new_zeros(old.shape[0], size).index_add_(1, columns, old[:, used])
    tensor = value.tensor
    if len(shape) == 3:
        tensor = t.build.add(floating.Flatten(**t.base(tensor, shape=(size,), part="flatten")))
    weight = t.derived("weight", moved)
    return t.add(floating.Linear(**t.base(tensor), weight=weight, bias=bias))


def batch_norm(t: Translation) -> Value:
    """batch_norm with running statistics; the functional form has several results."""
    tensor = t.tensor("input")
    if len(t.shape_of(tensor)) == 2:
        raise Refusal("normalizes the steps of a sequence", "select the steps first")
    if t.argument("running_mean") is None or t.argument("training", False):
        return batch_norm_of_batch(t)
    norm = t.add(
        floating.BatchNorm(
            **t.base(tensor),
            weight=t.parameter("weight"),
            bias=t.parameter("bias"),
            mean=t.weight("running_mean"),
            var=t.weight("running_var"),
            eps=float(t.argument("eps")),
        )
    )
    return norm if isinstance(t.node.meta["val"], Tensor) else (norm,)


def batch_norm_of_batch(t: Translation) -> Value:
    """batch_norm with the statistics of the batch."""
    if t.argument("running_mean") is None:
        raise Refusal("batch norm without running statistics", "keep track_running_stats=True")
    raise Refusal(
        "batch norm in training mode, with the statistics of the batch",
        "export in evaluation mode: call model.eval() first",
    )


def _border(
    t: Translation, shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]
) -> Padding:
    """The padding of a pooling; with ceil_mode more below and to the right."""
    before = pair(t.argument("padding"))
    t.in_shape("ceil_mode")
    after = [
        max(p, (out - 1) * s + k - n - p)
        for p, out, s, k, n in zip(before, t.shape[1:], stride, kernel, shape[1:], strict=True)
    ]
    return (*before, after[0], after[1])


def max_pool(t: Translation) -> Value:
    """max_pool2d; the form with indices has two results."""
    tensor = t.image("self")
    if pair(t.argument("dilation")) != (1, 1):
        raise Refusal(f"dilation {t.argument('dilation')} is not supported", "use dilation 1")
    kernel = pair(t.argument("kernel_size"))
    stride = pair(t.argument("stride") or kernel)
    padding = _border(t, t.shape_of(tensor), kernel, stride)
    pool = fitted_max_pool(t, tensor, kernel, stride, padding)
    return pool if isinstance(t.node.meta["val"], Tensor) else (pool,)


def fitted_max_pool(
    t: Translation, tensor: str, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding
) -> Computed:
    """Maximum over the windows that the result's shape has room for."""
    stride = check_window(kernel, stride, t.shape[1:])
    padding = _fit(t, tensor, kernel, stride, padding)
    return t.add(
        floating.MaxPool2d(**t.base(tensor), kernel=kernel, stride=stride, padding=padding)
    )


def _fit(
    t: Translation, tensor: str, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding
) -> Padding:
    """Where a stride became 1 because there is one window, nothing behind that window."""
    size = t.shape_of(tensor)[1:]
    after = [
        k - n - start if out == 1 else end
        for end, out, k, n, start in zip(
            padding[2:], t.shape[1:], kernel, size, padding[:2], strict=True
        )
    ]
    return (padding[0], padding[1], after[0], after[1])


def avg_pool(t: Translation) -> Value:
    """avg_pool2d where every window has the same divisor."""
    tensor = t.image("self")
    kernel = pair(t.argument("kernel_size"))
    stride = pair(t.argument("stride") or kernel)
    padding = _border(t, t.shape_of(tensor), kernel, stride)
    divisor, counted = t.argument("divisor_override"), t.argument("count_include_pad")
    if divisor is None and any(padding) and not counted:
        raise Refusal(
            "count_include_pad=False with padding is not supported",
            "count the padding, or pad nothing",
        )
    if divisor is None and padding[2:] != padding[:2]:
        raise Refusal(
            "ceil_mode with windows beyond the border divides by different numbers",
            "use ceil_mode=False, or divisor_override",
        )
    stride = check_window(kernel, stride, t.shape[1:])
    padding = _fit(t, tensor, kernel, stride, padding)
    shape = t.shape
    tensor, padding = _unpadded(t, tensor, padding)
    return t.add(
        floating.AvgPool2d(
            **t.base(tensor, shape=shape),
            kernel=kernel,
            stride=stride,
            padding=padding,
            divisor=int(divisor or kernel[0] * kernel[1]),
        )
    )


def adaptive_avg_pool(t: Translation) -> Value:
    """adaptive_avg_pool2d between sizes that divide each other."""
    return Computed(_adaptive(t, floating.AvgPool2d))


def adaptive_max_pool(t: Translation) -> Value:
    """adaptive_max_pool2d between sizes that divide each other."""
    return (Computed(_adaptive(t, floating.MaxPool2d)),)


def _adaptive(t: Translation, kind: type[floating.AvgPool2d] | type[floating.MaxPool2d]) -> str:
    tensor = t.image("self")
    t.in_shape("output_size")
    size, want = t.shape_of(tensor)[1:], t.shape[1:]
    if any(n % m and m % n for n, m in zip(size, want, strict=True)):
        raise Refusal(
            f"adaptive pooling from {size} to {want} has windows of several sizes",
            "pool to a size that divides the image",
        )
    kernel = (max(size[0] // want[0], 1), max(size[1] // want[1], 1))
    if kernel != (1, 1):
        tensor = blocks(t, tensor, kernel, kind)
    now = t.shape_of(tensor)[1:]
    if now != want:
        factor = (want[0] // now[0], want[1] // now[1])
        tensor = t.build.add(floating.Upsample(**t.base(tensor), factor=factor))
    return tensor


def _part(size: int) -> int:
    """What a side that is too large for one window is first divided by, 1 if nothing will do."""
    if size <= MAX_WINDOW:
        return 1
    return max(n for n in range(1, MAX_STRIDE + 1) if size % n == 0)


def blocks(
    t: Translation,
    tensor: str,
    kernel: tuple[int, int],
    kind: type[floating.AvgPool2d] | type[floating.MaxPool2d],
    divisor: int | None = None,
) -> str:
    """Pooling of adjacent blocks; of large ones in two stages."""
    if max(kernel) > MAX_WINDOW:
        first = (_part(kernel[0]), _part(kernel[1]))
        if first != (1, 1):
            tensor = blocks(t, tensor, first, kind, divisor)
            kernel = (kernel[0] // first[0], kernel[1] // first[1])
    channels, height, width = t.shape_of(tensor)
    shape = (channels, height // kernel[0], width // kernel[1])
    stride = check_window(kernel, kernel, shape[1:])
    fields: dict[str, Any] = t.base(tensor, shape=shape)
    fields |= {"kernel": kernel, "stride": stride, "padding": (0, 0, 0, 0)}
    if kind is floating.AvgPool2d:
        fields["divisor"] = kernel[0] * kernel[1] if divisor is None else divisor
    return t.build.add(kind(**fields))
