"""What a float graph says beside its nodes: quantizers of tensors, and the host's part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

Rounding = Literal["ROUND", "CEIL", "FLOOR", "ROUND_TO_ZERO"]
"""Rounding of a quantizer: ``ROUND`` is to nearest, ties to even."""

_ROUND: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"ROUND": torch.round, "CEIL": torch.ceil, "FLOOR": torch.floor, "ROUND_TO_ZERO": torch.trunc}
)

_HOST: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "argmax": lambda x: x.argmax(1),
        "log_softmax": lambda x: x.log_softmax(1),
        "softmax": lambda x: x.softmax(1),
    }
)


@dataclass(frozen=True)
class QuantAnnotation:
    """``(clip(round(x / scale + zero_point), low, high) - zero_point) * scale``; without
    ``shift_first`` it is ``round(x / scale) + zero_point`` that is clipped (ONNX, not QONNX).

    ``scale`` and ``zero_point`` hold one number, or one a channel (axis 1). The range is that of
    ``bits`` bits, signed or not; ``narrow`` leaves out its lowest (signed) or highest (unsigned)
    value. One signed bit is the sign: ``scale`` where x >= 0, else ``-scale``.
    """

    scale: Tensor
    zero_point: Tensor
    bits: float
    signed: bool
    narrow: bool = False
    rounding: Rounding = "ROUND"
    shift_first: bool = True

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest integer."""
        if self.signed:
            return -(2 ** (self.bits - 1)) + self.narrow, 2 ** (self.bits - 1) - 1
        return 0.0, 2**self.bits - 1 - self.narrow

    def __call__(self, x: Tensor) -> Tensor:
        """The quantized values of ``x`` ``[batch, channels, ...]``."""
        shape = (1, -1, *[1] * (x.dim() - 2))
        scale, zero = (t.to(x.dtype).view(shape) for t in (self.scale, self.zero_point))
        if self.signed and self.bits == 1:
            return torch.where(x >= 0, scale, -scale)
        rounded = _ROUND[self.rounding]
        q = rounded(x / scale + zero) if self.shift_first else rounded(x / scale) + zero
        q = q.clamp(*self.range)
        return (q - zero) * scale


@dataclass(frozen=True)
class HostOp:
    """A function over the channels of output number ``output``, left to the host.

    It does not change the predicted class.
    """

    output: int
    function: Literal["argmax", "log_softmax", "softmax"]
    location: str = ""

    def __call__(self, x: Tensor) -> Tensor:
        """The function of ``x`` ``[batch, channels, ...]``."""
        return _HOST[self.function](x)
