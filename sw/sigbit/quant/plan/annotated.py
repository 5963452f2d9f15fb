"""Quantizers that a quantized model brings along, as scales of the accelerator's grids.

A tensor takes the scale of its annotation where every value of that quantizer is a level of the
tensor's grid: one scale, a zero point that is an integer, a range within the grid's. Elsewhere (one
scale a channel, more bits than the grid has, small floating-point numbers) the scale is searched on
calibration values, which are quantized as the model quantizes them. Likewise weights take the
scales that they were quantized with where all of them are on the grid; snapping to a requantizer's
step moves them by at most 2^-15 where a step of y is one of the accumulator or more.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation, Quantizer
from sigbit.ir.floating import Flatten, FloatGraph
from sigbit.quant.numbers.grid import LevelGrid

_NEAR = 1e-3
"""By how much a weight may miss its integer: rounding errors of its scale."""


def by_tensor(graph: FloatGraph) -> Mapping[str, Quantizer]:
    """The graph's quantizers by the tensor that has the values: a flattened image is the image."""
    found: dict[str, Quantizer] = {}
    for name, quantizer in graph.quantizers.items():
        while isinstance(graph[name], Flatten):
            name = graph[name].inputs[0]
        found.setdefault(name, quantizer)
    return found


def annotated_scale(quantizer: Quantizer | None, grid: LevelGrid) -> Tensor | None:
    """The scale of one level (float64, one number) at which ``grid`` has all values of
    ``quantizer``; None if there is none."""
    if not isinstance(quantizer, QuantAnnotation):
        return None
    if quantizer.scale.numel() != 1 or quantizer.zero_point.numel() != 1:
        return None
    zero, (low, high) = float(quantizer.zero_point), quantizer.range
    if not all(float(v).is_integer() for v in (zero, low, high)):
        return None
    levels = range(int(low - zero), int(high - zero) + 1)
    if quantizer.signed and quantizer.bits == 1:
        levels = range(-1, 2)
    if levels[0] < grid.min or levels[-1] > grid.max:
        return None
    if not grid.is_uniform and not {abs(v) for v in levels} <= set(grid.magnitudes):
        return None
    return quantizer.scale.reshape(()).double()


def weight_scale(
    quantizer: QuantAnnotation | None, weight: Tensor, grid: LevelGrid
) -> Tensor | None:
    """The scales ``[out]`` (float64) at which ``grid`` has all values of ``weight`` ``[out, ...]``,
    which are those of ``quantizer``; None if there are none."""
    if quantizer is None or bool(quantizer.zero_point.any()):
        return None
    scale = quantizer.scale.double().abs()
    if scale.numel() > 1 and scale.dim() != weight.dim():
        return None
    rows = scale.reshape(-1)[:1].expand(len(weight)) if scale.numel() == 1 else None
    if rows is None:
        wide = scale.expand(weight.shape).flatten(1)
        if not bool((wide == wide[:, :1]).all()):
            return None
        rows = wide[:, 0]
    levels = weight.double() / rows.view(-1, *[1] * (weight.dim() - 1))
    whole = levels.round()
    if not bool(((levels - whole).abs() < _NEAR).all()):
        return None
    magnitudes = torch.tensor(grid.magnitudes, dtype=torch.float64)
    return rows if bool(torch.isin(whole.abs(), magnitudes).all()) else None
