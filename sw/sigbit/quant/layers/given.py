"""Layers of quantized models: the codes that such a model gives, and the requantization that gives
the same.

Codes are compared as functions of the accumulator, over all that the layer's weights and the grids
of its inputs can reach. What the model gives is exact arithmetic on the scales that it stores,
rounded as its quantizer says; whoever computes in float32 may differ from that.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation
from sigbit.quant.layers.integers import GivenSource
from sigbit.quant.layers.requant import level_table
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.plan.annotated import levels_of
from sigbit.quant.spec import ActGrid
from sigbit_hw.arch.numerics import PRE_BITS, UNIT, Y_MAX, Y_MIN, Ints
from sigbit_hw.arch.params import ParamFormat
from sigbit_hw.arch.thresholds import (
    Channel,
    differences,
    fit,
    guessed,
    rounded,
    thresholds,
)

_SAME = 1e-6
"""By how much scales may differ that are kept as logarithms, in float32 at worst."""


@dataclass(frozen=True)
class Exactness:
    """At how many of a layer's reachable ``accumulators``, over all channels, its codes are not the
    model's, and by how much at most."""

    off: int
    accumulators: int
    most: int


@dataclass(frozen=True)
class Found:
    """Parameters a channel (float64, in accumulator steps), for accumulators of levels, how levels
    relate to y, and how exact they are."""

    grid: ActGrid
    base: Tensor
    step: Tensor
    tie: Tensor
    exactness: Exactness


@dataclass(frozen=True, eq=False)
class GivenCodes:
    """What a quantized model makes of a layer's accumulators: of a channel ``acc * scale`` and the
    bias, divided by the scale of ``quantizer``, rounded, clipped.

    ``weights`` are the integers of each source, ``grids`` those of its inputs; ``scales`` are real
    values of an accumulator step, the same for all sources, ``in_scales`` and ``out_scale`` those
    of a level; ``grid`` has the levels that the quantizer and the activation function leave.
    """

    quantizer: QuantAnnotation
    weights: tuple[Tensor, ...]
    scales: tuple[Fraction, ...]
    bias: Tensor
    in_scales: tuple[float, ...]
    grids: tuple[ActGrid, ...]
    grid: ActGrid
    fmt: ParamFormat
    rectified: bool

    @classmethod
    def of(
        cls,
        quantizer: QuantAnnotation,
        sources: tuple[GivenSource, ...],
        bias: Tensor,
        in_scales: tuple[float, ...],
        in_grids: tuple[ActGrid, ...],
        grid: ActGrid,
        fmt: ParamFormat,
        *,
        positive: bool,
        rectified: bool,
        limit: float | None,
    ) -> "GivenCodes | str":
        """The codes of a layer on ``grid``, of values from 0 on if ``positive``, or because they
        are ``rectified``, up to the real ``limit`` if there is one; or why there are none."""
        steps = [
            tuple(row * Fraction(s) for row in source.scales)
            for source, s in zip(sources, in_scales, strict=True)
        ]
        if any(s != steps[0] for s in steps):
            return "it adds tensors of different scales"
        levels = levels_of(quantizer, positive)
        if isinstance(levels, str):
            return levels
        low, high = levels.min, levels.max
        bipolar = quantizer.signed and quantizer.bits == 1
        if limit is not None and quantizer.source is not None:
            return "it is cut off behind an activation function with a limit"
        if limit is not None:
            unit, zero = Fraction(float(quantizer.scale)), int(quantizer.zero_point)
            code = rounded(Fraction(1), Fraction(limit) / unit + zero, quantizer.rounding)
            high = min(high, int(code(np.zeros((), np.int64))) - zero)
        if low < grid.low or high > grid.high or not high > low:
            return "its levels are not on the grid of its tensor"
        given = LevelGrid((1,), True) if bipolar else LevelGrid.uniform(low, high)
        if not set(given.values) <= set(grid.levels.values):
            return "its levels are not on the grid of its tensor"
        own = ActGrid(given, grid.planes, grid.zero, 0, 0)
        weights = tuple(s.weights for s in sources)
        found = cls(quantizer, weights, steps[0], bias, in_scales, in_grids, own, fmt, rectified)
        most = 1 << (fmt.acc_bits - 1)
        if any(low < -most or high >= most for low, high in reach(weights, in_grids, stored=True)):
            return f"its accumulators do not fit {fmt.acc_bits} bits"
        return found

    @property
    def step(self) -> Tensor:
        """Real values of an accumulator step (float64)."""
        return torch.tensor([float(s) for s in self.scales], dtype=torch.float64)

    @property
    def out_scale(self) -> float:
        """The real value of a level."""
        return float(self.quantizer.scale)

    def holds(
        self, weights: tuple[Tensor, ...], bias: Tensor, in_scales: list[Tensor], out: Tensor
    ) -> bool:
        """Whether a layer still is the model's: with real ``weights`` and ``bias``, and scales of
        its inputs and of its result."""
        scales = (*self.in_scales, self.out_scale)
        if not np.allclose([*map(float, in_scales), float(out)], scales, rtol=_SAME, atol=0):
            return False
        steps = self.step.to(bias.device).view(-1, 1, 1, 1)
        return torch.equal(bias, self.bias.to(bias.device)) and all(
            torch.equal((w.detach().double() * s / steps).round() + 0.0, n.to(w.device))
            for w, s, n in zip(weights, self.in_scales, self.weights, strict=True)
        )

    def function(self, channel: int) -> Callable[[Ints], Ints]:
        """Levels of accumulators of levels."""
        q, unit, zero = self.quantizer, Fraction(self.out_scale), int(self.quantizer.zero_point)
        scale, bias = self.scales[channel], Fraction(float(self.bias[channel]))
        low, high = self.grid.low, self.grid.high
        if self._bipolar:
            reached = rounded(scale, bias, "FLOOR")
            return lambda acc: np.where((reached(acc) >= 0) | self.rectified, 1, -1)
        if q.source is None:
            shift = zero if q.shift_first else 0
            codes = rounded(scale / unit, bias / unit + shift, q.rounding)
            return lambda acc: (codes(acc) - shift).clip(low, high)
        source = Fraction(float(q.source))
        factor = Fraction(2.0 ** round(float(torch.log2(q.scale.double() / q.source.double()))))
        before = rounded(scale / source, bias / source + zero * factor, "ROUND")
        after = rounded(1 / factor, Fraction(0), q.rounding)
        return lambda acc: (after(before(acc)) - zero).clip(low, high)

    @cached_property
    def found(self) -> Found:
        """The parameters whose codes differ least: with one step of y a level, or with more where
        that is too large a step for accumulators."""
        best = self._found(0)
        for shift in range(1, PRE_BITS):
            fits = (self.grid.high - self.grid.low - 1) << shift <= Y_MAX - Y_MIN - 1
            if best.exactness.off and fits and not self._bipolar:
                best = min(best, self._found(shift), key=lambda f: f.exactness.off)
        return best

    @property
    def _bipolar(self) -> bool:
        return self.quantizer.signed and self.quantizer.bits == 1

    def _y(self, shift: int) -> tuple[ActGrid, Ints]:
        """The grid with ``2**shift`` steps of y a level, and the y that reach its levels but the
        lowest."""
        low, high = self.grid.low, self.grid.high
        if self._bipolar:
            return self.grid, np.zeros(1, np.int64)
        if shift == 0:
            # An even offset, so that levels are odd where y is: ties go to even numbers.
            offset = low - Y_MIN
            offset -= offset & 1 if high - low < Y_MAX - Y_MIN else 0
            return replace(self.grid, offset=offset), np.arange(low + 1, high + 1) - offset
        half = 1 << (shift - 1)
        offset = (low << shift) + half - Y_MIN - 1
        results = (np.arange(low + 1, high + 1) << shift) - half - offset
        return replace(self.grid, pre_shift=shift, offset=offset), results

    def _found(self, shift: int) -> Found:
        """The parameters with ``2**shift`` steps of y a level."""
        grid, results = self._y(shift)
        levels = np.array(grid.levels.values[1:], np.int64)
        table = level_table(grid, None).long().numpy()
        found: list[Channel] = []
        off = most = total = 0
        rounding = "FLOOR" if self._bipolar else self.quantizer.rounding
        for c, (low, high) in enumerate(reach(self.weights, self.grids)):
            wanted, scale = self.function(c), float(self.scales[c]) / self.out_scale
            offset = float(self.bias[c]) / self.out_scale
            at = thresholds(
                wanted, low, high, levels, guessed(levels - self._bipolar, scale, offset, rounding)
            )
            channel = fit(at, results, low, high, self.fmt, scale * 2**shift)
            if channel.off:
                wrong, by = differences(wanted, levels, table, channel, low, high)
                off, most = off + wrong, max(most, by)
            total += high - low + 1
            found.append(channel)
        base, step, tie = (
            torch.tensor([getattr(f, name) / unit for f in found], dtype=torch.float64)
            for name, unit in (("base", UNIT), ("step", UNIT), ("tie", 1))
        )
        return Found(grid, base, step, tie, Exactness(off, total, most))


def reach(
    weights: tuple[Tensor, ...], grids: tuple[ActGrid, ...], stored: bool = False
) -> list[tuple[int, int]]:
    """Least and greatest accumulator a channel of integer ``weights`` of sources on ``grids``: of
    their levels, or of stored integers."""
    low = high = torch.zeros(len(weights[0]), dtype=torch.float64)
    for source, grid in zip(weights, grids, strict=True):
        rows, zero = source.cpu().flatten(1), grid.zero if stored else 0
        positive, negative = rows.clamp(min=0).sum(1), rows.clamp(max=0).sum(1)
        low = low + positive * (grid.low - zero) + negative * (grid.high - zero)
        high = high + positive * (grid.high - zero) + negative * (grid.low - zero)
    return list(zip(low.long().tolist(), high.long().tolist(), strict=True))
