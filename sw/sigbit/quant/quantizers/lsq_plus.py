"""LSQ+ (arXiv 2004.09576) for activations: a learned scale s and a learned offset beta,

    x_q = s clip(round(x / s), z, z + 2^b - 1),   beta = s z

The offset is z, a whole number of levels, rounded straight-through, so that 0 is a level. A padded
tensor then has exact borders, and the accelerator stores ``level - zero`` with one ``zero`` for
every z: the layer's table clips to the window, and the contribution of the zeros of its inputs is
exactly included in the biases. A real beta would need ``beta sum(w)`` in the bias of every reader,
which is wrong wherever a window of the reader extends beyond the border.

Only functions with a small negative part (SiLU, GELU, leaky ReLU, hard swish) have an offset to
learn: after a ReLU it is 0, and values of both signs have symmetric levels. With 8 bits a byte has
no room for the window to move, and it stays where the plan puts it.
"""

import math

import torch
from torch import Tensor, nn

from sigbit.quant.numbers.grid import LevelGrid, quantize
from sigbit.quant.numbers.scales import ScaleRule, mse_scale
from sigbit.quant.quantizers.base import Quantizer, positive, scale_gradient

_STARTS = 8
"""Number of initial offsets to try, besides 0, in equal steps."""
_SAMPLES = 1 << 14


def room(bits: int) -> LevelGrid:
    """All levels of all windows of ``bits`` bits, from symmetric to positive ones."""
    return LevelGrid.uniform(-(1 << (bits - 1)), (1 << bits) - 1)


class LsqPlus(Quantizer):
    """Activations whose window of ``2**bits`` levels moves within ``grid``, if that has more
    levels."""

    def __init__(self, grid: LevelGrid, rule: ScaleRule, channels: int | None, bits: int) -> None:
        super().__init__(grid, rule, channels)
        self._span = (1 << bits) - 1
        self._moves = grid.floor is not None and grid.max - grid.min > self._span
        if self._moves:
            self.offset = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def _window(self, start: int) -> LevelGrid:
        return LevelGrid.uniform(start, start + self._span)

    @property
    def window(self) -> LevelGrid:
        """The ``2**bits`` levels from the offset on."""
        if not self._moves:
            return self.grid
        return self._window(max(self.grid.min, min(0, round(float(self.offset.detach())))))

    @property
    def moving_offset(self) -> Tensor | None:
        """The offset, its gradient scaled like that of the scale."""
        return scale_gradient(self.offset, self.gradient_factor) if self._moves else None

    @torch.no_grad()
    def initialize(self, x: Tensor, values: int) -> None:
        """Set scale and offset to those with the least squared error of ``x``."""
        super().initialize(x, values)
        if not self._moves:
            return
        flat = x.detach().reshape(-1).double()
        flat = flat[:: max(1, flat.numel() // _SAMPLES)]
        least = math.inf
        for start in sorted({self.grid.min * k // _STARTS for k in range(_STARTS + 1)}):
            window = self._window(start)
            scale = positive(mse_scale(flat, window))
            error = float((quantize(flat, scale, window) * scale - flat).square().sum())
            if error < least:
                least = error
                self.offset.fill_(start)
                self.log_scale.copy_(scale.log2())
        self.gradient_factor.fill_(1 / math.sqrt(values * self._span))
