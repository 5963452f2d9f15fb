"""Quantizers of weights and activations: modules that own a scale and know how to apply it.

A layer asks a quantizer for its scale, may move it (to the hardware's grid of scales), and then
quantizes with the moved one; a new method is a new subclass.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from sigbit.quant.grid import LevelGrid, quantize_ste
from sigbit.quant.scales import ScaleRule


def scale_gradient(scale: Tensor, factor: Tensor) -> Tensor:
    """``scale`` itself, with its gradient multiplied by ``factor``."""
    return scale.detach() + (scale - scale.detach()) * factor


class Quantizer(nn.Module):
    """A grid and the scale that ``rule`` finds for it: a parameter, a constant, or chosen anew for
    every tensor.

    Parameters
    ----------
    grid : LevelGrid
        The values.
    rule : ScaleRule
        How the scale is found.
    channels : int or None
        Number of scales along dimension 0; None for one scale.
    """

    log_scale: Tensor
    gradient_factor: Tensor

    def __init__(self, grid: LevelGrid, rule: ScaleRule, channels: int | None = None) -> None:
        super().__init__()
        self.grid, self.rule, self.channels = grid, rule, channels
        start = torch.ones(() if channels is None else (channels,), dtype=torch.float64)
        self.register_buffer("gradient_factor", torch.ones((), dtype=torch.float64))
        if rule.learned:
            self.log_scale = nn.Parameter(start.log2())
        else:
            self.register_buffer("log_scale", start.log2())

    def choose(self, x: Tensor) -> Tensor:
        """The scale that the rule finds for ``x`` (float64); 0 where ``x`` is 0."""
        return self.rule.choose(x, self.grid, self.channels is not None)

    @torch.no_grad()
    def initialize(self, x: Tensor, values: int) -> None:
        """Set the scale from ``x``; ``values`` (a scale, a sample) normalizes the gradient of a
        learned one.
        """
        scale = self.choose(x)
        smallest = (
            scale[scale > 0].min() if bool((scale > 0).any()) else torch.ones_like(scale).max()
        )
        self.log_scale.copy_(torch.where(scale > 0, scale, smallest).log2())
        self.gradient_factor.fill_(1 / math.sqrt(values * self.grid.max))

    @torch.no_grad()
    def give(self, scale: Tensor) -> None:
        """Take ``scale``, whatever the tensor."""
        self.log_scale.copy_(scale.log2())
        self.rule = replace(self.rule, tracks=False)

    def scale(self, x: Tensor | None = None) -> Tensor:
        """The scale (float64): of the tensor ``x`` if the rule tracks, else the stored one."""
        if self.rule.tracks and x is not None:
            return self.choose(x)
        scale = torch.exp2(self.log_scale.double())
        return scale_gradient(scale, self.gradient_factor) if self.rule.learned else scale

    def quantize(self, x: Tensor, scale: Tensor) -> Tensor:
        """Integers of ``x`` with straight-through gradients to ``x`` and ``scale``."""
        return quantize_ste(x, scale.to(x.dtype), self.grid)
