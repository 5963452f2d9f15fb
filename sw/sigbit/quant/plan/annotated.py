"""Quantizers of a quantized model, in terms of the accelerator.

A tensor takes the scale and the levels of its annotation if there are at most 256 integer levels,
one scale and an integer zero point; it gets as many planes as its levels require. In other cases
(one scale per channel, more bits, small floating-point numbers) scale and levels are the
accelerator's, searched on calibration values that are quantized by the model's quantizer. Likewise,
weights that are integers of a scale have as many terms as these integers require.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation, Quantizer
from sigbit.ir.floating import Flatten, FloatGraph, FromImage, ToImage
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.plan.plans import InputPlan, LayerPlan, NetworkPlan
from sigbit_hw.arch.numerics import Y_MAX, Y_MIN


@dataclass(frozen=True)
class Given:
    """Choices fixed by a quantized model: levels and scale of one level (float64) by tensor; weight
    terms of the sources by layer."""

    levels: Mapping[str, LevelGrid] = field(default_factory=dict)
    scales: Mapping[str, Tensor] = field(default_factory=dict)
    terms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def by_plan(graph: FloatGraph, plan: NetworkPlan) -> Mapping[str, Quantizer]:
    """Return the graph's quantizers by the stored tensor with the values: the image for a flattened
    image, the copied tensor for a copy."""
    found: dict[str, Quantizer] = {}
    for name, quantizer in graph.quantizers.items():
        while isinstance(graph[name], Flatten | ToImage | FromImage):
            name = graph[name].inputs[0]
        found.setdefault(name, quantizer)
    stored: dict[str, Quantizer] = {}
    for p in plan.layers:
        names = [p.name]
        if isinstance(p, LayerPlan):
            names = [p.name if p.activation is None else p.activation.name, *names]
            source = p.sources[0]
            plain = p.unit and p.kind == "add" and source.pointwise and source.scale == 1
            names += [source.tensor] if plain and p.activation is None else []
        if isinstance(p, (LayerPlan, InputPlan)):
            known = [
                stored[n] if n in stored else found[n] for n in names if n in stored or n in found
            ]
            if known:
                stored[p.name] = known[0]
    return stored


def levels_of(quantizer: Quantizer, positive: bool) -> LevelGrid | str:
    """Return the integers of ``quantizer``, minus the zero point, for values from 0 on if
    ``positive``; or the reason why an accelerator's tensor has no such levels."""
    if not isinstance(quantizer, QuantAnnotation):
        return "it is quantized to floating-point numbers"
    if quantizer.scale.numel() != 1 or quantizer.zero_point.numel() != 1:
        return "it has a scale or a zero point per channel"
    zero, (low, high) = float(quantizer.zero_point), quantizer.range
    if not all(float(v).is_integer() for v in (zero, low, high)):
        return "its zero point or its range is no integer"
    if quantizer.bipolar:
        return LevelGrid.uniform(-1, 1)
    first, last = int(low - zero), int(high - zero)
    first = max(first, 0) if positive else first
    if not first <= 0 < last:
        return f"its levels, from {first} to {last}, leave 0 out"
    if last - first > Y_MAX - Y_MIN:
        return f"it has {last - first + 1:,} levels; {Y_MAX - Y_MIN + 1} are possible"
    return LevelGrid.uniform(first, last)


def annotated_scale(quantizer: Quantizer | None, grid: LevelGrid) -> Tensor | None:
    """Return the scale of one level (float64, one number) at which ``grid`` includes all values of
    ``quantizer``; None if there is none."""
    levels = "" if quantizer is None else levels_of(quantizer, grid.min == 0)
    if isinstance(levels, str) or not isinstance(quantizer, QuantAnnotation):
        return None
    if levels.min < grid.min or levels.max > grid.max:
        return None
    if not grid.is_uniform and not {abs(v) for v in levels.values} <= set(grid.magnitudes):
        return None
    return quantizer.scale.reshape(()).double()


def joined(grids: list[LevelGrid], scales: list[Tensor]) -> LevelGrid | None:
    """Return all levels of tensors that share one grid; None if their scales differ."""
    if any(not torch.equal(s, scales[0]) for s in scales):
        return None
    low, high = min(g.min for g in grids), max(g.max for g in grids)
    return LevelGrid.uniform(low, high) if high - low <= Y_MAX - Y_MIN else None
