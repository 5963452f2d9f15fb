"""Quantizers that a quantized model brings along, as scales of the accelerator's grids.

A tensor takes the scale of its annotation where every value of that quantizer is a level of the
tensor's grid: one scale, a zero point that is an integer, a range within the grid's. Elsewhere (one
scale a channel, more bits than the grid has, small floating-point numbers) the scale is searched on
calibration values, which are quantized as the model quantizes them.
"""

from collections.abc import Mapping

from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation, Quantizer
from sigbit.ir.floating import Flatten, FloatGraph
from sigbit.quant.grid import LevelGrid


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
