"""Modules without weights: network inputs, maxima, gathered channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.errors import QuantizationError
from sigbit.ir.floating import pad
from sigbit.quant.layers.values import Levels
from sigbit.quant.numbers.grid import quantize_ste, round_half_away
from sigbit.quant.plan.plans import GatherPlan, InputPlan, MaxPoolPlan
from sigbit.quant.quantizers import Quantizer
from sigbit.quant.spec import ActGrid, QuantSpec, act_grid


class QuantInput(nn.Module):
    """A network input on an 8-bit grid, or the ``given`` one: ``stored = clip(round(x / scale -
    zero), low, high)``, computed in float64.
    """

    scale: Tensor

    def __init__(
        self,
        plan: InputPlan,
        spec: QuantSpec,
        low: float,
        high: float,
        given: ActGrid | None = None,
    ) -> None:
        super().__init__()
        self.plan = plan
        levels = act_grid(spec, 0 if low >= 0 else 1, spec.byte_planes).levels
        zero = spec.zero_of(levels, spec.byte_planes)
        self.grid = given or ActGrid(levels, spec.byte_planes, zero, 0, 0)
        levels, zero = self.grid.levels, self.grid.zero
        self.low, self.high = levels.min - zero, levels.max - zero
        reach = max(abs(low), abs(high))
        if not reach > 0 and given is None:
            raise QuantizationError(
                f"input {plan.name!r} is 0 on the whole calibration batch; give an input_range"
            )
        self.register_buffer("scale", torch.tensor(reach / levels.max, dtype=torch.float64))

    def forward(self, x: Tensor) -> Levels:
        """Return the levels of real inputs; no gradient flows to the input. Raise
        :class:`QuantizationError` for NaN and infinity, as the integer model does."""
        with torch.no_grad():
            image = self.plan.axes.to_stored(x, self.plan.shape)
            v = image.double() / self.scale.double() - self.grid.zero
            if not bool(torch.isfinite(v).all()):
                raise QuantizationError(f"input {self.plan.name!r} holds NaN or infinity")
            stored = round_half_away(v).clamp_(self.low, self.high).add_(0.0)
        return Levels((stored + self.grid.zero).to(x.dtype), self.scale.double())


class QuantState(nn.Module):
    """A state on ``grid``, with the scale of ``quantizer``, those of its next value."""

    def __init__(self, plan: InputPlan, grid: ActGrid, quantizer: Quantizer) -> None:
        super().__init__()
        self.plan, self.grid, self.quantizer = plan, grid, quantizer
        self.low, self.high = grid.levels.min - grid.zero, grid.levels.max - grid.zero

    @property
    def scale(self) -> Tensor:
        """Scale of one level (float64)."""
        return self.quantizer.scale().double()

    def forward(self, x: Tensor) -> Levels:
        """Return the levels of a real state, with straight-through gradients."""
        scale, real = self.scale, self.plan.axes.to_stored(x, self.plan.shape)
        return Levels(quantize_ste(real, scale.to(x.dtype), self.grid.levels), scale)


class QuantMaxPool(nn.Module):
    """Maximum over windows of levels."""

    def __init__(self, plan: MaxPoolPlan, grid: ActGrid) -> None:
        super().__init__()
        self.plan, self.grid = plan, grid

    def forward(self, inputs: list[Levels]) -> Levels:
        """Return the window maxima, on the same grid."""
        levels = pad(inputs[0].levels, self.plan.padding, -torch.inf)
        pooled = F.max_pool2d(levels, self.plan.kernel, self.plan.stride)
        return Levels(pooled, inputs[0].scale)


class QuantGather(nn.Module):
    """Channels of tensors on one grid."""

    index: Tensor

    def __init__(self, plan: GatherPlan, grid: ActGrid, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.plan, self.grid = plan, grid
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        index = torch.tensor([starts[t] + c for t, c in plan.channels])
        self.register_buffer("index", index, persistent=False)

    def forward(self, inputs: list[Levels]) -> Levels:
        """Return the channels, in order."""
        joined = torch.cat([x.levels for x in inputs], dim=1)
        return Levels(joined[:, self.index], inputs[0].scale)
