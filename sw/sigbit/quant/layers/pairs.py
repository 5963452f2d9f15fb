"""Products of two tensors of few levels, by a table of all pairs of levels."""

import torch
from torch import Tensor, nn

from sigbit.quant.layers.requant import hardware_table
from sigbit.quant.layers.sources import accumulate, window
from sigbit.quant.layers.values import Deployed, Levels
from sigbit.quant.numbers.grid import quantize, quantize_ste
from sigbit.quant.plan.pairs import pair_width
from sigbit.quant.plan.plans import PairPlan
from sigbit.quant.quantizers import Quantizer
from sigbit.quant.spec import DIGITS, ActGrid, QuantSpec
from sigbit_hw.arch.numerics import TABLE_ENTRIES, Y_MIN


class QuantPair(nn.Module):
    """A :class:`PairPlan`: levels a and b of both tensors are the entry ``a + width * b`` of a
    table, counted from that of the lowest levels, which holds their product, rounded once."""

    def __init__(
        self,
        plan: PairPlan,
        spec: QuantSpec,
        in_grids: tuple[ActGrid, ...],
        grid: ActGrid,
        out_quantizer: Quantizer,
    ) -> None:
        super().__init__()
        self.plan, self.sources, self.in_grids = plan, plan.sources, in_grids
        self.grid, self.out_quantizer = grid, out_quantizer
        width = pair_width(*in_grids)
        assert width is not None
        self.width = width
        self.terms = (1, next(t for t in DIGITS if width in spec.weight_grid(t).values))
        self.first = in_grids[0].low + width * in_grids[1].low

    def _table(self, in_scales: list[Tensor]) -> Tensor:
        """Return the levels (float64) of all entries."""
        (x, y), unit = self.in_grids, (in_scales[0] * in_scales[1]).detach()
        entry = torch.arange(TABLE_ENTRIES, dtype=torch.float64, device=unit.device)
        a, b = entry % self.width + x.low, torch.floor(entry / self.width) + y.low
        real = a.clamp(max=x.high) * b.clamp(max=y.high) * unit
        return quantize(real, self.out_quantizer.scale().detach(), self.grid.levels)

    def forward(self, inputs: list[Levels]) -> Levels:
        """Return the levels of the product; gradients are those of the product itself, and of the
        quantizer. Inputs between levels, of which block learning mixes some in, have no entry: the
        product itself is rounded."""
        a, b = (
            accumulate(None, v.levels, window(s).to(v.levels.device), s)
            for v, s in zip(inputs, self.sources, strict=True)
        )
        out_scale, scales = self.out_quantizer.scale(), [v.scale for v in inputs]
        unit = out_scale / (scales[0] * scales[1]).detach()
        smooth = quantize_ste(a * b, unit.to(a.dtype), self.grid.levels)
        with torch.no_grad():
            known = torch.ones_like(a, dtype=torch.bool)
            for x, grid in zip((a, b), self.in_grids, strict=True):
                known &= (x == x.round()) & (x >= grid.low) & (x <= grid.high)
            entry = (a + b * self.width - self.first).where(known, 0).long()
            exact = self._table(scales).to(a)[entry].where(known, smooth)
        return Levels(exact + (smooth - smooth.detach()), out_scale)

    def deploy(self, in_scales: list[Tensor]) -> Deployed:
        """Return the sum of both levels as an index, and the table."""
        factors = (1, self.width)
        weights = tuple(window(s) * k for s, k in zip(self.sources, factors, strict=True))
        one = torch.ones(self.plan.shape[0]).double()
        table = hardware_table(self._table(in_scales), self.grid.zero)
        scale = self.out_quantizer.scale()
        return Deployed(weights, one * (Y_MIN - self.first), one, one * 0, table, scale)
