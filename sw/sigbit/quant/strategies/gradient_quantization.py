"""DoReFa's quantization of gradients (arXiv 1606.06160): the gradient that flows back through a
layer is rounded to g bits, with noise that makes the rounding unbiased.

    g_q = 2 M [ Q(clip(g / (2 M) + 1/2 + N, 0, 1)) - 1/2 ]

with M the largest magnitude in a sample, ``Q(x) = round((2^g - 1) x) / (2^g - 1)`` and N uniform in
(-1/2, 1/2) / (2^g - 1). It is applied between a layer's result and its backward convolutions; first
and last layers keep their gradients, as in the publication's networks. Second derivatives (JARN's)
pass straight through.
"""

import torch
from torch import Tensor

from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.values import Levels
from sigbit.quant.quantizers.base import straight_through
from sigbit.quant.strategies.base import Hooked, Run, check, users, weighted_layers


def quantize_gradient(g: Tensor, bits: int, noise: Tensor) -> Tensor:
    """``g`` ``[N, ...]`` on a grid of ``2**bits`` values per sample; ``noise`` in (-1/2, 1/2)."""
    steps = 2**bits - 1
    largest = g.abs().amax(tuple(range(1, g.dim())), keepdim=True)
    safe = torch.where(largest > 0, largest, 1.0)
    x = (g / (2 * safe) + 0.5 + noise / steps).clamp(0, 1)
    rounded = (x * steps).round() / steps
    return torch.where(largest > 0, 2 * largest * (rounded - 0.5), 0.0)


class GradientQuantization(Hooked):
    """Gradients of ``bits`` bits, with any quantizer.

    Parameters
    ----------
    bits : int
        Bits of a gradient, 2 to 16.
    first_last : bool
        Include the first and the last layers.
    """

    def __init__(self, bits: int = 6, *, first_last: bool = False) -> None:
        super().__init__()
        check(2 <= bits <= 16, "bits", "in [2, 16]", bits)
        self.bits, self.first_last = bits, first_last

    def start(self, run: Run) -> None:
        """Hook into the layers' results."""
        super().start(run)
        for layer in weighted_layers(run.model, first_last=self.first_last).values():
            for user in users(run.model, layer):
                self.keep([user.register_forward_hook(self._listen)])

    def _listen(self, layer: QuantLayer, inputs: object, result: Levels) -> None:
        if layer.training and result.levels.requires_grad:
            result.levels.register_hook(self._quantize)

    def _quantize(self, g: Tensor) -> Tensor:
        noise = torch.rand(g.shape, generator=self.random.generator, device=g.device, dtype=g.dtype)
        with torch.no_grad():
            rounded = quantize_gradient(g, self.bits, noise - 0.5)
        return straight_through(rounded, g)
