"""Methods that round to the nearest level: they differ in level table, transform of the weights,
scale, and learned parameters.

* ESB, uniform: the rules of :mod:`~sigbit.quant.numbers.scales`, on weights with batch norms in
  them.
* LSQ (arXiv 1902.08153): learned step, ``s = 2 mean|v| / sqrt(Qp)`` at first, gradient times
  ``1 / sqrt(N Qp)``. The logarithm of s is the parameter, so that s stays positive.
* LSQ+ (arXiv 2004.09576), weights: ``s = max|mean -+ 3 sigma| / 2^(b-1)`` at first; its activations
  are in :mod:`~sigbit.quant.quantizers.lsq_plus`.
* DoReFa (arXiv 1606.06160): tanh of the weights over its largest value, rounded to odd integers
  without zero; identity gradient. One bit: sign times the mean magnitude. Activations are clipped
  at a constant.
* WRPN (arXiv 1709.01134): weights clipped at a constant, symmetric levels with zero.
* PACT (arXiv 1805.06085): activations with a learned clip whose gradient is that of clipped values,
  and of an L2 penalty, without which the clip only grows; weights of DoReFa.
* APoT (arXiv 1909.13144): sums of powers of two on normalized weights, clip learned; identity
  gradient.

Where a publication fixes a range of 1 and lets batch norm absorb the magnitude, the range here is
the tensor's own, from calibration or from the weights, which is the same function with the
magnitude preserved: pretrained networks remain unchanged.
"""

from typing import Any

import torch
from torch import Tensor

from sigbit.quant.numbers.grid import LevelGrid, per_channel
from sigbit.quant.numbers.scales import ScaleRule, mse_scale, range_scale
from sigbit.quant.quantizers.base import Quantizer, positive, rows


def lsq_step(x: Tensor, grid: LevelGrid, channels: bool = False) -> Tensor:
    """``2 mean|x| / sqrt(Qp)`` (float64); over the positive values if the grid has no others."""
    data = rows(x.detach(), channels).double()
    if not grid.min < 0:
        data = data.clamp(min=0)
        mean = data.sum(1) / (data > 0).sum(1).clamp(min=1)
    else:
        mean = data.abs().mean(1)
    step = 2 * mean / grid.max**0.5
    return step if channels else step[0]


def three_sigma_step(x: Tensor, grid: LevelGrid, channels: bool = False) -> Tensor:
    """``max(|mean - 3 sigma|, |mean + 3 sigma|) / 2^(b-1)`` (float64)."""
    data = rows(x.detach(), channels).double()
    mean, sigma = data.mean(1), data.std(1, correction=0)
    reach = torch.maximum((mean - 3 * sigma).abs(), (mean + 3 * sigma).abs())
    step = reach / max(-grid.min, 1)
    return step if channels else step[0]


def mean_magnitude(x: Tensor, grid: LevelGrid, channels: bool = False) -> Tensor:
    """``mean|x|`` (float64): the scale of binary weights."""
    mean = rows(x.detach(), channels).abs().mean(1, dtype=torch.float64)
    return mean if channels else mean[0]


PENALTY = 2e-4
"""Penalty of PACT's clips: the weight decay of its experiments."""

LSQ = ScaleRule("lsq", lsq_step, learned=True)
LSQ_PLUS_WEIGHTS = ScaleRule("lsq+", three_sigma_step, learned=True)
LEARNED = ScaleRule("learned", mse_scale, learned=True)
CONSTANT = ScaleRule("constant", mse_scale)
LARGEST_NOW = ScaleRule("largest of the step", range_scale, tracks=True)
MEAN_NOW = ScaleRule("mean of the step", mean_magnitude, tracks=True)


class Folded(Quantizer):
    """ESB and uniform: scale rules on weights with batch norms folded in."""

    folded = True


class DoReFa(Quantizer):
    """``tanh(w)`` on odd levels; with one bit ``w`` itself on -1, 1. Channels that are 0 stay 0."""

    clips = False

    def transform(self, w: Tensor) -> Tensor:
        """tanh of the kernel."""
        return w if self.grid.max == 1 else torch.tanh(w)

    def quantize(self, x: Tensor, scale: Tensor) -> Tensor:
        """Odd integers, and 0 for channels that are 0."""
        alive = rows(x.detach(), True).abs().amax(1) > 0
        return super().quantize(x, scale) * per_channel(alive.to(x.dtype), x)


class Wrpn(Quantizer):
    """Clamped weights; the gradient of the clamp."""

    def transform(self, w: Tensor) -> Tensor:
        """The kernel between the ends of the grid."""
        limit = per_channel(self.scale() * self.grid.max, w).to(w.dtype)
        return w.clamp(-limit, limit)

    @torch.no_grad()
    def initialize(self, x: Tensor, values: int) -> None:
        """Set the clip from the kernel ``x``, before it is clamped."""
        self.log_scale.copy_(positive(self.choose(x)).log2())


class Pact(Quantizer):
    """A learned clip, ``alpha = top scale``, with the penalty ``PENALTY alpha^2 / 2``."""

    saturating = True

    def scale(self, x: Tensor | None = None) -> Tensor:
        """The scale, whose gradient is that of the loss and of the penalty."""
        return with_decay(super().scale(x), PENALTY * self.grid.max**2)


def with_decay(x: Tensor, strength: float) -> Tensor:
    """Return ``x``, with the gradient of ``strength x^2 / 2`` added to its own."""
    result: Tensor = _Decay.apply(x, strength)
    return result


class _Decay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] + ctx.strength * x, None


class Apot(Quantizer):
    """Weights normalized by mean and standard deviation, with their magnitude restored; ``scale =
    alpha sigma / max`` with a learned ``alpha``, initially 3."""

    clips = False
    _given = False

    def transform(self, w: Tensor) -> Tensor:
        """Weights minus their mean, with the gradient of ``(w - mean) / sigma`` times sigma."""
        data = rows(w, self.channels is not None)
        sigma = data.std(1, correction=0, keepdim=True)
        centred = data - data.mean(1, keepdim=True)
        ratio = sigma.detach() / sigma.clamp(min=torch.finfo(w.dtype).tiny)
        return (centred * ratio).view_as(w)

    def _sigma(self, v: Tensor) -> Tensor:
        data = rows(v.detach(), self.channels is not None)
        sigma = data.double().square().mean(1).sqrt()
        return sigma if self.channels is not None else sigma[0]

    @torch.no_grad()
    def initialize(self, x: Tensor, values: int) -> None:
        """Set alpha to 3 standard deviations."""
        super().initialize(x, values)
        self.log_scale.fill_(3.0 / self.grid.max).log2_()

    @torch.no_grad()
    def give(self, scale: Tensor) -> None:
        """Set the scale to ``scale``, independently of the standard deviation."""
        super().give(scale)
        self._given = True

    def scale(self, x: Tensor | None = None) -> Tensor:
        """``alpha / max`` times the standard deviation of the transformed weights ``x``; or the
        scale that was set."""
        scale = super().scale()
        return scale if x is None or self._given else scale * self._sigma(x)


class Unclipped(Quantizer):
    """Nearest level with the identity as gradient."""

    clips = False
