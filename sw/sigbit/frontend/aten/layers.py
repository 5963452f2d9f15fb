"""Translation of convolutions, matrix products, batch norms and pooling."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sigbit.frontend.aten import attention
from sigbit.frontend.movement import full_index
from sigbit.frontend.moves import Index
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Mixed, Refusal, Value
from sigbit.frontend.views import along, has_all, is_whole, whole
from sigbit.ir import floating
from sigbit.ir.floating import MAX_WINDOW, Padding

MAX_STRIDE = 15
"""Number of column phases that a stored tensor can have."""


def pair(value: Any) -> tuple[int, int]:
    """Return one number, or two, as a pair."""
    value = list(value) if isinstance(value, (list, tuple)) else [value]
    return (int(value[0]), int(value[-1]))


def check_window(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    size: tuple[int, ...],
    *,
    of_input: bool = False,
) -> tuple[int, int]:
    """Return the stride, 1 where a dimension of the result has size 1; raise :class:`Refusal` if
    the window is too large. ``of_input``: the host lays out the windows, which may be of any
    size."""
    own = tuple(1 if n == 1 else s for s, n in zip(stride, size, strict=True))
    if max(kernel) > MAX_WINDOW and not of_input:
        raise Refusal(
            f"kernel {kernel} is larger than {MAX_WINDOW}x{MAX_WINDOW}",
            f"use kernels up to {MAX_WINDOW}x{MAX_WINDOW}; on an input they may be larger",
        )
    if max(own) > MAX_STRIDE and not of_input:
        raise Refusal(
            f"stride {stride} is not supported",
            f"use strides up to {MAX_STRIDE}; on an input they may be larger",
        )
    return own[0], own[1]


def _unpadded(t: Translation, tensor: str, padding: Padding) -> tuple[str, Padding]:
    """Merge a zero border before a zero-padded window into the padding; pixels that were cut off
    are not restored."""
    node = t.build.nodes[tensor]
    while isinstance(node, floating.Pad):
        if any(a < 0 < b for a, b in zip(node.padding, padding, strict=True)):
            break
        top, left, bottom, right = (a + b for a, b in zip(padding, node.padding, strict=True))
        tensor, padding = node.inputs[0], (top, left, bottom, right)
        node = t.build.nodes[tensor]
    return tensor, padding


class Windows:
    """Windows over the image that is ``operand``, or the argument of this name; for a signal
    [batch, C, steps], over its steps, which become lines."""

    def __init__(self, t: Translation, operand: Any) -> None:
        value = t.computed(operand) if isinstance(operand, str) else t.known(operand)
        self._t, self._signal = t, len(t.size(value)) == 2
        if self._signal and "2d" in str(t.node.target):
            raise Refusal(
                "works on an image without a batch, of which the channels are read as samples",
                "give [batch, C, H, W] tensors to this layer",
            )
        if self._signal:
            value = t.laid_out(value, (0, 1))
            channels, steps = t.size(value)
            value = t.chosen(value, t.index(value).reshape(channels, steps, 1))
        self.tensor = t.build.tensor(value, t.location, t.dtype)
        if len(t.shape_of(self.tensor)) != 3:
            raise Refusal(
                "works on [batch, C, H, W] or [batch, C, steps] tensors only",
                "give images or signals to this layer",
            )

    def pair(self, value: Any, missing: int = 1) -> tuple[int, int]:
        """Return one number, or one per axis, as a pair; ``missing`` is the value for a signal's
        columns."""
        return (pair(value)[0], missing) if self._signal else pair(value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the resulting image."""
        return (*self._t.shape, 1) if self._signal else self._t.shape

    def weight(self) -> str:
        """Return the kernel; a signal's kernel has one column."""
        t = self._t
        if not self._signal:
            return t.weight("weight")
        value = t.constant("weight")
        if value is None:
            raise Refusal("a kernel that is computed", "use a parameter of the module")
        return t.derived("weight", value[..., None])

    def result(self, node: floating.Node) -> Computed:
        """Return the value that ``node`` computes."""
        return self.held(self._t.build.add(node))

    def held(self, tensor: str) -> Computed:
        """Return the value of an image."""
        index = whole(self._t.shape_of(tensor))[:, :, 0] if self._signal else None
        return Computed(tensor, index, self._t.node)


def convolution(t: Translation) -> Value:
    """conv1d and conv2d, also with padding by name."""
    windows = Windows(t, "input")
    tensor, shape = windows.tensor, windows.shape
    weight = windows.weight()
    kernel = pair(t.build.parameters[weight].shape[2:])
    dilation = windows.pair(t.argument("dilation"))
    groups = int(t.argument("groups"))
    padding = t.argument("padding")
    if padding == "same":
        total = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        top, left = total[0] // 2, total[1] // 2
        sides = (top, left, total[0] - top, total[1] - left)
    else:
        vertical, horizontal = (0, 0) if padding == "valid" else windows.pair(padding, 0)
        sides = (vertical, horizontal, vertical, horizontal)
    tensor, sides = _unpadded(t, tensor, sides)
    of_input = isinstance(t.build.nodes[tensor], floating.Placeholder) and groups == 1
    strides = windows.pair(t.argument("stride"))
    stride = check_window(kernel, strides, shape[1:], of_input=of_input)
    base = t.base(tensor, shape=shape)
    size = t.shape_of(tensor)[1:]
    after = tuple(
        min(end, (out - 1) * s + (k - 1) * d + 1 - n - start) if out == 1 else end
        for end, out, s, k, d, n, start in zip(
            sides[2:], shape[1:], stride, kernel, dilation, size, sides[:2], strict=True
        )
    )
    return windows.result(
        floating.Conv2d(
            **base,
            weight=weight,
            bias=t.parameter("bias"),
            stride=stride,
            padding=(sides[0], sides[1], after[0], after[1]),
            dilation=dilation,
            groups=groups,
        )
    )


def any_convolution(t: Translation) -> Value:
    """convolution, the core operator for all convolutions."""
    if len(t.argument("stride")) > 2:
        return unsupported_convolution(t)
    if t.argument("transposed"):
        return transposed(t)
    if any(t.argument("output_padding")):
        raise Refusal(f"output_padding={t.argument('output_padding')}", "leave it at 0")
    return convolution(t)


def transposed(t: Translation) -> Value:
    """conv_transpose1d and conv_transpose2d."""
    windows = Windows(t, "input")
    weight = windows.weight()
    stride = windows.pair(t.argument("stride"))
    check_window(pair(t.build.parameters[weight].shape[2:]), stride, (2, 2))
    y, x = windows.pair(t.argument("padding"), 0)
    more_y, more_x = windows.pair(t.argument("output_padding"), 0)
    return windows.result(
        floating.ConvTranspose2d(
            **t.base(windows.tensor, shape=windows.shape),
            weight=weight,
            bias=t.parameter("bias"),
            stride=stride,
            crop=(y, x, y - more_y, x - more_x),
            dilation=windows.pair(t.argument("dilation")),
            groups=int(t.argument("groups")),
        )
    )


def unsupported_convolution(t: Translation) -> Value:
    """conv3d."""
    raise Refusal(
        "convolutions in three dimensions are not supported",
        "use Conv2d, with the planes of a window as channels",
    )


def linear(t: Translation) -> Value:
    """linear: a matrix of the module times a vector, or times every row of samples that are
    mixed."""
    given = t.values.get(t.argument("input"))
    weight, bias = t.weight("weight"), t.parameter("bias")
    if isinstance(given, Mixed):
        return _of_rows(t, given, weight, bias)
    return times_matrix(t, t.computed("input"), weight, bias)


def _of_rows(t: Translation, given: Mixed, weight: str, bias: str | None) -> Mixed:
    """Multiply the rows of a value, each of one sample, by a matrix."""
    size = math.prod(t.shape_of(given.tensor))
    rows = given.index.reshape(-1, given.index.shape[-1]).long().numpy() - 1
    samples, places = np.divmod(rows, size)
    owner = samples[:, 0]
    own = [places[owner == number] for number in range(given.batch)]
    whole = bool((rows >= 0).all() and (samples == owner[:, None]).all())
    if not whole or any(not np.array_equal(own[0], other) for other in own[1:]):
        raise given.refusal()
    found = times_matrix(t, Computed(given.tensor, own[0], given.origin), weight, bias)
    assert isinstance(found, Computed)
    full = full_index(found, t.shape_of(found.tensor), given.batch)
    index = full.new_empty(len(rows), full.shape[-1])
    for number, part in enumerate(full):
        index[torch.from_numpy(owner == number)] = part
    shape = (*given.index.shape[:-1], full.shape[-1])
    return Mixed(found.tensor, index.reshape(shape), given.batch, t.node)


def matmul(t: Translation) -> Value:
    """matmul, mm and bmm: vectors times a constant matrix, or two computed matrices."""
    first = t.argument("self")
    name = "other" if t.argument("mat2") is None else "mat2"
    matrix = t.constant(name)
    if matrix is None and t.constant("self") is None:
        return attention.product(t, t.known(first), t.computed(name))
    if matrix is not None and matrix.dim() == 3 and bool((matrix == matrix[:1]).all()):
        matrix = matrix[0]
    if matrix is not None and matrix.dim() > 2 and matrix.shape[:-2].numel() == 1:
        matrix = matrix.reshape(matrix.shape[-2:])
    if matrix is None or matrix.dim() != 2:
        raise Refusal(
            "a product of a constant and a computed matrix, or of several constant ones",
            "multiply a computed matrix by one parameter, or use Linear",
        )
    return times_matrix(t, t.known(first), t.derived("weight", matrix.t()), None)


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
    return times_matrix(t, t.computed("mat1"), weight, t.derived("bias", bias))


def times_matrix(t: Translation, value: Computed, weight: str, bias: str | None) -> Value:
    """Multiply the last axis of a value by a matrix, for a sequence at every step. If features were
    moved, the columns of the matrix are moved instead."""
    if len(t.size(value)) > 1:
        return _of_steps(t, value, weight, bias)
    shape = t.shape_of(value.tensor)
    if value.index is None or is_whole(value.index):
        return t.add(
            floating.Linear(
                **t.base(t.build.tensor(value, t.location, t.dtype)), weight=weight, bias=bias
            )
        )
    size = int(torch.Size(shape).numel())
    if (part := _part(t, value, size)) is not None:
        return t.add(floating.Linear(**t.base(part), weight=weight, bias=bias))
    tensor = value.tensor
    if len(shape) == 3:
        tensor = t.build.add(floating.Flatten(**t.base(tensor, shape=(size,), part="flatten")))
    weight = t.derived("weight", _columns(t.build.parameters[weight], value.index, size))
    return t.add(floating.Linear(**t.base(tensor), weight=weight, bias=bias))


def _part(t: Translation, value: Computed, size: int) -> str | None:
    """Return the vector of some of the ``size`` elements of a tensor, such as those of a pixel;
    None if they have to be chosen by the columns of a matrix."""
    assert value.index is not None
    if has_all(value.index, size):
        return None
    try:
        return t.build.tensor(value, t.location, t.dtype)
    except Refusal:
        return None


def _columns(weight: Tensor, places: Index, size: int) -> Tensor:
    """Return the matrix for ``size`` features, with the columns of ``weight`` at ``places``."""
    used = torch.from_numpy(places >= 0)
    columns = torch.from_numpy(places)[used]
    return weight.new_zeros(weight.shape[0], size).index_add_(1, columns, weight[:, used])


def _features_last(t: Translation, value: Computed) -> Computed:
    """Return a value in an image whose channels are the value's last axis."""
    shape = t.size(value)
    order: tuple[int, ...] = (2, 0, 1) if len(shape) == 3 else (1, 0)
    rows = t.index(value) if len(shape) == 3 else t.index(value).reshape(-1, shape[-1])
    held = t.laid_out(Computed(value.tensor, rows, value.origin), order)
    return t.chosen(held, t.index(held).reshape(shape))


def _of_steps(t: Translation, value: Computed, weight: str, bias: str | None) -> Value:
    """Multiply the channels of every pixel by a matrix."""
    rank = len(t.size(value))
    found = along(t.shape_of(value.tensor), t.index(value), rank - 1)
    if found is None:
        value = _features_last(t, value)
        found = along(t.shape_of(value.tensor), t.index(value), rank - 1)
    assert found is not None
    shape = t.shape_of(value.tensor)
    matrix = t.build.parameters[weight]
    rows = matrix
    if len(found.channels) != shape[0] or not is_whole(found.channels):
        rows = _columns(matrix, found.channels, shape[0])
    base = t.base(value.tensor, shape=(matrix.shape[0], *shape[1:]))
    kernel = t.derived("weight", rows[:, :, None, None])
    one: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0, 0, 0)}
    tensor = t.build.add(floating.Conv2d(**base, weight=kernel, bias=bias, **one))
    count = int(torch.Size(shape[1:]).numel())
    return t.chosen(Computed(tensor), found.index(matrix.shape[0], count, rank - 1))


def batch_norm(t: Translation) -> Value:
    """batch_norm with running statistics; the functional form has several results."""
    value = t.computed("input")
    if t.argument("running_mean") is None or t.argument("training", False):
        return batch_norm_of_batch(t)
    if value.index is not None:
        value = t.settled(value) if len(t.size(value)) > 1 else value
        found = along(t.shape_of(value.tensor), t.index(value), 0)
        if found is None or not is_whole(found.channels):
            value = Computed(t.build.tensor(value, t.location, t.dtype))
    norm = floating.BatchNorm(
        **t.base(value.tensor, shape=t.shape_of(value.tensor)),
        weight=t.parameter("weight"),
        bias=t.parameter("bias"),
        mean=t.weight("running_mean"),
        var=t.weight("running_var"),
        eps=float(t.argument("eps")),
    )
    result = Computed(t.build.add(norm), value.index, t.node)
    return result if isinstance(t.node.meta["val"], Tensor) else (result,)


def batch_norm_of_batch(t: Translation) -> Value:
    """batch_norm with the statistics of the batch."""
    if t.argument("running_mean") is None:
        raise Refusal("batch norm without running statistics", "keep track_running_stats=True")
    raise Refusal(
        "batch norm in training mode, with the statistics of the batch",
        "export in evaluation mode: call model.eval() first",
    )
