"""Annotations of a float graph: quantizers of tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

Rounding = Literal["ROUND", "HALF_UP", "HALF_DOWN", "CEIL", "FLOOR", "ROUND_TO_ZERO", "UP"]
"""Rounding of a quantizer: to nearest, with ties to even, away from 0, towards 0; up; down; towards
0; away from 0."""

_ROUND: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "ROUND": torch.round,
        "HALF_UP": lambda v: v.sign() * (v.abs() + 0.5).floor(),
        "HALF_DOWN": lambda v: v.sign() * (v.abs() - 0.5).ceil(),
        "CEIL": torch.ceil,
        "FLOOR": torch.floor,
        "ROUND_TO_ZERO": torch.trunc,
        "UP": lambda v: v.sign() * v.abs().ceil(),
    }
)


@dataclass(frozen=True)
class QuantAnnotation:
    """``(clip(round(x / scale + zero_point), low, high) - zero_point) * scale``; without
    ``shift_first`` ``round(x / scale) + zero_point`` is clipped instead (ONNX, not QONNX).

    ``scale`` and ``zero_point`` hold one number, or one per channel (axis 1). The range is that of
    ``bits`` bits, signed or not; ``narrow`` excludes its lowest (signed) or highest (unsigned)
    value. One signed bit is the sign: ``scale`` where x >= 0, else ``-scale``.

    With ``source``, a scale, x is first rounded to integers of that scale (ties to even), whose
    lowest bits are then cut off: ``scale / source`` is taken as the power of two nearest to it.

    With ``thresholds`` ``[channels or 1, n]``, whose rows ascend, the integer is the number of
    thresholds that x reaches; for one signed bit, the sign states whether x reaches the only
    threshold.

    With ``mantissa`` and ``largest``, the integers are small floating-point numbers in units of the
    smallest: from ``-largest`` to ``largest``, with ``mantissa`` bits after the leading one.
    """

    scale: Tensor
    zero_point: Tensor
    bits: float
    signed: bool
    narrow: bool = False
    rounding: Rounding = "ROUND"
    shift_first: bool = True
    source: Tensor | None = None
    thresholds: Tensor | None = None
    mantissa: int | None = None
    largest: float = 0.0

    @classmethod
    def floating(
        cls,
        scale: Tensor,
        exponent: int,
        mantissa: int,
        bias: int,
        limit: float,
        rounding: Rounding,
    ) -> "QuantAnnotation":
        """Return the quantizer to ``scale`` times the floating-point numbers of ``exponent`` and
        ``mantissa`` bits, none of them special: the smallest exponent is ``1 - bias``, numbers
        below it are subnormal; those beyond ``limit`` saturate."""
        unit = 2.0 ** (1 - bias - mantissa)
        reach = (2 ** (mantissa + 1) - 1) * 2.0 ** (2**exponent - 2)
        return cls(
            scale * unit,
            torch.zeros(1),
            1 + exponent + mantissa,
            signed=True,
            rounding=rounding,
            mantissa=mantissa,
            largest=min(reach, limit / unit),
        )

    @property
    def bipolar(self) -> bool:
        """True if the values are ``scale`` and ``-scale``."""
        return self.signed and self.bits == 1 and self.mantissa is None

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest integer."""
        if self.thresholds is not None and not self.bipolar:
            return 0.0, float(self.thresholds.shape[1])
        if self.mantissa is not None:
            return -self.largest, self.largest
        if self.signed:
            return -(2 ** (self.bits - 1)) + self.narrow, 2 ** (self.bits - 1) - 1
        return 0.0, 2**self.bits - 1 - self.narrow

    def __call__(self, x: Tensor) -> Tensor:
        """Return the quantized values of ``x`` ``[batch, channels, ...]``."""
        shape = (1, -1, *[1] * (x.dim() - 2))
        return self.apply(x, *(p.view(shape) for p in self.parameters(x.dtype)))

    def parameters(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Scale and zero point."""
        return self.scale.to(dtype), self.zero_point.to(dtype)

    def apply(self, x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        """Return the quantized values of ``x``; ``scale`` and ``zero`` broadcast with it."""
        if self.thresholds is not None:
            rows = self.thresholds.view(1, -1, *[1] * (x.dim() - 2), self.thresholds.shape[1])
            count = (x.unsqueeze(-1) >= rows).sum(-1).to(x.dtype)
            return (2 * count - 1) * scale if self.bipolar else (count - zero) * scale
        if self.bipolar:
            return torch.where(x >= 0, scale, -scale)
        rounded = _ROUND[self.rounding]
        if self.source is not None:
            source = self.source.to(x.dtype).view(scale.shape)
            factor = torch.exp2(torch.round(torch.log2(scale / source)))
            q = rounded(torch.round(x / source + zero * factor) / factor)
        elif self.mantissa is not None:
            v = x / scale
            digits = torch.frexp(v).exponent - 1 - self.mantissa
            unit = torch.exp2(digits.clamp(min=0).to(v.dtype))
            q = rounded(v / unit) * unit
        else:
            q = rounded(x / scale + zero) if self.shift_first else rounded(x / scale) + zero
        q = q.clamp(*self.range)
        return (q - zero) * scale
