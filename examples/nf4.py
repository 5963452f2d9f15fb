"""A quantizer of one's own: 4-bit levels near the quantiles of a normal distribution.

    sigbit --plugin examples/nf4.py methods --arch nf4
    sigbit --plugin examples/nf4.py train examples/nf4.toml -o build/nf4

The levels are integers, so that an array whose multiplier knows them computes exactly. The
accelerator ``nf4`` has them as its native weights; ``nano`` represents them with two terms.
"""

from dataclasses import replace

import torch
from torch import Tensor

from sigbit.plugins import add_accelerator, add_format, add_quantizer
from sigbit.quant.numbers.grid import LevelGrid, per_channel, round_to_grid
from sigbit.quant.numbers.scales import ScaleRule, mse_scale
from sigbit.quant.quantizers import Method, Quantizer, Side
from sigbit.quant.quantizers.base import straight_through
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.formats import LevelFormat

LEVELS = (0, 1, 2, 3, 4, 6, 8, 11)
RULE = ScaleRule("nf4", mse_scale, learned=True)


class Nf4(Quantizer):
    """Rounding to the nearest level, with a gradient that is damped between levels."""

    def quantize(self, x: Tensor, scale: Tensor) -> Tensor:
        """Integers of ``x``; the gradient is that of a line with a sine of the levels' period."""
        v = x / per_channel(scale, x).to(x.dtype)
        soft = v + 0.1 * torch.sin(2 * torch.pi * v) / (2 * torch.pi)
        nearest = round_to_grid(v.detach().clone(), self.grid)
        return straight_through(nearest, soft.clamp(self.grid.min, self.grid.max))


add_quantizer(
    Method(
        "nf4",
        weights=Side(
            bits=(4,),
            levels=lambda bits: LevelGrid(LEVELS, True),
            make=lambda grid, rule, channels, bits: Nf4(grid, RULE, channels),
        ),
        acts=Side(
            bits=(4,),
            levels=lambda bits: LevelGrid.uniform(0, 15),
            make=lambda grid, rule, channels, bits: Quantizer(grid, RULE),
        ),
    )
)
add_format("nf4", LevelFormat(LEVELS))
add_accelerator(replace(PRESETS["nano"], name="nf4", weight_format=LevelFormat(LEVELS)))
