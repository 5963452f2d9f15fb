"""Base class of quantizers: a module that owns a grid of integers and the scale of one level.

A layer asks its weight quantizer for the scale, moves it to the hardware's grid of scales, and
quantizes with the result: ``real = scale * integer``. An activation's quantizer provides the scale
of its tensor's levels; the requantization does the rest, or uses the quantizer's own
:meth:`Quantizer.curve`. A method is a subclass, with its level table and defaults in
:mod:`~sigbit.quant.quantizers.registry`.

Gradients arrive as those of the integer: the gradient of the real value times its scale.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from sigbit.quant.numbers.grid import LevelGrid, quantize_ste, round_to_grid
from sigbit.quant.numbers.scales import ScaleRule


def scale_gradient(scale: Tensor, factor: Tensor) -> Tensor:
    """Return ``scale`` with its gradient multiplied by ``factor``."""
    return scale.detach() + (scale - scale.detach()) * factor


def rows(x: Tensor, channels: bool) -> Tensor:
    """``x`` as ``[rows, values]``: one row per channel, or a single row."""
    return x.flatten(1) if channels else x.reshape(1, -1)


def straight_through(value: Tensor, gradient: Tensor) -> Tensor:
    """Return exactly ``value``, with the gradient of ``gradient``."""
    result: Tensor = _StraightThrough.apply(gradient, value.detach())
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, gradient: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class Quantizer(nn.Module):
    """A grid and the scale that ``rule`` chooses for it: a parameter, a constant, or chosen anew
    for every tensor.

    Parameters
    ----------
    grid : LevelGrid
        The values.
    rule : ScaleRule
        Rule that chooses the scale.
    channels : int or None
        Number of scales along dimension 0; None for one scale.
    """

    folded: bool = False
    """True if weights are quantized after multiplication by the batch norm's factor. Methods are
    defined on the kernel itself; the factor then multiplies the scale."""

    clips: bool = True
    """True if values beyond the grid get no gradient."""

    curved: bool = False
    """True if activations use :meth:`curve` instead of rounding to the nearest level."""

    saturating: bool = False
    """True if an activation's scale gets gradients from saturated values only (PACT)."""

    log_scale: Tensor
    gradient_factor: Tensor

    def __init__(self, grid: LevelGrid, rule: ScaleRule, channels: int | None = None) -> None:
        super().__init__()
        self.grid, self.rule, self.channels = grid, rule, channels
        start = torch.ones(() if channels is None else (channels,), dtype=torch.float64)
        self.register_buffer("gradient_factor", torch.ones((), dtype=torch.float64))
        if rule.learned:
            self.log_scale = nn.Parameter(start.log2())
        else:
            self.register_buffer("log_scale", start.log2())

    def parameter_groups(self) -> list[dict[str, object]]:
        """Learned parameters with hints for the optimizer: ``lr_factor`` relative to the weights'
        learning rate, and ``weight_decay``."""
        parameters = [p for p in self.parameters(recurse=False) if p.requires_grad]
        return [{"params": parameters, "lr_factor": 1.0, "weight_decay": 0.0}] if parameters else []

    def choose(self, x: Tensor) -> Tensor:
        """The scale that the rule chooses for ``x`` (float64); 0 where ``x`` is 0."""
        return self.rule.choose(x, self.grid, self.channels is not None)

    @torch.no_grad()
    def initialize(self, x: Tensor, values: int) -> None:
        """Set the scale from a kernel or an activation ``x``; the number of ``values`` (per scale
        and sample) normalizes the gradient of a learned one."""
        self.log_scale.copy_(positive(self.choose(self.transform(x))).log2())
        self.gradient_factor.fill_(1 / math.sqrt(values * self.grid.max))

    @torch.no_grad()
    def give(self, scale: Tensor) -> None:
        """Set the scale to ``scale``, independently of the tensor."""
        self.log_scale.copy_(scale.log2())
        self.rule = replace(self.rule, tracks=False)

    def transform(self, w: Tensor) -> Tensor:
        """Weights to quantize, in real units, for a kernel ``w``."""
        return w

    def observe(self, x: Tensor, scale: Tensor | None = None) -> None:
        """Update statistics in training: of transformed weights, or of an activation in levels of
        ``scale``."""

    def scale(self, x: Tensor | None = None) -> Tensor:
        """The scale (float64): that of the tensor ``x`` if the rule tracks, else the stored one."""
        if self.rule.tracks and x is not None:
            return self.choose(x)
        scale = torch.exp2(self.log_scale.double())
        return scale_gradient(scale, self.gradient_factor) if self.rule.learned else scale

    def quantize(self, x: Tensor, scale: Tensor) -> Tensor:
        """Integers of ``x`` with straight-through gradients to ``x`` and ``scale``."""
        return quantize_ste(x, scale.to(x.dtype), self.grid, self.clips)

    @property
    def window(self) -> LevelGrid:
        """Levels of the grid that activations use now."""
        return self.grid

    @property
    def moving_offset(self) -> Tensor | None:
        """Start of the window, in levels, as a tensor for gradients; None if it is fixed."""
        return None

    def round(self, v: Tensor) -> Tensor:
        """Levels of activations ``v``, in units of a level, as deployed; without gradient."""
        return round_to_grid(v, self.grid)

    def curve(self, v: Tensor) -> Tensor:
        """Levels of activations ``v`` (units of a level) in training, differentiable in ``v`` and
        the quantizer's parameters; only where :attr:`curved`."""
        raise NotImplementedError

    @property
    def soft(self) -> bool:
        """True if training uses :meth:`curve` itself, not the levels that :meth:`round` returns."""
        return False


def positive(scale: Tensor) -> Tensor:
    """``scale`` with the smallest positive one, or 1, in place of the zeros of all-zero
    channels."""
    found = scale[scale > 0]
    return torch.where(scale > 0, scale, found.min() if found.numel() else 1.0)
