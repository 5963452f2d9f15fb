"""Error-compensated rounding: weights are rounded one input after another, and the resulting change
of a layer's results is compensated by the weights that are still to be rounded.

GPTQ (Frantar et al. 2022, arXiv 2210.17323), after Optimal Brain Surgeon (Hassibi and Stork 1993).
With the quantized inputs x of the layer, weights W and their rounding Q, the squared error of the
results, tr (W - Q) H (W - Q)^t, has H = E (x - m)(x - m)^t: the covariance, since the bias absorbs
the mean of the error afterwards. Inputs that always saturate have no variance, and make H singular:
a fraction of the mean variance is added to its diagonal.

The grid and its scales are the layer's own, as the requantizer will use them.
"""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.ir.floating import pad
from sigbit.quant.numbers.grid import LevelGrid, quantize
from sigbit.quant.plan.plans import SourcePlan
from sigbit.quant.post.reconstruction.walk import LayerSite, Step
from sigbit.quant.post.uses import Uses

PLACES = 8192
"""Number of positions of a layer's results on which its covariance is estimated, over all
samples."""
DAMPING = 0.01
"""Addition to the variances, relative to their mean; at least a hundredth of that of all
channels."""
MOST_INPUTS = 1 << 13
"""Layers with more inputs per result are left unchanged: their covariance would be too large."""
_BLOCK = 64


class ErrorCompensation(Step):
    """Rounds the weights of layers whose weights are used once and lie on the grids "esb" and
    "uniform"; those of the layers ``only``, if given."""

    def __init__(self, uses: Uses, only: Collection[str] | None = None) -> None:
        self._uses, self._only = uses, only

    @torch.no_grad()
    def layer(self, site: LayerSite) -> None:
        """Round the weights of the layer's first source."""
        if self._only is not None and site.plan.name not in self._only:
            return
        source, module = site.plan.sources[0], site.module
        inputs = source.channels // source.groups * source.kernel[0] * source.kernel[1]
        if not self._uses.weight_is_free(site.plan, module) or inputs > MOST_INPUTS:
            return
        covariance = _covariance(site)
        name = source.weight
        assert name is not None
        assert module.weight_quantizer is not None
        parameter = site.walk.prepared.parameter_of(name)
        real = module.kernel_of_method().double()
        scales = site.scales()
        scale = module.arithmetic(scales).step / scales[0]
        grid = module.weight_quantizer.grid
        factor = module.weight_factor
        rounded = compensated(real.flatten(1), scale * factor, grid, covariance)
        for _ in range(3):  # a step that a large sum requires changes with the weights
            parameter.copy_((rounded * (scale * factor)[:, None]).view_as(parameter))
            a = module.arithmetic(scales)
            same = torch.equal(a.weights[0].flatten(1).double(), rounded * factor)
            if same or module.weight_quantizer.channels is None:
                break
            scale = a.step / scales[0]
            module.weight_quantizer.give(scale * factor)


def _covariance(site: LayerSite) -> Tensor:
    """Covariance ``[groups, n, n]`` (float64) of the inputs of a result, over evenly distributed
    positions."""
    source = site.plan.sources[0]
    places = site.plan.shape[1] * site.plan.shape[2]
    share = max(1, -(-PLACES // site.walk.samples))
    generator = torch.Generator().manual_seed(0)
    total: Tensor | float = 0.0
    first: Tensor | float = 0.0
    count, origin = 0, None
    for values in site.inputs():
        x = values[0]
        columns = _columns(x.levels, source)
        if share < places:
            chosen = torch.randperm(places, generator=generator)[:share]
            columns = columns[:, :, chosen]
        wide = columns.view(len(columns), source.groups, -1, columns.shape[2])
        wide = wide.permute(1, 2, 0, 3).flatten(2) * x.scale.to(columns.dtype)
        if origin is None:
            origin = wide.mean(2, keepdim=True)
        wide = wide - origin
        total = total + (wide @ wide.transpose(1, 2)).double()
        first = first + wide.sum(2, dtype=torch.float64)
        count += wide.shape[2]
    assert isinstance(first, Tensor)
    mean = first / count
    return total / count - mean[:, :, None] * mean[:, None, :]


def _columns(x: Tensor, source: SourcePlan) -> Tensor:
    """Inputs of every result, ``[batch, inputs of all groups, positions]``."""
    return F.unfold(
        pad(x, source.padding), source.kernel, dilation=source.dilation, stride=source.stride
    )


def compensated(real: Tensor, scale: Tensor, grid: LevelGrid, covariance: Tensor) -> Tensor:
    """Values of ``grid`` for the weights ``real`` ``[out, n]`` with ``scale`` ``[out]`` (float64),
    whose results have a small error for inputs of ``covariance`` ``[groups, n, n]``.

    Groups have equal numbers of outputs, in order. Inputs with large variance are rounded first.
    """
    groups, n, _ = covariance.shape
    variance = covariance.diagonal(dim1=1, dim2=2)
    least = 1e-2 * DAMPING * float(variance.mean()) + 1e-12
    damping = (DAMPING * variance.mean(1, keepdim=True)).clamp(min=least)
    order = variance.mean(0).argsort(descending=True)
    damped = covariance + torch.diag_embed(damping.expand_as(variance))
    damped = damped[:, order][:, :, order]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    upper = torch.linalg.cholesky(inverse, upper=True)
    rest = real[:, order].reshape(groups, -1, n).clone()
    steps = scale.view(groups, -1)
    found = torch.empty_like(rest)
    for start in range(0, n, _BLOCK):
        end = min(start + _BLOCK, n)
        errors = torch.empty_like(rest[:, :, start:end])
        for i in range(start, end):
            rounded = quantize(rest[:, :, i] / steps, steps.new_ones(()), grid)
            found[:, :, i] = rounded
            error = (rest[:, :, i] - rounded * steps) / upper[:, i, i, None]
            rest[:, :, i:end] -= error[:, :, None] * upper[:, None, i, i:end]
            errors[:, :, i - start] = error
        rest[:, :, end:] -= errors @ upper[:, start:end, end:]
    back = torch.empty_like(order)
    back[order] = torch.arange(n)
    return found.flatten(0, 1)[:, back]
