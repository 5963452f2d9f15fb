"""Empirical bias correction (Nagel et al. 2019, arXiv 1906.04721): quantization shifts the mean of
a channel, and the bias takes the shift back. Layer by layer, so that each one sees the errors that
are left before it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sigbit.quant.post.reconstruction.walk import LayerSite, Step
from sigbit.quant.post.uses import Uses


class BiasCorrection(Step):
    """Makes the means of all channels before their activation function those of the float network.

    Layers without a bias of their own keep their error: those behind a batch norm that is not
    folded, sums without weights, steps of a recurrence; and those that have the codes of a
    quantized model.

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
        """Take the mean error of the layer off its bias."""
        name, module = self._uses.bias_of(site.plan), site.module
        if name is None or module.given is not None:
            return
        a = module.arithmetic(site.scales())
        total, count = torch.zeros(site.plan.shape[0], dtype=torch.float64), 0
        for inputs in site.inputs():
            acc = module.sums(a, inputs)
            total += acc.sum((0, 2, 3), dtype=torch.float64)
            count += acc.numel() // acc.shape[1]
        error = self._means[site.plan.name] - (total / count * a.step + a.bias)
        parameter = site.walk.prepared.parameter_of(name)
        parameter += error.to(parameter.dtype)
