"""Batch norm in training with the batch's own statistics.

A layer folds batch norms into its integer weights with the running statistics, as deployed. In
training with the statistics of the batch, the accumulators of those integer weights are normalized
again, ``gamma (acc - mean) / sigma + beta``, which also compensates the effect of quantization on
mean and variance, and the running statistics follow. Evaluation always uses the running ones; a
prepared model therefore always equals its conversion, however it was trained.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sigbit.ir.floating import BatchNorm
from sigbit.quant.plan.plans import LayerPlan

MOMENTUM = 0.1
"""Weight of a batch in the update of the running statistics."""
_EPS = 1e-5
"""Constant added to the variance of accumulators, which are integers."""


def normalized_by(plan: LayerPlan) -> tuple[BatchNorm, ...]:
    """Return the batch norms that normalize sums of sources of the plan and are not followed by
    others: their statistics can be taken from accumulators."""
    norms = dict.fromkeys(n for s in plan.sources for n in s.norms)
    return tuple(
        norm
        for norm in norms
        if all(s.norms == (norm,) for s in plan.sources if norm in s.norms)
        and all(
            b.scale == 1 and not b.norms
            for b in plan.biases
            if b.term is norm or (isinstance(b.term, BatchNorm) and norm in b.norms)
        )
    )


def normalize(
    acc: Tensor,
    norm: BatchNorm,
    factor: Tensor,
    step: Tensor,
    offset: Tensor | float,
    values: Mapping[str, Tensor],
) -> Tensor:
    """Normalize accumulators ``[N, C, H, W]``, in steps of ``step`` ``[C]``, over N, H, W, and
    return them in the same unit; the running statistics in ``values`` move towards the batch's.

    ``factor`` is the factor folded into the weights, ``offset`` the sum added before the batch
    norm. Channels with a factor of 0 keep their statistics. A single value per channel has no
    variance: the running statistics are used instead.
    """
    steps = step.to(acc.dtype)
    gamma = torch.ones_like(steps) if norm.weight is None else values[norm.weight]
    beta = torch.zeros_like(steps) if norm.bias is None else values[norm.bias]
    count = acc.numel() // acc.shape[1]
    gain, bias = gamma.abs() / steps, beta / steps
    if count < 2:
        shift = (values[norm.mean] - offset) * factor.detach() / steps
        return acc + (bias - shift).to(acc.dtype).view(-1, 1, 1)
    result, mean, inverse = torch.native_batch_norm(
        acc, gain.to(acc.dtype), bias.to(acc.dtype), None, None, True, MOMENTUM, _EPS
    )
    with torch.no_grad():
        alive = factor != 0
        unit = torch.where(alive, step / factor, 0.0).double()
        variance = (inverse.double().square().reciprocal() - _EPS).clamp(min=0)
        variance = variance * unit.square() * (count / (count - 1))
        centre = mean.double() * unit + offset
        for name, new in ((norm.mean, centre), (norm.var, variance)):
            running = values[name]
            target = torch.where(alive, new.to(running.dtype), running)
            running.lerp_(target, MOMENTUM)
    return result
