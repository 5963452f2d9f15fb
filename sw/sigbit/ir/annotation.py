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

    @property
    def bipolar(self) -> bool:
        """True if the values are ``scale`` and ``-scale``."""
        return self.signed and self.bits == 1

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest integer."""
        if self.thresholds is not None and not self.bipolar:
            return 0.0, float(self.thresholds.shape[1])
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
        else:
            q = rounded(x / scale + zero) if self.shift_first else rounded(x / scale) + zero
        q = q.clamp(*self.range)
        return (q - zero) * scale


@dataclass(frozen=True)
class FloatAnnotation:
    """``scale`` times the small floating-point number nearest to ``x / scale``: ``mantissa`` bits
    after the leading one, the least exponent ``1 - bias`` (numbers below are subnormal), saturating
    at ``max_value`` and at the largest number of ``exponent`` bits (none of them special).
    """

    scale: Tensor
    exponent: float
    mantissa: float
    bias: float
    max_value: float
    rounding: Rounding = "ROUND"

    @property
    def largest(self) -> float:
        """The largest number, in units of the scale."""
        reach = (2 - 2**-self.mantissa) * 2 ** (2**self.exponent - 1 - self.bias)
        return float(min(reach, self.max_value))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the quantized values of ``x`` ``[batch, channels, ...]``."""
        shape = (1, -1, *[1] * (x.dim() - 2))
        return self.apply(x, *(p.view(shape) for p in self.parameters(x.dtype)))

    def parameters(self, dtype: torch.dtype) -> tuple[Tensor]:
        """Return the scale."""
        return (self.scale.to(dtype),)

    def apply(self, x: Tensor, scale: Tensor) -> Tensor:
        """Return the quantized values of ``x``, with which ``scale`` broadcasts."""
        v = x / scale
        exponent = torch.frexp(v).exponent - 1
        exponent = exponent.clamp(min=1 - self.bias).to(v.dtype)
        step = torch.exp2(exponent - self.mantissa)
        q = _ROUND[self.rounding](v / step) * step
        return q.clamp(-self.largest, self.largest) * scale


Quantizer = QuantAnnotation | FloatAnnotation
"""Quantizer that a quantized model applies to a tensor."""
