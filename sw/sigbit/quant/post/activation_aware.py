"""Activation-aware scales: weights are rounded so that the layer's result changes least, not the
weights themselves.

With inputs x whose channels are taken as uncorrelated, the squared error of a sum is

    E (sum_i (q(w_i) - w_i) x_i)^2 = sum_i (q(w_i) - w_i)^2 E x_i^2

so that the search is the one for the least squared error, with every weight counted as much as the
mean square of the channel that it reads; or as much as its variance, where the bias takes the mean
of the error afterwards. Channels that hardly ever change count for little, and may saturate.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.values import Levels
from sigbit.quant.numbers.scales import mse_scale
from sigbit.quant.plan.plans import LayerPlan
from sigbit.quant.prepare import PreparedModel


@torch.no_grad()
def search_weight_scales(
    prepared: PreparedModel, given: Mapping[str, Tensor], *, bias_takes_means: bool
) -> None:
    """Give the weights of ``prepared`` that are on the grids "esb" and "uniform" the scales of the
    least squared error of their layers' results, with the real inputs ``given`` by name.

    Layer by layer, so that each one sees its quantized inputs; of layers with the same weights the
    first one counts. Other methods keep their own scales, and layers with the codes of a quantized
    model theirs. ``bias_takes_means``: errors of the mean
    do not count, since biases will be corrected.
    """
    done: set[int] = set()
    values: dict[str, Levels] = {}
    for p in prepared.plan.layers:
        module = prepared.quant_module(p.name)
        quantizer = module.weight_quantizer if isinstance(module, QuantLayer) else None
        free = isinstance(module, QuantLayer) and module.given is None
        if quantizer is not None and free and quantizer.folded and id(quantizer) not in done:
            assert isinstance(module, QuantLayer)
            assert isinstance(p, LayerPlan)
            done.add(id(quantizer))
            kernel = module.kernel_of_method()
            source = p.sources[0]
            power = _power(values[source.tensor], source.groups, kernel, bias_takes_means)
            scale = mse_scale(kernel, quantizer.grid, quantizer.channels is not None, power)
            old = torch.exp2(quantizer.log_scale)
            quantizer.give(torch.where(scale > 0, scale, old))
        values[p.name] = prepared.step(p, values, given)


def _power(x: Levels, groups: int, kernel: Tensor, centred: bool) -> Tensor:
    """The mean square, or if ``centred`` the variance, of the channel that every weight of
    ``kernel`` ``[out, in / groups, kh, kw]`` reads, relative to the largest one."""
    channels = x.levels.double().transpose(0, 1).flatten(1)
    power = channels.var(1, correction=0) if centred else channels.square().mean(1)
    power = power / power.max().clamp(min=torch.finfo(torch.float64).tiny)
    wide = power.view(groups, -1).repeat_interleave(kernel.shape[0] // groups, 0)
    return wide[:, :, None, None].expand(kernel.shape)
