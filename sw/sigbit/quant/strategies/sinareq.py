"""SINAREQ / WaveQ: a sinusoidal regularizer whose minima are the levels of the quantizer
(Elthakeb et al., arXiv 1905.01416 and 2003.00146).

Fixed bits: for a weight v in units of levels between its neighbours a < b of the quantizer's table,

    R = lambda_w mean sin^2(pi (v - a) / (b - a)) / 2^beta

per layer, summed over layers, with ``2^beta`` the number of magnitudes. On a uniform grid with a
level at 0 and w = v / (2^beta - 1) this is the published ``sin^2(pi w (2^beta - 1)) / 2^beta``, on
one without 0 the form with a phase that goes with DoReFa; on any other grid its minima are the
levels as well. beta counts the bits of a *magnitude*: one fewer than those of a weight.

Learned bits: beta is a parameter of each layer, on the normalised weight w in [-1, 1],

    R = lambda_w mean sin^2(pi (w + shift) / step(beta)) / 2^beta + lambda_beta beta

in three phases: plain training; both lambdas on, bits and weights move; then bits are rounded up
and frozen, lambda_beta is off, and lambda_w draws the weights to the levels of the rounded beta.
The model itself computes with the grids with which it was prepared. :attr:`Sinareq.bits` is the
result (:func:`~sigbit.quant.strategies.bits.with_weight_bits` turns it into the next stage's spec).

Departures: the *mean* over a layer, as in all paths of the released code, where the publication's
figure has a sum; the quantizer's own input is regularized, not the raw weight; beta is clamped,
since it collapses to 0 with some lambdas.
"""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sigbit.errors import QuantizationError
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.quantizers.lq_nets import LqNets
from sigbit.quant.strategies.base import Run, Step, Strategy, check, device_of, weighted_layers
from sigbit.quant.strategies.levels import between, in_levels, magnitude_bits

Align = Literal["wrpn", "dorefa", "symmetric"]
"""Alignment of the minima for b magnitude bits: integers / (2^b - 1), which has 2^(b+1) - 1 levels
in [-1, 1]; odd integers / (2^(b+1) - 1), without 0; even integers / (2^(b+1) - 1)."""


def ramp(progress: float, at: float, width: float) -> float:
    """A step from 0 to 1 at ``at``: ``(1 + tanh((progress - at) / width)) / 2``."""
    return 0.5 * (1 + math.tanh((progress - at) / width))


def grid_penalty(v: Tensor, grid: LevelGrid) -> Tensor:
    """``sin^2 / 2^beta`` of weights ``v`` in units of levels, element by element: 0 exactly at the
    levels, 1 / 2^beta halfway between two."""
    t = between(v, grid)
    # Use the shorter distance to a level: sin(pi) is not 0 in floating point, sin(0) is.
    t = torch.where(t > 0.5, 1 - t, t)
    return (math.pi * t).sin().square() * 2.0 ** -magnitude_bits(grid)


def wave_penalty(w: Tensor, beta: Tensor, align: Align) -> Tensor:
    """``sin^2 / 2^beta`` of normalised weights ``w`` with ``beta`` magnitude bits, with gradients
    to both."""
    if align == "wrpn":
        phase = w * (torch.exp2(beta) - 1)
    else:
        phase = w * (torch.exp2(beta) - 0.5)
        phase = phase + 0.5 if align == "dorefa" else phase
    return (math.pi * phase).sin().square() / torch.exp2(beta)


def alignment(grid: LevelGrid) -> Align:
    """Alignment of a grid's levels."""
    return "wrpn" if 0 in grid.values else "dorefa"


class Sinareq(Strategy):
    """SINAREQ with fixed or learned bits.

    Parameters
    ----------
    lambda_w : float
        Strength of the sine.
    learn_bits : bool
        Learn beta.
    lambda_beta : float
        Strength of the pull on beta. A run moves beta by about ``lr * lambda_beta`` times the
        number of steps in the second phase (:meth:`expected_drop`), against a sine that balances it
        at ``log2(0.35 lambda_w / lambda_beta)``.
    rise, fall : float
        Progress at which the lambdas rise, and lambda_beta falls.
    width : float
        Width of a rise or fall, in progress.
    beta, beta_min, beta_max : float
        Initial value of learned beta, and its limits.
    beta_lr : float
        Learning rate of beta, which has no weight decay.
    align : "wrpn", "dorefa", "symmetric" or None
        Alignment of the minima of learned beta; None derives it from each layer's grid.
    first_last : bool
        Include the first and the last layers.
    """

    frozen: Tensor

    def __init__(
        self,
        lambda_w: float = 1.0,
        *,
        learn_bits: bool = False,
        lambda_beta: float = 0.03,
        rise: float = 0.2,
        fall: float = 0.6,
        width: float = 0.02,
        beta: float = 7.0,
        beta_min: float = 1.0,
        beta_max: float = 7.0,
        beta_lr: float = 1e-2,
        align: Align | None = None,
        first_last: bool = False,
    ) -> None:
        super().__init__()
        check(lambda_w >= 0, "lambda_w", "at least 0", lambda_w)
        check(lambda_beta >= 0, "lambda_beta", "at least 0", lambda_beta)
        check(0 <= rise < fall <= 1, "rise and fall", "0 <= rise < fall <= 1", (rise, fall))
        check(width > 0, "width", "positive", width)
        check(
            1 <= beta_min <= beta <= beta_max,
            "beta_min, beta, beta_max",
            "1 <= beta_min <= beta <= beta_max",
            (beta_min, beta, beta_max),
        )
        check(align is None or align in get_args(Align), "align", f"in {get_args(Align)}", align)
        self.lambda_w, self.lambda_beta, self.learn_bits = lambda_w, lambda_beta, learn_bits
        self.rise, self.fall, self.width = rise, fall, width
        self.start_beta, self.beta_min, self.beta_max = beta, beta_min, beta_max
        self.beta_lr, self.align, self.first_last = beta_lr, align, first_last
        self.layers: dict[str, QuantLayer] = {}
        self.register_buffer("frozen", torch.tensor(False))

    def start(self, run: Run) -> None:
        """Find the layers; create a beta for each if it is learned."""
        super().start(run)
        self.layers = weighted_layers(run.model, first_last=self.first_last)
        for name, layer in self.layers.items():
            assert layer.weight_quantizer is not None
            if isinstance(layer.weight_quantizer, LqNets):
                raise QuantizationError(
                    f"sinareq: the weights of {name!r} have levels that move (lq-nets); the sine "
                    "needs a fixed table of levels"
                )
        if self.learn_bits:
            value = torch.full((len(self.layers),), self.start_beta, dtype=torch.float64)
            self.beta = nn.Parameter(value.to(device_of(run.model)))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """beta, with its own learning rate."""
        if not self.learn_bits:
            return []
        return [{"params": [self.beta], "weight_decay": 0.0, "lr": self.beta_lr}]

    def strengths(self, progress: float) -> tuple[float, float]:
        """(lambda_w, lambda_beta) at ``progress``."""
        rise = ramp(progress, self.rise, self.width)
        fall = ramp(progress, self.fall, self.width)
        return self.lambda_w * rise, self.lambda_beta * max(0.0, rise - fall)

    def expected_drop(self) -> float:
        """Upper bound of the decrease of beta by SGD without momentum in the second phase."""
        steps = (self.fall - self.rise) * self.run.steps
        return self.beta_lr * self.lambda_beta * steps

    def loss(self, step: Step) -> Tensor:
        """The penalty of all layers, and of the bits."""
        lambda_w, lambda_beta = self.strengths(step.progress)
        parts = []
        for i, layer in enumerate(self.layers.values()):
            assert layer.weight_quantizer is not None
            grid, v = layer.weight_quantizer.grid, in_levels(layer)
            if not self.learn_bits:
                parts.append(grid_penalty(v, grid).mean())
                continue
            beta = self.beta[i].detach() if self.frozen else self.beta[i]
            w = (v / grid.max).clamp(-1, 1)
            penalty = wave_penalty(w, beta.to(w.dtype), self.align or alignment(grid))
            parts.append(penalty.mean())
        total = lambda_w * torch.stack(parts).sum()
        if self.learn_bits and not self.frozen:
            total = total + lambda_beta * self.beta.sum().to(total.dtype)
        return total

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        """Keep beta within its limits; freeze it at integers when the third phase begins."""
        if not self.learn_bits:
            return
        if not self.frozen and step.progress >= self.fall:
            self.frozen.fill_(True)
        self.beta.clamp_(self.beta_min, self.beta_max)
        if self.frozen:
            self.beta.copy_(self.beta.ceil())
            self.beta.requires_grad_(False)

    @property
    def bits(self) -> dict[str, int]:
        """Bits of each layer's weights, including the sign, by the name of its tensor; learned bits
        are rounded up."""
        if not self.learn_bits:
            grids = {
                n: m.weight_quantizer.grid for n, m in self.layers.items() if m.weight_quantizer
            }
            return {n: math.ceil(magnitude_bits(g)) + 1 for n, g in grids.items()}
        return {n: int(b) + 1 for n, b in zip(self.layers, self.beta.ceil().tolist(), strict=True)}
