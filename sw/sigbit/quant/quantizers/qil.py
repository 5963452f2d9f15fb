"""QIL (arXiv 1808.05779): a learned interval ``[c - d, c + d]`` of magnitudes is mapped to [0, 1]
and rounded to equal steps; smaller magnitudes are pruned, larger ones clipped.

    t(x) = clip(0.5 (|x| - c) / d + 0.5, 0, 1);   real = (c + d) sign(x) round(top t) / top

with gamma = 1, as in both public implementations. The publication's output is in [-1, 1]; the
constant factor ``c + d``, which gets no gradient, preserves the magnitude. Initially ``c = d``,
half of the range with the least squared error: no pruning. Gradients of t: ``0.5 / d`` to \\|x|,
``-0.5 / d`` to c, ``-0.5 (|x| - c) / d^2`` to d inside the interval, else 0; the rounding is
straight-through.
"""

import math

import torch
from torch import Tensor, nn

from sigbit.quant.numbers.grid import LevelGrid, per_channel, round_half_away
from sigbit.quant.numbers.scales import ScaleRule, mse_scale
from sigbit.quant.quantizers.base import Quantizer, positive, scale_gradient, straight_through

INTERVAL = ScaleRule("interval", mse_scale)


class Qil(Quantizer):
    """The interval of a tensor or of each channel: ``log_center``, ``log_distance`` (base 2)."""

    clips = False
    curved = True

    def __init__(self, grid: LevelGrid, rule: ScaleRule, channels: int | None = None) -> None:
        super().__init__(grid, rule, channels)
        start = torch.zeros_like(self.log_scale)
        self.log_center, self.log_distance = nn.Parameter(start), nn.Parameter(start.clone())

    def parameter_groups(self) -> list[dict[str, object]]:
        """The interval, with a hundredth of the weights' learning rate."""
        parameters = [self.log_center, self.log_distance]
        return [{"params": parameters, "lr_factor": 0.01, "weight_decay": 0.0}]

    @torch.no_grad()
    def initialize(self, x: Tensor, values: int) -> None:
        """Set the interval from a kernel or activation ``x``."""
        half = positive(self.choose(x)) * self.grid.max / 2
        self.log_center.copy_(half.log2())
        self.log_distance.copy_(half.log2())
        self.gradient_factor.fill_(1 / math.sqrt(values * self.grid.max))

    @torch.no_grad()
    def give(self, scale: Tensor) -> None:
        """Stretch the interval so that it ends at ``scale`` times the largest level."""
        octaves = (scale / self.scale()).log2()
        self.log_center.add_(octaves)
        self.log_distance.add_(octaves)

    def interval(self) -> tuple[Tensor, Tensor]:
        """(c, d), float64, with 0 < d <= c."""
        center, distance = torch.exp2(self.log_center), torch.exp2(self.log_distance)
        center = scale_gradient(center, self.gradient_factor)
        return center, torch.minimum(scale_gradient(distance, self.gradient_factor), center)

    def normalized(self, x: Tensor) -> Tensor:
        """``t(x)``, in [0, 1]."""
        center, distance = (per_channel(v, x).to(x.dtype) for v in self.interval())
        return (0.5 * (x.abs() - center) / distance + 0.5).clamp(0, 1)

    def transform(self, w: Tensor) -> Tensor:
        """Signed ``t(w)`` times ``c + d``."""
        reach = per_channel(self.scale() * self.grid.max, w).to(w.dtype)
        return self.normalized(w) * torch.sign(w) * reach

    def scale(self, x: Tensor | None = None) -> Tensor:
        """``(c + d) / top``, a constant for gradients."""
        center, distance = self.interval()
        return ((center + distance) / self.grid.max).detach()

    def round(self, v: Tensor) -> Tensor:
        """Levels of activations ``v`` (units of a level)."""
        with torch.no_grad():
            x = v.clamp(min=0) * self.scale().to(v.dtype)
            return round_half_away(self.normalized(x) * self.grid.max)

    def curve(self, v: Tensor) -> Tensor:
        """The levels, with the gradients of ``top t``."""
        x = v.clamp(min=0) * self.scale().to(v.dtype)
        return straight_through(self.round(v), self.normalized(x) * self.grid.max)
