"""Empirical bias correction (Nagel et al. 2019, arXiv 1906.04721): quantization shifts the mean of
a channel, and the bias compensates the shift, layer by layer, so that each layer sees the errors
that remain before it."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sigbit.quant.layers.values import Levels
from sigbit.quant.post.reconstruction.walk import LayerSite, Step
from sigbit.quant.post.uses import Uses


class BiasCorrection(Step):
    """Makes the means of all channels before their activation function equal to those of the float
    network.

    Layers without a bias of their own keep their error: those with a batch norm that is not folded,
    sums without weights, and steps of a recurrence; so do layers with the codes of a quantized
    model.

    Parameters
    ----------
    uses : Uses
    means : mapping
        By layer, ``[C]`` (float64): the float network's, on the same samples.
    """

    def __init__(self, uses: Uses, means: Mapping[str, Tensor]) -> None:
        self._uses, self._means = uses, means

    @torch.no_grad()
    def layer(self, site: LayerSite) -> None:
        """Subtract the mean error of the layer from its bias."""
        name, module = self._uses.bias_of(site.plan), site.module
        if name is None or module.given is not None:
            return
        total = _total(site)
        a = module.arithmetic([x.scale for x in total])
        acc = module.sums(a, total)  # sums are linear: that of all samples, without error
        mean = acc.sum((0, 2, 3)) / (site.walk.samples * math.prod(site.plan.shape[1:]))
        error = self._means[site.plan.name] - (mean * a.step + a.bias)
        parameter = site.walk.prepared.parameter_of(name)
        parameter += error.to(parameter.dtype)


def _total(site: LayerSite) -> list[Levels]:
    """Sum of a layer's inputs over the samples (float64)."""
    total: list[Levels] = []
    for inputs in site.inputs():
        sums = [x.levels.sum(0, keepdim=True).double() for x in inputs]  # integers, exact
        if total:
            sums = [t.levels + s for t, s in zip(total, sums, strict=True)]
        total = [Levels(s, x.scale) for s, x in zip(sums, inputs, strict=True)]
    return total
