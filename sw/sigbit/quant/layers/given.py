"""Layers of quantized models: the codes that such a model gives, and the requantization that gives
the same.

Codes are compared as functions of the accumulator, over all that the layer's weights and the grid
of its input can reach. What the model gives is exact arithmetic on the scales that it stores,
rounded as its quantizer says; whoever computes in float32 may differ from that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation
from sigbit.quant.layers.requant import level_table
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.spec import ActGrid
from sigbit_hw.arch.numerics import UNIT, Y_MAX, Y_MIN, Ints
from sigbit_hw.arch.params import ParamFormat
from sigbit_hw.arch.thresholds import (
    Channel,
    differences,
    fit,
    guessed,
    rounded,
    thresholds,
)


@dataclass(frozen=True)
class Exactness:
    """At how many of a layer's reachable ``accumulators``, over all channels, its codes are not the
    model's, and by how much at most."""

    off: int
    accumulators: int
    most: int


@dataclass(frozen=True)
class GivenCodes:
    """What a quantized model makes of a layer's accumulators: of a channel ``acc * scale`` and the
    bias, divided by the scale of ``quantizer``, rounded, clipped.

    ``scales`` are real values of an accumulator step; ``grid`` has the levels that the quantizer
    and the activation function leave, one a step of y.
    """

    quantizer: QuantAnnotation
    scales: tuple[float, ...]
    grid: ActGrid

    @classmethod
    def of(
        cls,
        quantizer: QuantAnnotation,
        scales: Tensor,
        grid: ActGrid,
        lowest: int | None,
    ) -> "GivenCodes | None":
        """The codes of a layer on ``grid``, from level ``lowest`` on, if its model's are levels of
        it and rounded once."""
        if quantizer.source is not None:
            return None
        zero = int(quantizer.zero_point)
        low, high = (int(v) - zero for v in quantizer.range)
        low = low if lowest is None else max(low, lowest)
        if (quantizer.signed and quantizer.bits == 1) or not low <= 0 < high:
            return None
        if low < grid.low or high > grid.high or high - low > Y_MAX - Y_MIN:
            return None
        levels = LevelGrid.uniform(low, high)
        if not set(levels.values) <= set(grid.levels.values):
            return None
        # An even offset, so that levels are odd where y is: ties go to even numbers.
        offset = low - Y_MIN
        offset -= offset & 1 if high - low < Y_MAX - Y_MIN else 0
        return cls(
            quantizer, tuple(scales.tolist()), ActGrid(levels, grid.planes, grid.zero, 0, offset)
        )

    def function(self, channel: int, bias: float) -> Callable[[Ints], Ints]:
        """Levels of accumulators of levels."""
        unit = Fraction(float(self.quantizer.scale))
        zero = int(self.quantizer.zero_point) if self.quantizer.shift_first else 0
        scale = Fraction(self.scales[channel]) / unit
        codes = rounded(scale, Fraction(bias) / unit + zero, self.quantizer.rounding)
        low, high = self.grid.low, self.grid.high
        return lambda acc: (codes(acc) - zero).clip(low, high)

    def requantization(
        self, weights: Tensor, in_grid: ActGrid, bias: Tensor, fmt: ParamFormat
    ) -> tuple[Tensor, Tensor, Tensor, Exactness]:
        """(base, step, tie, exactness): parameters for accumulators of levels, with integer
        ``weights`` of levels of ``in_grid`` and the real ``bias``."""
        rows = weights.detach().cpu().double().flatten(1)
        positive, negative = rows.clamp(min=0).sum(1), rows.clamp(max=0).sum(1)
        lowest = (positive * in_grid.low + negative * in_grid.high).long().tolist()
        highest = (positive * in_grid.high + negative * in_grid.low).long().tolist()
        levels = np.arange(self.grid.low + 1, self.grid.high + 1)
        table = level_table(self.grid, None).long().numpy()
        found: list[Channel] = []
        off = most = 0
        unit = float(self.quantizer.scale)
        for c, (low, high, b) in enumerate(zip(lowest, highest, bias.tolist(), strict=True)):
            wanted = self.function(c, b)
            scale = self.scales[c] / unit
            near = guessed(levels, scale, b / unit, self.quantizer.rounding)
            at = thresholds(wanted, low, high, levels, near)
            channel = fit(at, levels - self.grid.offset, low, high, fmt, scale)
            if channel.off:
                wrong, by = differences(wanted, levels, table, channel, low, high)
                off, most = off + wrong, max(most, by)
            found.append(channel)
        base, step, tie = (
            torch.tensor([getattr(f, name) / unit for f in found], dtype=torch.float64)
            for name, unit in (("base", UNIT), ("step", UNIT), ("tie", 1))
        )
        total = sum(high - low + 1 for low, high in zip(lowest, highest, strict=True))
        return base, step, tie, Exactness(off, total, most)
