"""Products of two computed tensors, transpositions, and constant tensors."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sigbit.errors import QuantizationError
from sigbit.quant.layers.requant import Requantization, hardware_table, table_of
from sigbit.quant.layers.values import Deployed, Levels
from sigbit.quant.numbers.grid import LevelGrid, quantize_ste, round_to_grid
from sigbit.quant.numbers.scales import mse_scale
from sigbit.quant.plan.plans import ConstantPlan, ProductPlan, TransposePlan
from sigbit.quant.quantizers import Quantizer
from sigbit.quant.spec import DIGITS, ActGrid, QuantSpec, act_grid
from sigbit_hw.arch.numerics import PRE_BITS, UNIT, Y_MAX, Y_MIN

Ints = NDArray[np.int64]


class QuantProduct(nn.Module):
    """A :class:`ProductPlan`: ``round(left right factor)`` on the grid of the result. One step of
    an accumulator stands for the product of both scales; the requantizer's step is the nearest to
    the ratio of the result's scale to it."""

    def __init__(
        self,
        plan: ProductPlan,
        spec: QuantSpec,
        in_grids: tuple[ActGrid, ...],
        grid: ActGrid,
        out_quantizer: Quantizer,
        *,
        is_output: bool,
    ) -> None:
        super().__init__()
        self.plan, self.spec, self.in_grids, self.grid = plan, spec, in_grids, grid
        self.out_quantizer, self.is_output = out_quantizer, is_output
        if in_grids[0].zero:
            raise QuantizationError(
                f"{plan.name} ({plan.location}): the levels {in_grids[0].low} to "
                f"{in_grids[0].high} of {plan.left} have no zero among the values of "
                f"{spec.act_format}: use a signed act_format"
            )

    def ends(self, channels: int) -> tuple[Ints, Ints]:
        """Return the smallest and the largest sum over ``channels`` products of levels."""
        (a, b) = self.in_grids
        products = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        return np.array([channels * min(products)]), np.array([channels * max(products)])

    def _requantization(self, in_scales: list[Tensor]) -> tuple[Requantization, Tensor, Tensor]:
        """Return the requantization, the real value of an accumulator step, and the result's
        scale."""
        out_scale, fmt = self.out_quantizer.scale(), self.spec.params
        step = (in_scales[0] * in_scales[1]).detach() * abs(self.plan.factor)
        wanted = out_scale.detach() * 2.0**-self.grid.pre_shift / step
        if not float(wanted) <= fmt.step_max / UNIT:
            raise QuantizationError(
                f"{self.plan.name} ({self.plan.location}): a step of its result is {float(wanted)} "
                f"of its sums, at most {fmt.step_max / UNIT} works: use fewer terms or planes"
            )
        steps = fmt.nearest_step(wanted, torch).expand(self.plan.shape[0])
        base = fmt.nearest_base(steps * (0.5 - self.grid.centre - self.grid.offset), torch)
        requantization = Requantization(
            base, steps, self.grid, None, False, self.is_output, self.out_quantizer
        )
        return requantization, step.expand_as(steps), out_scale

    def forward(self, inputs: list[Levels]) -> Levels:
        """Return the levels of the products; accumulators equal those of the hardware exactly."""
        requantization, step, out_scale = self._requantization([x.scale for x in inputs])
        left, right = (x.levels for x in inputs)
        acc = torch.matmul(right.flatten(2).transpose(1, 2), left.flatten(2))
        acc = acc.unflatten(2, left.shape[2:])
        levels = requantization(acc, torch.zeros_like(step), step, out_scale)
        return Levels(levels, out_scale)

    def deploy(self, in_scales: list[Tensor]) -> Deployed:
        """Return the same arithmetic in the accelerator's form."""
        r, _, out_scale = self._requantization(in_scales)
        table = table_of(self.grid, None, False, self.out_quantizer.round)
        return Deployed((), r.base, r.step, torch.zeros_like(r.step), table, out_scale)


class QuantTranspose(nn.Module):
    """A :class:`TransposePlan`: a product of an identity with the levels, which pass unchanged."""

    def __init__(self, plan: TransposePlan, spec: QuantSpec, in_grid: ActGrid) -> None:
        super().__init__()
        self.plan, self.in_grid, self.grid = plan, in_grid, in_grid
        top = max(in_grid.high, -in_grid.low)
        if top > Y_MAX:
            raise QuantizationError(
                f"{plan.name} ({plan.location}): levels up to {top} cannot be transposed through "
                f"{PRE_BITS} bits; use fewer terms"
            )
        if not plan.weights:
            planes = next(p for p in DIGITS if spec.act_contiguous(p) >= top)
            levels = LevelGrid.uniform(-top, top)
            self.grid = ActGrid(levels, planes, spec.zero_of(levels, planes), 0, 0)

    def forward(self, inputs: list[Levels]) -> Levels:
        """Return the levels, channels and pixels exchanged."""
        turned = inputs[0].levels.flatten(2).transpose(1, 2).unsqueeze(2)
        return Levels(turned, inputs[0].scale)

    def deploy(self, in_scales: list[Tensor]) -> Deployed:
        """Return the unchanged sums; the table only adds the zero."""
        one = torch.ones(self.plan.shape[0], dtype=torch.float64)
        y = torch.arange(Y_MIN, Y_MAX + 1, dtype=torch.float64)
        table = hardware_table(round_to_grid(y, self.grid.levels), self.grid.zero)
        return Deployed((), 0 * one, one, 0 * one, table, in_scales[0])


class QuantConstant(nn.Module):
    """A :class:`ConstantPlan`: a parameter on an 8-bit grid, with the scale of the least error at
    the start."""

    scale: Tensor

    def __init__(self, plan: ConstantPlan, spec: QuantSpec, value: Tensor) -> None:
        super().__init__()
        self.plan = plan
        negative = 1 if bool((value < 0).any()) else 0
        self.grid = act_grid(spec, negative, spec.byte_planes)
        found = mse_scale(value.detach(), self.grid.levels).double()
        self.register_buffer("scale", torch.where(found > 0, found, torch.ones_like(found)))

    def levels(self, value: Tensor) -> Tensor:
        """Return the levels ``[C, H, W]`` of the parameter's ``value``."""
        return quantize_ste(value, self.scale.to(value.dtype), self.grid.levels)

    def forward(self, value: Tensor, batch: int) -> Levels:
        """Return the levels for every sample of a ``batch``."""
        return Levels(self.levels(value).expand(batch, -1, -1, -1), self.scale.double())
