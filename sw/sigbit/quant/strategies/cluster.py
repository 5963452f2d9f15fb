"""Cluster regularized quantization, a reconstruction from the abstract of Hu et al., ICIP 2019
(arXiv 1902.10370): a term that draws full-precision weights to the values they will be quantized
to, so that the transition to the low-bit model is smooth. None of the publication's numbers are
claimed.

    R = lambda(t) / 2 * mean (w - c)^2      per layer, summed over layers, c without gradient

or the sum instead of the mean, which draws every weight equally, regardless of the size of its
layer.

c is the quantized value of w: with the ternary quantizer (TWN, arXiv 1605.04711) 0 where |w| <= D,
D = 0.7 mean|w|, else sign(w) a, a the mean of the |w| above D; with others the nearest level.
lambda grows exponentially. Until ``project`` weights are not rounded in the forward pass; then the
quantizer rounds them, and training continues with straight-through gradients.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.quantizers.inq import Inq
from sigbit.quant.strategies.base import Run, Step, Strategy, check, users, weighted_layers
from sigbit.quant.strategies.levels import rounded_input
from sigbit.quant.strategies.relaxed import RealWeights, attach, detach

Normalize = Literal["mean", "sum"]


@torch.no_grad()
def targets(layer: QuantLayer) -> Tensor:
    """Values that the layer's quantizer gives its weights when deployed."""
    quantizer = layer.weight_quantizer
    assert quantizer is not None
    weight, scale = rounded_input(layer)
    flat = scale.flatten() if quantizer.channels is not None else scale.reshape(())
    training = quantizer.training
    integers = quantizer.eval().quantize(weight, flat)
    quantizer.train(training)
    return integers * scale


class ClusterRegularization(Strategy):
    """Draws weights to their quantized values.

    Parameters
    ----------
    strength, start_strength : float
        lambda at ``project`` and in the first step; exponential in between, constant afterwards.
    project : float
        Progress at which the quantizer takes over; 0: it rounds from the start, and lambda is
        ``strength`` throughout. This is the default: in short trainings, real weights until 0.7
        left too little of the run for the rounded network, whose accuracy was lower.
    first_last : bool
        Include the first and the last layers.
    normalize : "mean" or "sum"
        See the module; strengths for sums are like those of weight decay, 1e-4 to 1.
    """

    def __init__(
        self,
        strength: float = 10.0,
        *,
        start_strength: float = 1e-2,
        project: float = 0.0,
        first_last: bool = False,
        normalize: Normalize = "mean",
    ) -> None:
        super().__init__()
        check(
            0 < start_strength <= strength,
            "start_strength and strength",
            "0 < start_strength <= strength",
            (start_strength, strength),
        )
        check(0 <= project < 1, "project", "in [0, 1)", project)
        check(normalize in get_args(Normalize), "normalize", f"in {get_args(Normalize)}", normalize)
        self.normalize = normalize
        self.strength, self.start_strength = strength, start_strength
        self.project, self.first_last = project, first_last
        self.switch = RealWeights()

    def start(self, run: Run) -> None:
        """Stop the rounding of weights."""
        super().start(run)
        self.layers = weighted_layers(run.model, first_last=self.first_last)
        for name, layer in self.layers.items():
            if isinstance(layer.weight_quantizer, Inq):
                raise QuantizationError(
                    f"cluster: the weights of {name!r} are frozen by portions (inq), so that they "
                    "cannot be drawn anywhere"
                )
            attach(users(run.model, layer), self.switch)
        self.switch.on = self.project > 0

    def lambda_at(self, progress: float) -> float:
        """The strength at ``progress``."""
        part = min(1.0, progress / self.project) if self.project else 1.0
        return float(self.start_strength * (self.strength / self.start_strength) ** part)

    def before_step(self, step: Step) -> None:
        """Switch to the quantizers at ``project``."""
        self.switch.on = step.progress < self.project

    def loss(self, step: Step) -> Tensor:
        """The squared distance to the targets."""
        squares = [
            (rounded_input(layer)[0] - targets(layer)).square() for layer in self.layers.values()
        ]
        parts = [s.mean() if self.normalize == "mean" else s.sum() for s in squares]
        return self.lambda_at(step.progress) / 2 * torch.stack(parts).sum()

    def finish(self) -> None:
        """Restore the rounding of weights."""
        detach(self.run.model, self.switch)
