"""Quantization Networks (arXiv 1911.09464): a sum of sigmoids that sharpen into a staircase.

    training:    n = sum_i s_i sigmoid(T (beta x - b_i)) - o
    evaluation:  n = sum_i s_i step(beta x - b_i) - o;        real = alpha n

for levels ``Y_1 < ... < Y_{n+1}``: ``s_i = Y_{i+1} - Y_i``, ``o = -Y_1``. alpha and beta are
learned, the thresholds b are chosen once. With ``g_i`` the sigmoids: ``dn/dx = beta T sum s_i g_i
(1 - g_i)``, ``dn/dbeta = x T sum s_i g_i (1 - g_i)``, ``dreal/dalpha = n``. A strategy raises the
temperature T (``T = T0 * epoch``, up to 2000).

Binary weights {-1, 1} have a single sigmoid, and where it is steep almost no weight has a gradient
any more: their gradients of x and beta are those of the sigmoid at T = 1, for any T of the values
(the authors' code multiplies them by T, and clips gradients).

Initially ``beta = (5 p / 4) / q`` with p the largest level and q the largest magnitude, ``alpha = 1
/ beta``; b are the midpoints between the means of n + 1 clusters of ``beta x``, where those around
0 are -0.05 and 0.05.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sigbit.quant.numbers.grid import LevelGrid, per_channel
from sigbit.quant.numbers.scales import MAX_SAMPLES, ScaleRule, range_scale
from sigbit.quant.quantizers.base import Quantizer, positive

MAX_TEMPERATURE = 2000.0
_CENTRAL = 0.05
_STEEPEST = 10.0
"""Largest argument of a sigmoid; beyond it the value is that of the step, without gradient."""
_ROUNDS = 20

WIDEST = ScaleRule("widest", range_scale, learned=True)


def cluster_thresholds(x: Tensor, grid: LevelGrid) -> Tensor:
    """Midpoints (float64, ``[levels - 1]``) between the means of one cluster of ``x`` per level."""
    flat = x.detach().reshape(-1).double()
    flat = flat[:: max(1, flat.numel() // MAX_SAMPLES)].contiguous()
    means = torch.tensor(grid.values, dtype=torch.float64, device=x.device)
    for _ in range(_ROUNDS):
        owner = torch.bucketize(flat, (means[1:] + means[:-1]) / 2)
        counts = torch.bincount(owner, minlength=len(means))
        sums = torch.bincount(owner, flat, minlength=len(means))
        means = torch.where(counts > 0, sums / counts.clamp(min=1), means).sort().values
    found = (means[1:] + means[:-1]) / 2
    if grid.signed:
        middle = len(found) // 2
        if 0 in grid.values:
            found[middle - 1], found[middle] = -_CENTRAL, _CENTRAL
        else:
            found[middle] = 0.0
    return found.sort().values


def _sigmoid(argument: Tensor) -> tuple[Tensor, Tensor]:
    """The sigmoid, and a mask of the values where it is not yet a step."""
    return torch.sigmoid(argument), argument.abs() <= _STEEPEST


class _Staircase(torch.autograd.Function):
    """``sum_i s_i sigmoid(T (beta x - b_i)) - o`` and its closed-form gradients at the temperature
    ``of_gradient``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        beta: Tensor,
        bounds: Tensor,
        steps: Tensor,
        t: float,
        of_gradient: float,
    ) -> Tensor:
        v, slope, total = beta * x, torch.zeros_like(x), torch.zeros_like(x)
        for bound, step in zip(bounds.tolist(), steps.tolist(), strict=True):
            g, inside = _sigmoid((v - bound) * t)
            total += step * torch.where(inside, g, (v > bound).to(x.dtype))
            if of_gradient != t:
                g, inside = _sigmoid((v - bound) * of_gradient)
            slope += step * of_gradient * (g * (1 - g) * inside)
        ctx.save_for_backward(x, beta, slope)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, beta, slope = ctx.saved_tensors
        inner = grads[0] * slope
        grad_beta = (inner * x).sum_to_size(beta.shape) if ctx.needs_input_grad[1] else None
        return inner * beta, grad_beta, None, None, None, None


class QuantizationNetwork(Quantizer):
    """The staircase of a tensor, with alpha and beta for it or for each channel."""

    curved = True
    thresholds: Tensor
    temperature: Tensor

    def __init__(self, grid: LevelGrid, rule: ScaleRule, channels: int | None = None) -> None:
        super().__init__(grid, rule, channels)
        self.log_beta = nn.Parameter(torch.zeros_like(self.log_scale))
        values = torch.tensor(grid.values, dtype=torch.float64)
        self._steps, self._lowest = values.diff(), float(values[0])
        self.register_buffer("thresholds", (values[1:] + values[:-1]) / 2)
        self.register_buffer("temperature", torch.tensor(10.0, dtype=torch.float64))

    @torch.no_grad()
    def initialize(self, x: Tensor, values: int) -> None:
        """Set alpha, beta, and the thresholds from a kernel or activation ``x``."""
        scale = positive(self.choose(x)) / 1.25
        self.log_scale.copy_(scale.log2())
        self.log_beta.copy_(-scale.log2())
        self.thresholds.copy_(cluster_thresholds(x / per_channel(scale, x), self.grid))

    @property
    def soft(self) -> bool:
        """True if sigmoids are used, that is, in training."""
        return self.training

    def staircase(self, x: Tensor) -> Tensor:
        """n of ``x``, soft in training."""
        beta = per_channel(torch.exp2(self.log_beta), x).to(x.dtype)
        if not self.soft:
            v = beta.detach() * x.detach()
            total = torch.full_like(v, self._lowest)
            for bound, step in zip(self.thresholds.tolist(), self._steps.tolist(), strict=True):
                total += step * (v >= bound)
            return total
        t = float(self.temperature)
        of_gradient = 1.0 if self.grid.values == (-1, 1) else t
        total = _Staircase.apply(x, beta, self.thresholds, self._steps, t, of_gradient)
        return total + self._lowest

    def quantize(self, x: Tensor, scale: Tensor) -> Tensor:
        """n of weights, with the gradient of ``scale`` times n."""
        n, wide = self.staircase(x), per_channel(scale, x)
        return n * (wide / wide.detach()).to(x.dtype)

    def round(self, v: Tensor) -> Tensor:
        """Levels of activations ``v`` (units of a level)."""
        beta = torch.exp2(self.log_beta + self.log_scale).detach().to(v.dtype)
        total = torch.full_like(v, self._lowest)
        for bound, step in zip(self.thresholds.tolist(), self._steps.tolist(), strict=True):
            total += step * (beta * v >= bound)
        return total

    def curve(self, v: Tensor) -> Tensor:
        """n of activations in units of a level, with the gradient of alpha times n."""
        scale = torch.exp2(self.log_scale)
        n = self.staircase(v * scale.detach().to(v.dtype))
        return n * (scale / scale.detach()).to(v.dtype)
