"""Deep Projection, a reconstruction from the abstract of Wu, Liu, Li (CVIU 2022): weights composed
of latent tensors in a space of more dimensions, followed by any quantizer. None of the
publication's numbers are claimed.

    W = sum_d a_d V_d,   so that  dL/dV_d = a_d G,  dL/da_d = <G, V_d>  with G = dL/dW

and one step of gradient descent moves W by ``-lr [(sum a_d^2) G + sum <G, V_d> V_d]``: along the
gradient, and along the present tensors. Afterwards W is one tensor again, so that inference has no
additional cost.

Weight decay acts on the latent tensors and not on the coefficients. As W is linear in the tensors,
decaying them decays W equally: exactly with decoupled decay (AdamW, SGD without momentum).
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sigbit.quant.prepared import attribute_name
from sigbit.quant.strategies.base import (
    Randomness,
    Run,
    Strategy,
    check,
    device_of,
    weighted_layers,
)

Variant = Literal["linear", "conv1x1", "fixed-random"]
"""Coefficients: trained; the product of two trained 1x1 convolutions along the new axis, the first
of which expands it; fixed random signs over ``sqrt(D)``."""


class Composition(nn.Module):
    """``W = sum_d a_d V_d`` as a parametrization: the weight is computed from its parameters.

    Parameters
    ----------
    variant : Variant
        Variant of the coefficients a.
    dimension : int
        Number of latent tensors D.
    noise : float
        Standard deviation of all latent tensors except the first, relative to that of the weight.
    random : Randomness
        Source of the latent tensors and random signs.
    """

    signs: Tensor

    def __init__(self, variant: Variant, dimension: int, noise: float, random: Randomness) -> None:
        super().__init__()
        self.variant, self.dimension, self.noise, self._random = variant, dimension, noise, random
        draw = torch.randint(2, (dimension,), generator=random.generator) * 2.0 - 1
        self.register_buffer("signs", draw / dimension**0.5)

    def coefficients(self, projections: tuple[Tensor, ...], like: Tensor) -> Tensor:
        """a, ``[D]``."""
        if self.variant == "fixed-random":
            return self.signs.to(like)
        if self.variant == "linear":
            return projections[0]
        reduce, expand = projections
        return reduce @ expand.view(len(reduce), -1)

    def forward(self, latent: Tensor, *projections: Tensor) -> Tensor:
        """The weight of latent tensors ``[D, ...]``."""
        a = self.coefficients(projections, latent)
        return torch.tensordot(a, latent, 1)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """Latent tensors and projections whose composition is ``weight``."""
        d = self.dimension
        projections: tuple[Tensor, ...] = ()
        if self.variant == "linear":
            projections = (weight.new_full((d,), d**-0.5),)
        elif self.variant == "conv1x1":
            wide = 2 * d
            noise = torch.randn(wide, d, generator=self._random.generator) * 0.1
            expand = (torch.eye(d).repeat(2, 1) + noise).to(weight) * d**-0.5
            projections = (weight.new_full((wide,), 0.5), expand.flatten())
        a = self.coefficients(projections, weight)
        rest = torch.randn(d - 1, *weight.shape, generator=self._random.generator).to(weight)
        rest = rest * (self.noise * weight.std(correction=0))
        first = (weight - torch.tensordot(a[1:], rest, 1)) / a[0]
        return torch.cat([first[None], rest]), *projections


class DeepProjection(Strategy):
    """Weights composed of latent tensors.

    Parameters
    ----------
    dimension : int
        Number of latent tensors D.
    variant : "linear", "conv1x1" or "fixed-random"
        Variant of the composition.
    noise : float
        Initial differences between latent tensors; the network's function is unchanged.
    first_last : bool
        Include the first and the last layers.
    """

    def __init__(
        self,
        dimension: int = 4,
        *,
        variant: Variant = "linear",
        noise: float = 0.1,
        first_last: bool = True,
    ) -> None:
        super().__init__()
        check(dimension >= 2, "dimension", "at least 2", dimension)
        check(variant in get_args(Variant), "variant", f"in {get_args(Variant)}", variant)
        check(noise >= 0, "noise", "at least 0", noise)
        self.dimension, self.variant, self.noise = dimension, variant, noise
        self.first_last = first_last
        self.names: list[str] = []

    def start(self, run: Run) -> None:
        """Compose the weights without changing the network's function."""
        super().start(run)
        random = Randomness(run.seed, torch.device("cpu"))
        layers = weighted_layers(run.model, first_last=self.first_last).values()
        weights = dict.fromkeys(m.sources[0].weight for m in layers)
        self.names = [attribute_name(w) for w in weights if w is not None]
        for name in self.names:
            composition = Composition(self.variant, self.dimension, self.noise, random)
            composition.to(device_of(run.model))
            parametrize.register_parametrization(run.model, name, composition)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The coefficients, without weight decay."""
        coefficients = [
            p
            for name in self.names
            for key, p in self._own(name).named_parameters()
            if key != "original0"
        ]
        return [{"params": coefficients, "weight_decay": 0.0}] if coefficients else []

    def _own(self, name: str) -> nn.Module:
        return self.run.model.get_submodule(f"parametrizations.{name}")

    def finish(self) -> None:
        """Replace every composed weight by a single tensor with the same value."""
        for name in self.names:
            parametrize.remove_parametrizations(self.run.model, name, leave_parametrized=True)
        self.names = []
