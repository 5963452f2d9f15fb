"""Empirical bias correction: quantization shifts the mean of a channel, and the bias compensates
the shift, layer by layer, so that each layer sees the errors that remain before it.

Before the activation function, the means of the sums are corrected (Nagel et al. 2019, arXiv
1906.04721). A ReLU with few levels behind it shifts means again: values below half a level become
0, and the sums of a network with few bits vary less than those of the float network, so that fewer
of them exceed the ReLU's threshold. In deep networks this adds up until their last tensors are
almost 0. There the bias is moved until the mean after the ReLU is that of the float network
(Finkelstein et al. 2019, arXiv 1906.03193).
"""

import math

import torch
from torch import Tensor

from sigbit.ir.floating import Relu
from sigbit.quant.calibration.statistics import Statistics
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.values import Arithmetic, Levels
from sigbit.quant.numbers.grid import quantize
from sigbit.quant.post.reconstruction.walk import LayerSite, Step
from sigbit.quant.post.uses import Uses

FEW = 32
"""Tensors with fewer levels have their means corrected after a ReLU."""
PLACES = 4096
"""Approximate number of values of each channel on which they are."""
_HALVINGS = 12
"""Number of bisections of the bias, within one level up and down."""


class BiasCorrection(Step):
    """Makes the means of all channels equal to those of the float network: before their activation
    function, and after a ReLU with few levels.

    Layers without a bias of their own keep their error: those with a batch norm that is not folded,
    sums without weights, and steps of a recurrence; so do layers with the codes of a quantized
    model.

    Parameters
    ----------
    uses : Uses
    found : Statistics
        The float network's means, on the same samples.
    """

    def __init__(self, uses: Uses, found: Statistics) -> None:
        self._uses, self._found = uses, found

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
        error = self._found.means[site.plan.name] - (mean * a.step + a.bias)
        parameter = site.walk.prepared.parameter_of(name)
        parameter += error.to(parameter.dtype)
        few = len(module.grid.levels.magnitudes) < FEW
        if few and isinstance(site.plan.activation, Relu) and not module.is_output:
            sums = _some_sums(site, a) + (a.bias + error)[:, None]
            wanted = self._found.rectified[site.plan.name]
            parameter += _shift(module, a, sums, wanted).to(parameter.dtype)


def _total(site: LayerSite) -> list[Levels]:
    """Sum of a layer's inputs over the samples (float64)."""
    total: list[Levels] = []
    for inputs in site.inputs():
        sums = [x.levels.sum(0, keepdim=True).double() for x in inputs]  # integers, exact
        if total:
            sums = [t.levels + s for t, s in zip(total, sums, strict=True)]
        total = [Levels(s, x.scale) for s, x in zip(sums, inputs, strict=True)]
    return total


def _some_sums(site: LayerSite, a: Arithmetic) -> Tensor:
    """Real sums ``[C, n]`` (float64) without the bias, at positions that are evenly distributed
    over all samples."""
    places = math.prod(site.plan.shape[1:])
    share = min(places, max(1, PLACES // site.walk.samples))
    generator = torch.Generator().manual_seed(0)
    found = []
    for inputs in site.inputs():
        acc = site.module.sums(a, inputs).flatten(2)
        if share < places:
            acc = acc[:, :, torch.randperm(places, generator=generator)[:share]]
        found.append(acc.transpose(0, 1).flatten(1).double())
    return torch.cat(found, 1) * a.step[:, None]


def _shift(module: QuantLayer, a: Arithmetic, sums: Tensor, wanted: Tensor) -> Tensor:
    """Addition to the biases ``[C]``, at most one level, with which ``sums`` ``[C, n]`` have the
    means ``wanted`` after the activation function."""
    activation, scale, levels = module.plan.activation, a.out_scale.detach(), module.grid.levels
    assert isinstance(activation, Relu)
    low, high = -scale.expand_as(wanted), scale.expand_as(wanted)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        real = (sums + middle[:, None]).clamp(0, activation.limit)
        mean = (quantize(real, scale, levels) * scale).mean(1)
        low, high = (
            torch.where(mean < wanted, middle, low),
            torch.where(mean < wanted, high, middle),
        )
    return (low + high) / 2
