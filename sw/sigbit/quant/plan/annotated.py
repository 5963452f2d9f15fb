"""Quantizers of a quantized model, in terms of the accelerator.

A tensor takes the scale and the levels of its annotation if there are at most 256 integer levels,
one scale and an integer zero point; it gets as many planes as its levels require. In other cases
(one scale per channel, more bits) scale and levels are the accelerator's, searched on calibration
values that are quantized by the model's quantizer. Likewise, weights that are integers of a scale
have as many terms as these integers require. Small floating-point numbers are integers, too, in
units of the smallest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation, Rounding
from sigbit.ir.floating import Flatten, FloatGraph, FromImage, ToImage
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.plan.plans import InputPlan, LayerPlan, NetworkPlan
from sigbit_hw.arch.numerics import Y_MAX, Y_MIN
from sigbit_hw.arch.thresholds import rounded, thresholds


@dataclass(frozen=True)
class Given:
    """Choices fixed by a quantized model: levels and scale of one level (float64) by tensor; weight
    terms of the sources by layer."""

    levels: Mapping[str, LevelGrid] = field(default_factory=dict)
    scales: Mapping[str, Tensor] = field(default_factory=dict)
    terms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def by_plan(graph: FloatGraph, plan: NetworkPlan) -> Mapping[str, QuantAnnotation]:
    """Return the graph's quantizers by the stored tensor with the values: the image for a flattened
    image, the copied tensor for a copy."""
    found: dict[str, QuantAnnotation] = {}
    for name, quantizer in graph.quantizers.items():
        while isinstance(graph[name], Flatten | ToImage | FromImage):
            name = graph[name].inputs[0]
        found.setdefault(name, quantizer)
    stored: dict[str, QuantAnnotation] = {}
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


def levels_of(quantizer: QuantAnnotation, positive: bool) -> LevelGrid | str:
    """Return the integers of ``quantizer``, minus the zero point, for values from 0 on if
    ``positive``; or the reason why an accelerator's tensor has no such levels."""
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
    if quantizer.mantissa is not None:
        return _floats(quantizer.mantissa, quantizer.rounding, first, last)
    if last - first > Y_MAX - Y_MIN:
        return f"it has {last - first + 1:,} levels; {Y_MAX - Y_MIN + 1} are possible"
    return LevelGrid.uniform(first, last)


def _floats(mantissa: int, rounding: Rounding, first: int, last: int) -> LevelGrid | str:
    """Return the integers from ``first`` (0 or ``-last``) to ``last`` with ``mantissa`` bits after
    the leading one, and ``last``; or the reason why there is no such grid."""
    if last > Y_MAX - Y_MIN:
        return (
            f"its largest floating-point number is {last:,} times the smallest; "
            f"{Y_MAX - Y_MIN} are possible"
        )
    own = rounded(Fraction(1), Fraction(0), "FLOOR", mantissa)(np.arange(last + 1))
    levels = LevelGrid(tuple(np.unique([*own, last]).tolist()), first < 0)
    at = borders(levels, rounding, mantissa) // 2
    if (span := int(at[-1] - at[0])) >= Y_MAX - Y_MIN:
        return (
            f"the borders of its floating-point numbers span {span} halves of the smallest one; "
            f"{Y_MAX - Y_MIN - 1} are possible"
        )
    return levels


def borders(
    levels: LevelGrid, rounding: Rounding, mantissa: int | None = None, zero: int = 0
) -> NDArray[np.int64]:
    """Return the borders below all levels but the lowest, of numbers that are rounded after
    ``zero`` is added, in quarters of a level: even numbers where they belong to the level above,
    odd ones just above borders that belong to the level below."""
    quarters = rounded(Fraction(1, 4), Fraction(zero), rounding, mantissa)
    reach = 8 * max(levels.max, -levels.min) + 4
    return thresholds(lambda q: quarters(q) - zero, -reach, reach, levels.values[1:])


def annotated_scale(quantizer: QuantAnnotation | None, grid: LevelGrid) -> Tensor | None:
    """Return the scale of one level (float64, one number) at which ``grid`` includes all values of
    ``quantizer``; None if there is none."""
    if quantizer is None or isinstance(levels := levels_of(quantizer, grid.min == 0), str):
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
    if all(g == grids[0] for g in grids):
        return grids[0]
    low, high = min(g.min for g in grids), max(g.max for g in grids)
    return LevelGrid.uniform(low, high) if high - low <= Y_MAX - Y_MIN else None
