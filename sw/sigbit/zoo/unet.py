"""A U-Net (Ronneberger et al. 2015) with padded convolutions: a mask has its image's size."""

from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from sigbit.errors import ZooError
from sigbit.zoo.layers import ConvNorm, initialize

Upsampling = Literal["transposed", "nearest"]
"""Upsampling by a factor of 2 in the decoder: 2x2 transposed convolution of stride 2, or repetition
of pixels followed by a 1x1 convolution with batch norm."""


class Up(nn.Module):
    """``[N, 2 C, H, W]`` and the encoder's ``[N, C, 2 H, 2 W]`` to ``[N, C, 2 H, 2 W]``."""

    def __init__(self, outputs: int, upsampling: Upsampling) -> None:
        super().__init__()
        if upsampling == "transposed":
            self.up: nn.Module = nn.ConvTranspose2d(2 * outputs, outputs, 2, stride=2)
        else:
            self.up = nn.Sequential(
                nn.Upsample(scale_factor=2, mode="nearest"),
                ConvNorm(2 * outputs, outputs, 1, activation=None),
            )
        self.body = _double(2 * outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.body(torch.cat([skip, self.up(x)], dim=1))


class UNet(nn.Module):
    """Encoder and decoder of equal depth, joined by concatenation at every size.

    Parameters
    ----------
    inputs : int
        Channels of the image.
    classes : int
        Outputs per pixel; 1 for a binary mask.
    width : int
        Channels at full size, doubled at every halving; 64 in the publication.
    depth : int
        Halvings, 4 in the publication.
    upsampling : "transposed" or "nearest"
        See :data:`Upsampling`.

    ``[N, inputs, H, W]``, H and W multiples of ``2**depth``, to logits ``[N, classes, H, W]``.
    """

    def __init__(
        self,
        inputs: int = 1,
        classes: int = 1,
        *,
        width: int = 16,
        depth: int = 4,
        upsampling: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        if upsampling not in get_args(Upsampling):
            raise ZooError(
                f"upsampling must be one of {', '.join(get_args(Upsampling))}, not {upsampling!r}"
            )
        if depth < 1:
            raise ZooError(f"depth must be at least 1, not {depth!r}")
        widths = [width << level for level in range(depth + 1)]
        self.stem = _double(inputs, width)
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2, 2), _double(outer, inner))
            for outer, inner in pairwise(widths)
        )
        self.up = nn.ModuleList(Up(outputs, upsampling) for outputs in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, classes, 1)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.stem(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in self.up:
            x = up(x, skips.pop())
        return self.head(x)


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(inputs, outputs, 3), ConvNorm(outputs, outputs, 3))
