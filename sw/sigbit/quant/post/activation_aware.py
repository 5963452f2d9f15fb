"""Activation-aware scales: the rounding of weights minimizes the change of the layer's result, not
of the weights themselves.

With inputs x whose channels are assumed to be uncorrelated, the squared error of a sum is

    E (sum_i (q(w_i) - w_i) x_i)^2 = sum_i (q(w_i) - w_i)^2 E x_i^2

so that the search is the one for the least squared error, with every weight's error multiplied by
the mean square of the channel that it reads, or by its variance if the bias absorbs the mean of the
error afterwards. Channels that hardly ever change count for little, and may saturate.
"""

import torch
from torch import Tensor

from sigbit.quant.numbers.scales import mse_scale
from sigbit.quant.post.reconstruction.walk import LayerSite, Step


class ActivationAwareScales(Step):
    """Gives weights on the grids "esb" and "uniform" the scales with the least squared error of
    their layers' results.

    Each layer sees its quantized inputs; of layers with the same weights the first one counts.
    Other methods, and layers with the codes of a quantized model, keep their own scales.
    ``bias_takes_means``: errors of the mean do not count, since biases will be corrected.
    """

    def __init__(self, *, bias_takes_means: bool) -> None:
        self._centred = bias_takes_means
        self._done: set[int] = set()

    @torch.no_grad()
    def layer(self, site: LayerSite) -> None:
        """Search the scales of the layer's weights."""
        module = site.module
        quantizer = module.weight_quantizer
        if quantizer is None or module.given is not None or not quantizer.folded:
            return
        if id(quantizer) in self._done:
            return
        self._done.add(id(quantizer))
        kernel = module.kernel_of_method()
        power = self._power(site, kernel)
        scale = mse_scale(kernel, quantizer.grid, quantizer.channels is not None, power)
        old = torch.exp2(quantizer.log_scale)
        quantizer.give(torch.where(scale > 0, scale, old))

    def _power(self, site: LayerSite, kernel: Tensor) -> Tensor:
        """Mean square, or variance, of the channel that every weight of ``kernel`` ``[out, in /
        groups, kh, kw]`` reads, relative to the largest one."""
        source = site.plan.sources[0]
        squares: Tensor | float = 0.0
        means: Tensor | float = 0.0
        count = 0
        for inputs in site.inputs():
            x = inputs[0].levels.double()
            squares, means = squares + x.square().sum((0, 2, 3)), means + x.sum((0, 2, 3))
            count += x.numel() // x.shape[1]
        assert isinstance(squares, Tensor)
        power = squares / count
        if self._centred:
            power = (power - (means / count) ** 2).clamp(min=0)
        power = power / power.max().clamp(min=torch.finfo(torch.float64).tiny)
        wide = power.view(source.groups, -1)
        wide = wide.repeat_interleave(kernel.shape[0] // source.groups, 0)
        return wide[:, :, None, None].expand(kernel.shape)
