"""DoReFa's quantization of gradients (arXiv 1606.06160)."""

from typing import Any

import torch
from torch import Tensor


class _QuantizeGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: int) -> Tensor:
        ctx.bits = bits
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return stochastic_gradient(grads[0], ctx.bits), None


def stochastic_gradient(grad: Tensor, bits: int) -> Tensor:
    """``2 M (Q_g(clip(grad / (2 M) + 0.5 + N, 0, 1)) - 0.5)``: M the largest magnitude of each
    sample (dimension 0), ``Q_g`` rounding to ``2^g`` values, N uniform in ``+-0.5 / (2^g - 1)``
    from torch's generator. Samples whose gradient is 0 keep it."""
    steps = 2**bits - 1
    size = grad.flatten(1).abs().amax(1).view(-1, *[1] * (grad.dim() - 1)).mul_(2)
    noise = torch.rand_like(grad).sub_(0.5).div_(steps)
    share = grad / size.clamp(min=torch.finfo(grad.dtype).tiny) + 0.5 + noise
    return ((share.clamp_(0, 1) * steps).round_() / steps - 0.5) * size


def quantize_gradient(x: Tensor, bits: int) -> Tensor:
    """``x`` itself ``[N, ...]``, whose gradient is quantized to ``bits`` bits, in expectation
    unchanged (:func:`stochastic_gradient`)."""
    result: Tensor = _QuantizeGradient.apply(x, bits)
    return result
