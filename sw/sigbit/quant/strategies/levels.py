"""Weights as the quantizer sees them: in units of its levels, between two adjacent entries of its
table."""

from functools import cache

import torch
from torch import Tensor

from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.numbers.grid import LevelGrid, per_channel


@cache
def level_tensor(grid: LevelGrid, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The level table of ``grid``, ascending."""
    return torch.tensor(grid.values, dtype=torch.float64).to(device, dtype)


def magnitude_bits(grid: LevelGrid) -> float:
    """Bits of a magnitude, as SINAREQ counts them: ``2**b`` magnitudes, including 0 if it is a
    level; ``2**b - 1`` is the largest one of a uniform grid."""
    return float(torch.tensor(len({abs(v) for v in grid.values}), dtype=torch.float64).log2())


def rounded_input(layer: QuantLayer) -> tuple[Tensor, Tensor]:
    """Values ``[out, in / groups, kh, kw]`` that the quantizer of a layer's own weights rounds,
    with gradients to the weights; and the real value of one level, which broadcasts, without."""
    quantizer = layer.weight_quantizer
    assert quantizer is not None
    weight = layer.kernel_of_method()
    weight = weight if quantizer.folded else quantizer.transform(weight)
    scale = quantizer.scale(weight).detach().to(weight.dtype)
    return weight, per_channel(torch.where(scale > 0, scale, 1.0), weight)


def in_levels(layer: QuantLayer) -> Tensor:
    """:func:`rounded_input` in units of one level."""
    weight, scale = rounded_input(layer)
    return weight / scale


def between(v: Tensor, grid: LevelGrid) -> Tensor:
    """Position of ``v`` between its two adjacent levels: 0 at the lower, 1 at the upper one, with
    gradients; values outside the grid are clamped to it, which removes their gradient."""
    levels = level_tensor(grid, v.dtype, v.device)
    clamped = v.clamp(grid.min, grid.max)
    upper = torch.bucketize(clamped.detach().contiguous(), levels).clamp_(1, len(levels) - 1)
    low, high = levels[upper - 1], levels[upper]
    return (clamped - low) / (high - low)
