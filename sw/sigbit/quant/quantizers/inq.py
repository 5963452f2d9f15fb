"""INQ (arXiv 1702.03044): weights become powers of two, or 0, in portions.

``s = max|w|``, ``n1 = floor(log2(4 s / 3))``; levels ``0, +-2^n`` with n1 the largest exponent,
fixed by the initial weights; nearest level. ``freeze`` permanently fixes the largest weights of a
layer; in training the others remain real numbers and continue to learn. In evaluation all are
quantized, so that a prepared model always equals its conversion. The schedule of portions is a
strategy.
"""

import torch
from torch import Tensor

from sigbit.quant.numbers.grid import LevelGrid, per_channel, quantize
from sigbit.quant.numbers.scales import ScaleRule
from sigbit.quant.quantizers.base import Quantizer, positive, rows


def power_scale(x: Tensor, grid: LevelGrid, channels: bool = False) -> Tensor:
    """``2**n1 / max`` (float64): scalar, or ``[C]``; 0 where ``x`` is 0."""
    top = rows(x.detach(), channels).abs().amax(1).double()
    scale = torch.where(top > 0, torch.exp2(torch.floor(torch.log2(4 * top / 3))), 0.0) / grid.max
    return scale if channels else scale[0]


POWERS = ScaleRule("powers", power_scale)


class Inq(Quantizer):
    """Powers of two with a mask of frozen weights: buffers ``frozen`` and ``fixed`` (integers)."""

    frozen: Tensor
    fixed: Tensor

    def __init__(self, grid: LevelGrid, rule: ScaleRule, channels: int | None = None) -> None:
        super().__init__(grid, rule, channels)
        self.register_buffer("frozen", torch.zeros(0, dtype=torch.bool))
        self.register_buffer("fixed", torch.zeros(0, dtype=torch.int16))

    @torch.no_grad()
    def initialize(self, x: Tensor, values: int) -> None:
        """Set the scale from the kernel ``x``; nothing is frozen."""
        self.log_scale.copy_(positive(self.choose(x)).log2())
        self.frozen = torch.zeros_like(x, dtype=torch.bool)
        self.fixed = torch.zeros_like(x, dtype=torch.int16)

    @torch.no_grad()
    def freeze(self, x: Tensor, portion: float) -> None:
        """Freeze the largest of the weights ``x`` that are not frozen, until ``portion`` (0 to 1)
        of all are."""
        if not 0 <= portion <= 1:
            raise ValueError(f"portion must be in [0, 1], not {portion!r}")
        more = round(portion * x.numel()) - int(self.frozen.sum())
        if more <= 0:
            return
        size = x.abs().masked_fill(self.frozen, -1.0).flatten()
        chosen = torch.zeros_like(self.frozen).flatten()
        chosen[size.topk(more).indices] = True
        chosen = chosen.view_as(self.frozen)
        integers = quantize(x, self.scale().to(x.dtype), self.grid).to(torch.int16)
        self.fixed = torch.where(chosen, integers, self.fixed)
        self.frozen = self.frozen | chosen

    def quantize(self, x: Tensor, scale: Tensor) -> Tensor:
        """Integers of ``x``; in training ``x / scale`` where it is not frozen."""
        v = x / per_channel(scale.detach(), x).to(x.dtype)
        own = x.detach() / per_channel(self.scale(), x).to(x.dtype)
        one = torch.ones((), dtype=x.dtype, device=x.device)
        free = v if self.training else quantize(own, one, self.grid)
        return torch.where(self.frozen, self.fixed.to(x.dtype), free)
