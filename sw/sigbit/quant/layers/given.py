"""Layers of quantized models: the codes that such a model defines, and the requantization that
reproduces them.

Codes are compared as functions of the accumulator, over all values that the layer's weights and the
grids of its inputs can reach. The model's codes are defined by exact arithmetic on its stored
scales, rounded by its quantizer; float32 computations may differ.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation
from sigbit.quant.layers.integers import GivenSource
from sigbit.quant.layers.spacing import Spacing, spacings
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.plan.annotated import levels_of
from sigbit.quant.spec import ActGrid
from sigbit_hw.arch.numerics import UNIT, Y_MAX, Y_MIN, Ints, requantize
from sigbit_hw.arch.params import ParamFormat
from sigbit_hw.arch.thresholds import (
    Channel,
    differences,
    fit,
    guessed,
    rounded,
    thresholds,
)

_FAR = 1 << 62
"""Integer beyond all accumulators."""
_SAME = 1e-6
"""Maximum difference of scales that are stored as logarithms, in float32 at worst."""


@dataclass(frozen=True)
class Exactness:
    """Number of a layer's reachable ``accumulators``, over all channels, at which its codes differ
    from the model's, and the largest difference; for sums of two tensors of different scales,
    counted over pairs of their codes."""

    off: int
    accumulators: int
    most: int


@dataclass(frozen=True)
class Found:
    """Parameters per channel (float64, in accumulator steps), for accumulators of levels, the
    levels of the 256 y, and their exactness."""

    base: Tensor
    step: Tensor
    tie: Tensor
    table: Tensor
    exactness: Exactness


@dataclass(frozen=True, eq=False)
class GivenCodes:
    """Codes that a quantized model computes from a layer's accumulators: for each channel, ``acc *
    scale`` plus the bias, divided by the scale of ``quantizer``, rounded, clipped.

    ``weights`` are the integers of each source, ``grids`` the grids of its inputs; ``scales`` are
    real values of an accumulator step, ``in_scales`` and ``out_scale`` real values of a level;
    ``grid`` has the levels that remain after the quantizer and the activation function. If two
    tensors are added whose accumulator steps have slightly different real values, ``pair`` has the
    values for both.
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
    pair: tuple[tuple[Fraction, ...], tuple[Fraction, ...]] | None = None

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
        """Return the codes of a layer on ``grid``, for values from 0 on if ``positive``, or because
        they are ``rectified``, up to the real ``limit`` if there is one; or the reason why there
        are none."""
        steps = [
            tuple(row * Fraction(s) for row in source.scales)
            for source, s in zip(sources, in_scales, strict=True)
        ]
        pair, scales = None, steps[0]
        if any(s != steps[0] for s in steps):
            if len(steps) != 2 or any(s.weights[0].numel() > 1 for s in sources):
                return "it adds sums of different scales"
            pair = (steps[0], steps[1])
            scales = tuple((a + b) / 2 for a, b in zip(*pair, strict=True))
        levels = levels_of(quantizer, positive)
        if isinstance(levels, str):
            return levels
        low, high = levels.min, levels.max
        bipolar = quantizer.bipolar
        if limit is not None and quantizer.thresholds is not None:
            return "its thresholds are behind an activation function with a limit"
        if limit is not None and quantizer.source is not None:
            return "it is cut off behind an activation function with a limit"
        if limit is not None:
            unit, zero = Fraction(float(quantizer.scale)), int(quantizer.zero_point)
            real = Fraction(limit) / unit + zero
            code = rounded(real, Fraction(), quantizer.rounding, quantizer.mantissa)
            high = min(high, int(code(np.ones((), np.int64))) - zero)
        if low < grid.low or high > grid.high or not high > low:
            return "its levels are not on the grid of its tensor"
        if bipolar:
            given = LevelGrid((1,), True)
        elif quantizer.mantissa is None:
            given = LevelGrid.uniform(low, high)
        else:
            given = LevelGrid(tuple(m for m in levels.magnitudes if m <= high), levels.signed)
        if not set(given.values) <= set(grid.levels.values):
            return "its levels are not on the grid of its tensor"
        own = ActGrid(given, grid.planes, grid.zero, 0, 0)
        weights = tuple(s.weights for s in sources)
        found = cls(
            quantizer, weights, scales, bias, in_scales, in_grids, own, fmt, rectified, pair
        )
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
        """Return whether a layer still matches the model, with real ``weights`` and ``bias``, and
        scales of its inputs and of its result."""
        scales = (*self.in_scales, self.out_scale)
        if not np.allclose([*map(float, in_scales), float(out)], scales, rtol=_SAME, atol=0):
            return False
        steps = self.step.to(bias.device).view(-1, 1, 1, 1)
        return torch.equal(bias, self.bias.to(bias.device)) and all(
            torch.equal((w.detach().double() * s / steps).round() + 0.0, n.to(w.device))
            for w, s, n in zip(weights, self.in_scales, self.weights, strict=True)
        )

    def function(self, channel: int) -> Callable[[Ints], Ints]:
        """Return the function from accumulators of levels to levels."""
        scale, bias = self.scales[channel], Fraction(float(self.bias[channel]))
        if self.quantizer.thresholds is not None:
            return self._counted(self._reached(channel, scale, bias))
        q, unit, zero = self.quantizer, Fraction(self.out_scale), int(self.quantizer.zero_point)
        low, high = self.grid.low, self.grid.high
        if self._bipolar:
            reached = rounded(scale, bias, "FLOOR")
            return lambda acc: np.where((reached(acc) >= 0) | self.rectified, 1, -1)
        if q.source is None:
            shift = zero if q.shift_first else 0
            codes = rounded(scale / unit, bias / unit + shift, q.rounding, q.mantissa)
            return lambda acc: (codes(acc) - shift).clip(low, high)
        source = Fraction(float(q.source))
        factor = Fraction(2.0 ** round(float(torch.log2(q.scale.double() / q.source.double()))))
        before = rounded(scale / source, bias / source + zero * factor, "ROUND")
        after = rounded(1 / factor, Fraction(0), q.rounding)
        return lambda acc: (after(before(acc)) - zero).clip(low, high)

    def _reached(self, channel: int, scale: Fraction, bias: Fraction) -> Ints:
        """Return the smallest integers ``acc`` at which ``acc * scale + bias`` reaches a channel's
        thresholds."""
        assert self.quantizer.thresholds is not None
        rows = self.quantizer.thresholds
        row = rows[channel if len(rows) > 1 else 0].tolist()
        at = [math.ceil((Fraction(t) - bias) / scale) for t in row]
        return np.array([min(max(a, -_FAR), _FAR) for a in at], np.int64)

    def _counted(self, at: Ints) -> Callable[[Ints], Ints]:
        """Return the function from integers to levels that counts the thresholds ``at`` reached."""
        if self._bipolar:
            return lambda acc: np.where(acc >= at[0], 1, -1)
        low, high = self.grid.low, self.grid.high
        zero = int(self.quantizer.zero_point)
        return lambda acc: (np.searchsorted(at, acc, "right") - zero).clip(low, high)

    @cached_property
    def found(self) -> Found:
        """Parameters whose codes differ least."""
        best: Found | None = None
        for spacing in spacings(self.quantizer, self.grid.levels):
            found = self._found(spacing)
            if best is None or found.exactness.off < best.exactness.off:
                best = found
            if not best.exactness.off:
                break
        assert best is not None
        return best

    @property
    def _bipolar(self) -> bool:
        return self.quantizer.bipolar

    def _found(self, spacing: Spacing) -> Found:
        """Return the parameters for the y of ``spacing``."""
        results = spacing.results
        values = np.array(self.grid.levels.values, np.int64)
        levels = values[1:]
        table = values[np.searchsorted(results, np.arange(Y_MIN, Y_MAX + 1), "right")]
        found: list[Channel] = []
        off = most = total = 0
        rounding = "FLOOR" if self._bipolar else self.quantizer.rounding
        for c, (low, high) in enumerate(reach(self.weights, self.grids)):
            wanted, scale = self.function(c), float(self.scales[c]) / self.out_scale
            offset = float(self.bias[c]) / self.out_scale
            near: NDArray[Any] = guessed(levels - self._bipolar, scale, offset, rounding)
            if self.quantizer.thresholds is not None:
                exact = self._reached(c, self.scales[c], Fraction(float(self.bias[c])))
                near = exact[levels - 1 + (0 if self._bipolar else int(self.quantizer.zero_point))]
                span = int(near[-1] - near[0])
                scale = (len(near) - 1) / span if span else scale
            at = thresholds(wanted, low, high, levels, near)
            channel = fit(at, results, low, high, self.fmt, scale * spacing.density)
            if channel.off or results[0] == Y_MIN:
                wrong, by = differences(wanted, levels, table, channel, low, high)
                off, most = off + wrong, max(most, by)
            total += high - low + 1
            found.append(channel)
        base, step, tie = (
            torch.tensor([getattr(f, name) / unit for f in found], dtype=torch.float64)
            for name, unit in (("base", UNIT), ("step", UNIT), ("tie", 1))
        )
        exactness = Exactness(off, total, most)
        if self.pair is not None:
            exactness = self._of_pairs(found, table)
        return Found(base, step, tie, torch.from_numpy(table).double(), exactness)

    def _of_pairs(self, found: list[Channel], table: Ints) -> Exactness:
        """Return the exactness of these parameters for all pairs of codes of two tensors."""
        assert self.pair is not None
        q, unit = self.quantizer, Fraction(self.out_scale)
        zero = int(q.zero_point) if q.shift_first else 0
        grids = [np.array(g.levels.values, np.int64) for g in self.grids]
        known: dict[object, tuple[int, int]] = {}
        off = most = 0
        for c, channel in enumerate(found):
            n = [int(w[c]) for w in self.weights]
            a, b = (k * g for k, g in zip(n, grids, strict=True))
            bias, (s, t) = Fraction(float(self.bias[c])), (p[c] for p in self.pair)
            own = c if q.thresholds is not None else -1
            key = (*n, s, t, bias, channel, own)
            if key not in known:
                # In units of which both steps are multiples, a sum is one number.
                common = Fraction(1, s.denominator * t.denominator)
                total = (a.astype(object) * int(s / common))[:, None] + (
                    b.astype(object) * int(t / common)
                )
                if q.thresholds is not None:
                    wanted = self._counted(self._reached(c, common, bias))(total)
                else:
                    codes = rounded(common / unit, bias / unit + zero, q.rounding, q.mantissa)
                    wanted = codes(total) - zero
                y = requantize(a[:, None] + b, channel.base, channel.step, channel.tie)
                gap = np.abs(wanted.clip(self.grid.low, self.grid.high) - table[y - Y_MIN])
                known[key] = int((gap > 0).sum()), int(gap.max())
            off, most = off + known[key][0], max(most, known[key][1])
        return Exactness(off, len(found) * len(grids[0]) * len(grids[1]), most)


def reach(
    weights: tuple[Tensor, ...], grids: tuple[ActGrid, ...], stored: bool = False
) -> list[tuple[int, int]]:
    """Return the smallest and largest accumulator per channel for integer ``weights`` of sources on
    ``grids``: for levels, or for stored integers."""
    low = high = torch.zeros(len(weights[0]), dtype=torch.float64)
    for source, grid in zip(weights, grids, strict=True):
        rows, zero = source.cpu().flatten(1), grid.zero if stored else 0
        positive, negative = rows.clamp(min=0).sum(1), rows.clamp(max=0).sum(1)
        low = low + positive * (grid.low - zero) + negative * (grid.high - zero)
        high = high + positive * (grid.high - zero) + negative * (grid.low - zero)
    return list(zip(low.long().tolist(), high.long().tolist(), strict=True))
