"""Sums whose integers are known in advance: copies, upsampled copies and maxima of 8-bit tensors,
and the quarter squares from which products are computed."""

import math

import torch
from torch import Tensor, nn

from sigbit.errors import QuantizationError
from sigbit.quant.layers.requant import hardware_table
from sigbit.quant.layers.sources import accumulate, window
from sigbit.quant.layers.values import Deployed, Levels
from sigbit.quant.numbers.grid import LevelGrid, round_to_grid
from sigbit.quant.plan.plans import MaskPlan, MovePlan, SquarePlan
from sigbit.quant.spec import BYTE, DIGITS, ActGrid, QuantSpec, act_grid
from sigbit_hw.arch.formats import MAX_DIGITS
from sigbit_hw.arch.numerics import TABLE_ENTRIES, UNIT, Y_MAX, Y_MIN

_FINE = 511
"""Minimum number of levels of a quarter square that cannot be exact."""


class QuantMove(nn.Module):
    """A :class:`MovePlan`: sums of levels are levels."""

    def __init__(self, plan: MovePlan, spec: QuantSpec, in_grids: tuple[ActGrid, ...]) -> None:
        super().__init__()
        self.plan, self.sources, self.in_grids = plan, plan.sources, in_grids
        self.terms = (1,) * len(plan.sources)
        source = in_grids[0]
        self.grid = act_grid(spec, 0, source.planes) if plan.rectified else source
        if self.grid.high - self.grid.low > BYTE:
            raise QuantizationError(
                f"{plan.name} ({plan.location}): values from {self.grid.low} to {self.grid.high} "
                "cannot be copied through 8 bits; use another act_format"
            )

    def _weights(self) -> tuple[Tensor, ...]:
        return tuple((window(s) * s.scale).float() for s in self.sources)

    def forward(self, inputs: list[Levels]) -> Levels:
        """Return levels on the grid of the first input."""
        acc = None
        for source, weight, x in zip(self.sources, self._weights(), inputs, strict=True):
            acc = accumulate(acc, x.levels, weight.to(x.levels.device), source)
        assert acc is not None
        if self.plan.divisor > 1:
            mean = acc / self.plan.divisor
            exact = ((acc.double() + self.plan.divisor / 2) / self.plan.divisor).floor()
            acc = mean + (exact.to(mean) - mean).detach()
        levels = acc.clamp(0, self.grid.high) if self.plan.rectified else acc
        return Levels(levels, inputs[0].scale)

    def deploy(self, in_scales: list[Tensor]) -> Deployed:
        """Return the sums, unchanged or divided; the table only adds the zero."""
        offset, channels = self.grid.low - Y_MIN, self.plan.shape[0]
        divisor = self.plan.divisor
        levels = torch.arange(TABLE_ENTRIES, dtype=torch.float64) + self.grid.low
        table = hardware_table(round_to_grid(levels, self.grid.levels), self.grid.zero)
        one = torch.ones(channels, dtype=torch.float64)
        base = one * (divisor // 2 - offset * divisor)
        return Deployed(self._weights(), base, one * divisor, one * 0, table, in_scales[0])


class QuantMask(nn.Module):
    """A :class:`MaskPlan`: where elements do not count, more is subtracted than the levels span,
    so that the result saturates."""

    keep: Tensor

    def __init__(self, plan: MaskPlan, spec: QuantSpec, in_grid: ActGrid, keep: Tensor) -> None:
        super().__init__()
        self.plan, self.grid = plan, in_grid
        self.register_buffer("keep", (keep != 0).to(torch.float64), persistent=False)
        self.level = spec.act_contiguous(1)
        span = in_grid.high - in_grid.low
        weights = [(t, m) for t in DIGITS for m in spec.weight_grid(t).magnitudes]
        found = next(((t, m) for t, m in weights if m * self.level >= span), None)
        if found is None or span > BYTE:
            raise QuantizationError(
                f"{plan.name} ({plan.location}): levels from {in_grid.low} to {in_grid.high} "
                "cannot be masked through 8 bits; use fewer planes"
            )
        self.terms, self.weight = found

    def forward(self, inputs: list[Levels]) -> Levels:
        """Return the levels that count, and the lowest one elsewhere."""
        keep = self.keep.to(inputs[0].levels)
        return Levels(inputs[0].levels * keep + self.grid.low * (1 - keep), inputs[0].scale)

    def deploy(self, in_scales: list[Tensor]) -> Deployed:
        """Return the sums; the weights are those of the tensor and of the mask's levels."""
        one = torch.ones(self.plan.shape[0], dtype=torch.float64)
        levels = torch.arange(TABLE_ENTRIES, dtype=torch.float64) + self.grid.low
        table = hardware_table(round_to_grid(levels, self.grid.levels), self.grid.zero)
        plain = one.view(-1, 1, 1, 1)
        weights = (plain, -self.weight * plain)
        return Deployed(weights, one * (Y_MIN - self.grid.low), one, one * 0, table, in_scales[0])


class QuantSquare(nn.Module):
    """A :class:`SquarePlan`: ``floor(a**2 / 4)`` of ``a = kx nx + ky ny``, levels n times integers
    k that give both operands approximately the same range. Exact where a has at most 256 values and
    the result fits the planes of :data:`_FINE` levels; else a has 8 bits and the result is rounded
    to the levels of its planes."""

    def __init__(self, plan: SquarePlan, spec: QuantSpec, in_grids: tuple[ActGrid, ...]) -> None:
        super().__init__()
        self.plan, self.sources, self.in_grids, self.terms = plan, plan.sources, in_grids, (1, 1)
        reach = [max(g.high, -g.low) for g in in_grids]
        magnitudes = spec.weight_grid(1).magnitudes
        self.factors = [
            max((m for m in magnitudes if m and m * r <= max(reach)), default=1) for r in reach
        ]
        (x, y), (kx, ky) = in_grids, self.factors
        others = [plan.sign * ky * end for end in (y.low, y.high)]
        low, high = kx * x.low + min(others), kx * x.high + max(others)
        peak = kx * reach[0] + ky * reach[1]  # of the sum or of the difference
        unit = spec.params.step_unit / UNIT
        self.step = max(1.0, math.ceil((high - low) / BYTE / unit) * unit)
        self.base = math.floor(
            self._half() - (math.ceil(low / self.step) - Y_MIN) * self.step + 0.5
        )
        sides = 2 if spec.act_format.signed else 1

        def capacity(planes: int) -> int:
            return sides * spec.act_contiguous(planes)

        exact = peak**2 // 4
        most = next((p for p in DIGITS if capacity(p) >= _FINE), MAX_DIGITS)
        if self.step > 1 or capacity(most) < exact:
            planes, top = most, capacity(most)
            self.unit = peak**2 / 4 / top
        else:
            planes = next(p for p in DIGITS if capacity(p) >= exact)
            self.unit, top = 1.0, exact
        levels = LevelGrid.uniform(0, top)
        self.grid = ActGrid(levels, planes, spec.zero_of(levels, planes), 0, 0)

    def _half(self) -> float:
        return self.step / 2 if self.step > 1 else 0.0

    def levels(self) -> Tensor:
        """Return the levels (float64) for y = -128 … 127."""
        y = torch.arange(TABLE_ENTRIES, dtype=torch.float64) + Y_MIN
        a = y * self.step - (self.base - self._half())
        squares = (a.square() / 4).floor() if self.unit == 1 else a.square() / (4 * self.unit)
        return round_to_grid(squares, self.grid.levels)

    def _scale(self, in_scales: list[Tensor]) -> Tensor:
        kx, ky = self.factors
        return (in_scales[0] * in_scales[1]).detach() * (self.unit / (kx * ky))

    def forward(self, inputs: list[Levels]) -> Levels:
        """Return the levels of the quarter square; gradients are those of the square itself."""
        kx, ky = self.factors
        x = [
            accumulate(None, v.levels, window(s).to(v.levels.device), s)
            for v, s in zip(inputs, self.sources, strict=True)
        ]
        a = x[0] * kx + x[1] * (ky * self.plan.sign)
        with torch.no_grad():
            y = a.double().add(self.base).div_(self.step).floor_().clamp_(Y_MIN, Y_MAX)
            exact = self.levels().to(a)[(y - Y_MIN).long()]
        smooth = a.square() / (4 * self.unit)
        return Levels(exact + (smooth - smooth.detach()), self._scale([v.scale for v in inputs]))

    def deploy(self, in_scales: list[Tensor]) -> Deployed:
        """Return the integers, which do not depend on the scales, and the result's scale."""
        kx, ky = self.factors
        one = torch.ones(self.plan.shape[0]).double()
        factors = (kx, ky * self.plan.sign)
        weights = tuple(window(s) * k for s, k in zip(self.sources, factors, strict=True))
        table = hardware_table(self.levels(), self.grid.zero)
        return Deployed(
            weights,
            one * self.base,
            one * self.step,
            one * 0,
            table,
            self._scale(in_scales),
        )
