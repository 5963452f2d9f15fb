"""Ternary weights by thresholds, as in TWN (arXiv 1605.04711) and in cluster regularization (arXiv
1902.10370): ``0 if |w| <= D else a sign(w)`` with ``D = 0.7 mean|w|`` and a the mean of the
magnitudes above D, of a tensor or of each channel, in every step. Identity gradient."""

from typing import Any

import torch
from torch import Tensor

from sigbit.quant.numbers.grid import LevelGrid, per_channel
from sigbit.quant.numbers.scales import ScaleRule
from sigbit.quant.quantizers.base import Quantizer, rows

THRESHOLD = 0.7
"""The threshold as a fraction of the mean magnitude."""


def threshold(x: Tensor, channels: bool) -> Tensor:
    """D: scalar, or ``[C]``."""
    found = THRESHOLD * rows(x.detach(), channels).abs().mean(1)
    return found if channels else found[0]


def cluster_magnitude(x: Tensor, grid: LevelGrid, channels: bool = False) -> Tensor:
    """a (float64): scalar, or ``[C]``; 0 where ``x`` is 0."""
    data = rows(x.detach(), channels).abs()
    above = data > (THRESHOLD * data.mean(1, keepdim=True))
    total = (data * above).sum(1, dtype=torch.float64) / above.sum(1).clamp(min=1)
    return total if channels else total[0]


CLUSTERS = ScaleRule("clusters", cluster_magnitude, tracks=True)


class Ternary(Quantizer):
    """-1, 0, 1 by the threshold, independently of the hardware's scale."""

    clips = False

    def quantize(self, x: Tensor, scale: Tensor) -> Tensor:
        """Integers of ``x``; identity gradient of the real value."""
        result: Tensor = _Ternary.apply(x, scale, threshold(x, self.channels is not None))
        return result


class _Ternary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, bound: Tensor) -> Tensor:
        ctx.save_for_backward(per_channel(scale, x).to(x.dtype))
        return torch.sign(x) * (x.abs() > per_channel(bound, x))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (scale,) = ctx.saved_tensors
        return grads[0] / scale, None, None
