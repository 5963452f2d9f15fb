"""Parts shared by several networks: TensorFlow's padding, convolution with batch norm, and initial
weights."""

from collections.abc import Callable
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.errors import ZooError

Padding = Literal["symmetric", "same"]
"""Padding of a convolution that keeps its size at stride 1 with odd kernels: ``symmetric`` is ``(k
- 1) // 2`` on every side, ``same`` TensorFlow's rule (:func:`same_padding`). They differ at stride
2 and for even kernels."""


def check_padding(padding: str) -> None:
    """Raise :class:`ZooError` unless ``padding`` is a :data:`Padding`."""
    if padding not in get_args(Padding):
        raise ZooError(f"padding must be one of {', '.join(get_args(Padding))}, not {padding!r}")


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one dimension by TensorFlow's SAME rule.

    ``total = max((ceil(size / stride) - 1) * stride + kernel - size, 0)``, the smaller half before.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def same_pad(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """``x`` [N, C, H, W] with the zeros around it that ``convolution`` needs for SAME padding."""
    (kernel_y, kernel_x), (stride_y, stride_x) = convolution.kernel_size, convolution.stride
    top, bottom = same_padding(x.shape[2], kernel_y, stride_y)
    left, right = same_padding(x.shape[3], kernel_x, stride_x)
    return F.pad(x, (left, right, top, bottom)) if top + bottom + left + right else x


def convolution(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    *,
    groups: int = 1,
    padding: Padding = "symmetric",
) -> nn.Conv2d:
    """A convolution without bias, for :func:`convolve` with the same ``padding``.

    At stride 1 with an odd kernel both paddings are the same and the convolution does them itself;
    otherwise it has no padding for ``same``.
    """
    kernel_y, kernel_x = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    sides = (0, 0) if padding == "same" else ((kernel_y - 1) // 2, (kernel_x - 1) // 2)
    if padding == "same" and stride == 1 and kernel_y % 2 and kernel_x % 2:
        sides = (kernel_y // 2, kernel_x // 2)
    return nn.Conv2d(
        inputs, outputs, (kernel_y, kernel_x), stride, sides, groups=groups, bias=False
    )


def convolve(x: Tensor, module: nn.Module, padding: Padding) -> Tensor:
    """``module(x)`` for a module of :func:`convolution` with the same ``padding``, or for a
    replacement of one: a module of the same kind together with 1x1 convolutions."""
    if padding == "same":
        for part in module.modules():
            if isinstance(part, nn.Conv2d) and part.padding == (0, 0):
                x = same_pad(x, part)
    return module(x)


class ConvNorm(nn.Sequential):
    """Convolution "0", batch norm "1" and, unless it is None, activation "2"."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        padding: Padding = "symmetric",
        activation: Callable[[], nn.Module] | None = nn.ReLU,
    ) -> None:
        layers = [
            convolution(inputs, outputs, kernel, stride, groups=groups, padding=padding),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([activation()] if activation else []))
        self._padding = padding

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self
        x = convolve(x, first, self._padding)
        for module in others:
            x = module(x)
        return x


def initialize(network: nn.Module) -> None:
    """He's normal distribution (fan out) for the weights of all convolutions, zero biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
