"""Level tables and the pure operations on them: quantize, dequantize, fake-quantize, with
straight-through gradients.

A grid is a set of integers (units: LSB); a tensor is ``scale * integer``. Nearest value, ties away
from zero, saturating, as in ``sigbit_hw.arch.formats``, whose results these functions reproduce
exactly. Scales are scalars (per tensor) or ``[C]`` (per channel, along dimension 0).

>>> grid = LevelGrid((0, 1, 2, 3, 4, 6, 8, 12), signed=True)   # ESB(4, 1)
>>> quantize(torch.tensor([0.49, -2.5, 99.0]), torch.tensor(0.5), grid)
tensor([ 1., -6., 12.])
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from sigbit_hw.arch import formats
from sigbit_hw.arch.formats import Format, TermGrid


@dataclass(frozen=True)
class LevelGrid:
    """All values that a quantized tensor can take: ``magnitudes`` (ascending, not negative) and, if
    ``signed``, their negatives; or all integers from ``floor`` to the largest magnitude.

    Magnitudes may omit 0 if ``signed``: DoReFa's levels are the odd integers.
    """

    magnitudes: tuple[int, ...]
    signed: bool
    floor: int | None = None

    def __post_init__(self) -> None:
        first = self.magnitudes[:1]
        from_zero = first == (0,) or (self.signed and self.floor is None and first > (0,))
        if not from_zero or list(self.magnitudes) != sorted(set(self.magnitudes)):
            raise ValueError(f"magnitudes must ascend from 0, not {self.magnitudes}")

    @classmethod
    def of(cls, source: Format | TermGrid) -> "LevelGrid":
        """The grid of a native format or of a sum of native terms."""
        signed = source.signed if isinstance(source, Format) else source.native.signed
        return cls(tuple(int(v) for v in source.values if v >= 0), signed)

    @classmethod
    def uniform(cls, low: int, high: int) -> "LevelGrid":
        """All integers from ``low`` (at most 0) to ``high``."""
        plain = low in (0, -high)
        return cls(tuple(range(high + 1)), low < 0, None if plain else low)

    @property
    def max(self) -> int:
        """Largest value."""
        return self.magnitudes[-1]

    @property
    def min(self) -> int:
        """Smallest value."""
        if self.floor is not None:
            return self.floor
        return -self.max if self.signed else 0

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The level table: all values, ascending."""
        if self.floor is not None:
            return tuple(range(self.floor, self.max + 1))
        return tuple(
            sorted({s * m for m in self.magnitudes for s in (1, -1 if self.signed else 1)})
        )

    @cached_property
    def is_uniform(self) -> bool:
        """True if every integer between ``min`` and ``max`` is a value."""
        return len(self.magnitudes) == self.max + 1


_MAX_TABLE = 1 << 10
"""Largest magnitude of a grid for which rounding uses a table of half steps."""


@cache
def _tables(grid: LevelGrid, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """(thresholds, magnitudes) of a grid."""
    magnitudes = torch.tensor(grid.magnitudes, dtype=torch.float64)
    thresholds = (magnitudes[1:] + magnitudes[:-1]) / 2
    return thresholds.to(device, dtype), magnitudes.to(device, dtype)


@cache
def _half_steps(grid: LevelGrid, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Magnitude nearest to every ``|v|`` in [i / 2, (i + 1) / 2), by i."""
    thresholds, magnitudes = _tables(grid, torch.float64, torch.device("cpu"))
    halves = torch.arange(2 * grid.max + 1, dtype=torch.float64) / 2
    return magnitudes[torch.bucketize(halves, thresholds, right=True)].to(device, dtype)


def _nearest_magnitude(v: Tensor, grid: LevelGrid) -> Tensor:
    """Nearest magnitudes. The thresholds between integers are multiples of a half, so that grids
    with small magnitudes need no search."""
    size = v.abs()
    if grid.max > _MAX_TABLE:
        thresholds, magnitudes = _tables(grid, v.dtype, v.device)
        return magnitudes[torch.bucketize(size.contiguous(), thresholds, right=True)]
    index = size.mul_(2).clamp_(max=2 * grid.max).int().clamp_(min=0)
    return _half_steps(grid, v.dtype, v.device)[index]


def per_channel(scale: Tensor, x: Tensor) -> Tensor:
    """``scale`` (scalar or ``[C]``) as a tensor that broadcasts along dimension 0 of ``x``."""
    return scale if scale.dim() == 0 else scale.view(-1, *[1] * (x.dim() - 1))


def round_half_away(v: Tensor) -> Tensor:
    """Nearest integers, ties away from zero, as in the contract."""
    nearest: Tensor = formats.round_half_away(v, torch)
    return nearest


def round_to_grid(v: Tensor, grid: LevelGrid) -> Tensor:
    """Nearest grid values of ``v`` (LSBs), ties away from zero, saturating. NaN is not allowed
    (unchecked)."""
    if grid.is_uniform:
        return round_half_away(v).clamp_(grid.min, grid.max).add_(0.0)
    nearest = _nearest_magnitude(v, grid)
    if grid.signed:
        return nearest.copysign_(v).add_(0.0)
    return nearest.masked_fill_(v < 0, 0.0)


def quantize(x: Tensor, scale: Tensor, grid: LevelGrid) -> Tensor:
    """Integers (in the dtype of ``x``) nearest to ``x / scale``; no gradient."""
    with torch.no_grad():
        return round_to_grid(x / per_channel(scale, x), grid)


def dequantize(q: Tensor, scale: Tensor) -> Tensor:
    """Real values of integers."""
    return q * per_channel(scale, q)


class _Quantize(torch.autograd.Function):
    """Integers of ``x``; gradients of the real value ``scale * integer``, straight through inside
    the grid's range, or everywhere.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, grid: LevelGrid, clips: bool) -> Tensor:
        wide = per_channel(scale, x)
        v = x / wide
        q = round_to_grid(v, grid)
        ctx.grid, ctx.clips = grid, clips
        ctx.save_for_backward(v, q, scale)
        return q

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        v, q, scale = ctx.saved_tensors
        wide = per_channel(scale, v)
        real = grads[0] / wide
        inside = torch.ops.aten.hardtanh_backward(real, v, ctx.grid.min, ctx.grid.max)
        grad_scale = None
        if ctx.needs_input_grad[1]:
            full = real * q - inside * v
            grad_scale = full.sum() if scale.dim() == 0 else full.flatten(1).sum(1)
        grad_x = inside if ctx.clips else real
        return grad_x if ctx.needs_input_grad[0] else None, grad_scale, None, None


def quantize_ste(x: Tensor, scale: Tensor, grid: LevelGrid, clips: bool = True) -> Tensor:
    """:func:`quantize` with gradients (LSQ, arXiv 1902.08153), to be used as ``scale.detach() *
    result``.

    With n = result, v = x / scale: d(scale n)/dx = 1 inside [min, max], else 0; d(scale n)/dscale =
    n - v inside, n outside. Without ``clips``, d(scale n)/dx = 1 everywhere. The incoming gradient
    is that of the integer n; dividing it by ``scale`` gives the one of the real value.
    """
    result: Tensor = _Quantize.apply(x, scale, grid, clips)
    return result


def fake_quantize(x: Tensor, scale: Tensor, grid: LevelGrid) -> Tensor:
    """``dequantize(quantize(x))`` with straight-through gradients to ``x`` and LSQ gradients to
    ``scale``.
    """
    return dequantize(quantize_ste(x, scale, grid), scale.detach())
