"""Activation functions as tables: the grid of the 8-bit pre-activation, and the look-up in
training.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sigbit.ir.floating import UNARY, Unary
from sigbit.quant.numbers.grid import LevelGrid, quantize, round_to_grid
from sigbit.quant.quantizers.base import Quantizer
from sigbit.quant.spec import BYTE, ActGrid
from sigbit_hw.arch.numerics import TABLE_ENTRIES, Y_MIN

_SAMPLES = 4097
_POLE = 1e30
"""Value in a table in place of infinity."""


class Preactivation(nn.Module):
    """The grid of the pre-activation y of a layer with an activation function: ``x = step * (y +
    offset)``, from the range of x on the calibration batch, without the ends at which the function
    stays within a quarter level."""

    step: Tensor
    start: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.ones((), dtype=torch.float64))
        self.register_buffer("start", torch.tensor(Y_MIN))

    @property
    def grid(self) -> ActGrid:
        """Levels ``y + offset``."""
        low = int(self.start)
        return ActGrid(LevelGrid.uniform(low, low + BYTE), 1, 0, 0, low - Y_MIN)

    @torch.no_grad()
    def initialize(
        self, low: float, high: float, function: Unary, out_scale: Tensor, grid: ActGrid
    ) -> None:
        """Set step and start for x in [low, high]; 0 always lies inside."""
        x = torch.linspace(min(low, 0.0), max(high, 0.0), _SAMPLES, dtype=torch.float64)
        y = evaluate(function, x).clamp(*(float(out_scale) * v for v in (grid.low, grid.high)))
        room = float(out_scale) / 4
        flat = (y.cummax(0).values - y <= room) & (y - y.cummin(0).values <= room)
        back = y.flip(0)
        flat_end = (back.cummax(0).values - back <= room) & (back - back.cummin(0).values <= room)
        first = int(flat.long().cumprod(0).sum()) - 1
        last = _SAMPLES - int(flat_end.long().cumprod(0).sum())
        low, high = min(float(x[min(first, last)]), 0.0), max(float(x[max(first, last)]), 0.0)
        step = max(high - low, 1e-9) / BYTE
        self.step.fill_(step)
        self.start.fill_(round(low / step))  # from -255 to 0, as 0 lies inside

    def points(self, y_scale: Tensor) -> Tensor:
        """Return the values of x (float64) for y = -128 … 127."""
        return (torch.arange(TABLE_ENTRIES, device=self.step.device) + self.start) * y_scale

    def table(
        self, function: Unary, y_scale: Tensor, out_scale: Tensor, window: LevelGrid
    ) -> Tensor:
        """Return levels (float64) of the result, from ``window``, for y = -128 … 127."""
        return quantize(evaluate(function, self.points(y_scale)), out_scale, window)


def evaluate(function: Unary, x: Tensor) -> Tensor:
    """Return the function of a node at ``x``; 0 where it is undefined, and large at its poles."""
    y = UNARY[function.function](x, *function.parameters)
    return y.nan_to_num(0.0, _POLE, -_POLE)


def lookup(
    y: Tensor,
    y_scale: Tensor,
    out_scale: Tensor,
    function: Unary,
    pre: Preactivation,
    quantizer: Quantizer,
) -> Tensor:
    """Return levels of the result for levels ``y`` of the pre-activation, by table; gradients are
    those of the function inside the quantizer's window, of LSQ (or PACT) for ``out_scale``, and of
    LSQ+ for the window's offset (from all values outside)."""
    with torch.enable_grad():
        x = pre.points(y_scale.detach()).requires_grad_()
        value = evaluate(function, x)
        (slope,) = torch.autograd.grad(value.sum(), x)
        slope = slope.nan_to_num(0.0, 0.0, 0.0)
    v, window = value.detach() / out_scale.detach(), quantizer.window
    levels = round_to_grid(v, window)
    inside = (v >= window.min) & (v <= window.max)
    gain = slope * inside * (y_scale.detach() / out_scale.detach())
    excess = levels * ~inside if quantizer.saturating else levels - v * inside
    offset, start = quantizer.moving_offset, int(pre.start)
    result: Tensor = _Lookup.apply(y, out_scale, offset, levels, gain, excess, inside, start)
    return result


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        out_scale: Tensor,
        offset: Tensor | None,
        levels: Tensor,
        gain: Tensor,
        excess: Tensor,
        inside: Tensor,
        start: int,
    ) -> Tensor:
        index = (y - start).long()
        ctx.save_for_backward(index, out_scale, gain, excess, ~inside)
        return levels.to(y.dtype)[index]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        index, out_scale, gain, excess, outside = ctx.saved_tensors
        grad = grads[0]
        grad_scale = grad_offset = None
        if ctx.needs_input_grad[1]:
            total = (grad * excess.to(grad.dtype)[index]).sum()
            grad_scale = (total / out_scale).reshape(out_scale.shape)
        if ctx.needs_input_grad[2]:
            grad_offset = (grad * outside.to(grad.dtype)[index]).sum().double()
        return grad * gain.to(grad.dtype)[index], grad_scale, grad_offset, *5 * (None,)
