"""The accelerator's post-processing in floating point: exact values forward, straight-through
gradients backward.

Accumulators and levels are integers held in floats, bases and steps float64 in accumulator steps.
float32 is exact for accumulators below 2**24 in magnitude. Division is in float64, whose floor
equals that of the integers; ``sigbit_hw.arch.numerics`` defines the arithmetic, and tests compare
with ``==``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sigbit.quant.numbers.grid import round_to_grid
from sigbit.quant.quantizers.base import Quantizer, straight_through
from sigbit.quant.spec import ActGrid
from sigbit_hw.arch.numerics import Y_MAX, Y_MIN


def level_table(
    grid: ActGrid,
    limit: float | None,
    rectified: bool = False,
    rounding: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return levels (float64) for the 256 pre-activations y = -128 … 127, in that order; the
    nearest ones, or the results of ``rounding``.

    ``limit`` is the upper clip of the activation function in units of the output's scale, if it has
    one; negative values become 0 if ``rectified``, or if the grid has no negative levels.
    """
    y = torch.arange(Y_MIN, Y_MAX + 1, dtype=torch.float64)
    real = (y + (grid.offset + grid.centre)) * 2.0**-grid.pre_shift
    real = real.clamp(min=0.0) if rectified else real
    real = real if limit is None else real.clamp(max=limit)
    return round_to_grid(real, grid.levels) if rounding is None else rounding(real)


def highest_level(grid: ActGrid, limit: float | None) -> int:
    """Return the largest level of :func:`level_table` if y were not bounded."""
    if limit is None:
        return grid.high
    return min(grid.high, int(round_to_grid(torch.tensor(limit, dtype=torch.float64), grid.levels)))


@dataclass(frozen=True)
class Requantization:
    """One layer's parameters, one per channel (float64, in accumulator steps): ``base`` (for
    accumulators of levels, not of stored integers) and ``step``; the output's grid and the
    activation's clips (:func:`level_table`); ``open`` for the network's outputs, whose gradient
    must also reduce saturation; the ``quantizer`` of the output, the nearest level if None; the
    ``tie`` bits, 0 if None; the levels of the 256 y, in order, if they differ from those of the
    grid."""

    base: Tensor
    step: Tensor
    grid: ActGrid
    limit: float | None
    rectified: bool = False
    open: bool = False
    quantizer: Quantizer | None = None
    tie: Tensor | None = None
    table: Tensor | None = None

    @property
    def gain(self) -> Tensor:
        """Output levels per accumulator step, ``[C]``."""
        return 2.0**-self.grid.pre_shift / self.step

    def quotient(self, acc: Tensor, unit: int = 1, addend: float = 0.0) -> Tensor:
        """Return ``(y + addend) / unit`` (float64) of accumulators before rounding; its floor
        equals that of the integers."""
        start, step = self.base + self.step * addend, self.step * unit
        return (acc + _column(start)).div_(_column(step))

    def results(self, acc: Tensor, quotient: Tensor) -> Tensor:
        """Return y (float64) of accumulators, from their :meth:`quotient`."""
        y = torch.floor(quotient).clamp_(Y_MIN, Y_MAX)
        if self.tie is None:
            return y
        whole = y * _column(self.step) == acc + _column(self.base)
        return y - y.remainder(2) * whole * _column(self.tie)

    def __call__(self, acc: Tensor, bias: Tensor, scale: Tensor, out_scale: Tensor) -> Tensor:
        """Return output levels of accumulators ``[N, C, H, W]``.

        ``bias`` (real), ``scale`` (real value of an accumulator step, ``[C]``) and ``out_scale``
        (of an output level) are used for the gradients only, which are those of the real values
        ``scale * acc + bias`` and ``out_scale * level``.
        """
        if self.quantizer is not None and self.quantizer.curved:
            return self._curve(acc, bias, scale, out_scale)
        result: Tensor = _Requantize.apply(acc, bias, out_scale, scale.detach(), self)
        return result

    def _curve(self, acc: Tensor, bias: Tensor, scale: Tensor, out_scale: Tensor) -> Tensor:
        """Return levels by the quantizer's own curve: its values if it is soft, else those of the
        hardware with the curve's gradients."""
        assert self.quantizer is not None
        unit = out_scale.detach()
        v = torch.addcmul(_column(bias / unit, acc), acc, _column(scale.detach() / unit, acc))
        v = v if self.limit is None else v.clamp(max=self.limit)
        curve = self.quantizer.curve(v)
        table = level_table(self.grid, self.limit, self.rectified, self.quantizer.round)
        if self.quantizer.training:
            self.quantizer.observe(v.detach().clamp(min=0), unit)
        if self.quantizer.soft:
            return curve
        with torch.no_grad():
            index = self.results(acc, self.quotient(acc)).sub_(Y_MIN).int()
        return straight_through(table.to(acc.device, acc.dtype)[index], curve)


def _column(x: Tensor, like: Tensor | None = None) -> Tensor:
    return (x if like is None else x.to(like.dtype)).view(-1, 1, 1)


class _Requantize(torch.autograd.Function):
    """Forward: a few elementwise passes for uniform grids of positive levels, and a look-up for
    other grids. Backward: two passes, and a sum for the bias.

    For positive uniform levels the floor to y and the rounding to levels are one floor, because
    ``floor((floor(a) + n) / d) == floor((a + n) / d)`` for integers n and d > 0; the clip of y is
    implied by that of the levels.
    """

    @staticmethod
    def forward(
        ctx: Any, acc: Tensor, bias: Tensor, out_scale: Tensor, scale: Tensor, r: Requantization
    ) -> Tensor:
        grid, j = r.grid, r.grid.pre_shift
        ctx.low = max(grid.low, 0) if r.rectified else grid.low
        ctx.high = highest_level(grid, r.limit)
        ctx.open = r.open
        ctx.saturating = r.quantizer is not None and r.quantizer.saturating
        if r.tie is None and grid.levels.is_uniform and (j == 0 or (grid.low == 0 and j > 0)):
            half = 2 ** (j - 1) if j > 0 else 0
            ctx.centre = 0.5
            u = r.quotient(acc, 2**j, grid.offset + half)
            levels = torch.floor(u).clamp_(ctx.low, ctx.high).to(acc.dtype)
            u = u.to(acc.dtype)
        else:
            ctx.centre = (0.5 - grid.centre - grid.offset) * 2.0**-j
            u = r.quotient(acc)
            index = r.results(acc, u).sub_(Y_MIN).int()
            table = level_table(grid, r.limit, r.rectified) if r.table is None else r.table
            levels = table.to(acc.device, acc.dtype)[index]
            u = u.mul_(2.0**-j).to(acc.dtype)
        ctx.gain = _column(r.gain, acc)
        ctx.save_for_backward(u, levels, scale, out_scale)
        return levels

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        u, levels, scale, out_scale = ctx.saved_tensors
        if ctx.open:
            inside = grads[0]
        else:
            low, high = ctx.low + ctx.centre, ctx.high + ctx.centre
            inside = torch.ops.aten.hardtanh_backward(grads[0], u, low, high)
        grad_acc = inside * ctx.gain
        grad_bias = grad_out = None
        if ctx.needs_input_grad[1]:
            grad_bias = grad_acc.sum((0, 2, 3)).double() / scale
        if ctx.needs_input_grad[2]:
            if ctx.saturating:
                full = torch.dot((grads[0] - inside).reshape(-1), levels.reshape(-1))
            else:
                full = torch.dot(grads[0].reshape(-1), levels.reshape(-1)) - torch.dot(
                    inside.reshape(-1), u.reshape(-1)
                )
                full = full + ctx.centre * inside.sum()
            grad_out = (full / out_scale).reshape(out_scale.shape)
        return grad_acc, grad_bias, grad_out, None, None


def hardware_table(levels: Tensor, zero: int) -> Tensor:
    """Return the 256 stored integers (int64), indexed by ``y & 255``, of levels in the order of
    y."""
    return (levels - zero).long().roll(Y_MIN)


def table_of(
    grid: ActGrid,
    limit: float | None,
    rectified: bool = False,
    rounding: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return the hardware's table of :func:`level_table`."""
    return hardware_table(level_table(grid, limit, rectified, rounding), grid.zero)
