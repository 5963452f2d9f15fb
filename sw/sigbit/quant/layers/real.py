"""The real weights and biases of a layer, with its batch norms folded in.

Batch norm is folded into weights and biases in every forward pass, with the running statistics of
the float model, which stay unchanged; its weight and bias remain trainable. Training therefore uses
exactly the deployed weights, and the scale and offset of each channel keep their freedom.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from sigbit.ir.floating import BatchNorm
from sigbit.quant.layers.normalization import normalized_by
from sigbit.quant.layers.sources import kernel, window
from sigbit.quant.plan.plans import BiasPlan, LayerPlan
from sigbit.quant.quantizers import Quantizer


class RealLayer(nn.Module):
    """Kernels, as their method transforms them, and biases of one :class:`LayerPlan`; ``values``
    are the float model's parameters, by name, shared between layers."""

    def __init__(
        self,
        plan: LayerPlan,
        values: Mapping[str, Tensor],
        weight_quantizer: Quantizer | None,
        out_quantizer: Quantizer,
    ) -> None:
        super().__init__()
        self.plan, self.values = plan, values
        self.weight_quantizer, self.out_quantizer = weight_quantizer, out_quantizer
        self.batch_statistics = False
        self._norms = normalized_by(plan)

    def _factor(self, norms: tuple[BatchNorm, ...]) -> Tensor | None:
        """Return the product of the batch norms' factors, ``[C]``."""
        factor = None
        for norm in norms:
            f = torch.rsqrt(self.values[norm.var] + norm.eps)
            f = f if norm.weight is None else f * self.values[norm.weight]
            factor = f if factor is None else factor * f
        return factor

    def real_weights(self) -> tuple[Tensor, ...]:
        """Return the weights ``[oc, ic / groups, kh, kw]`` of each source with batch norms folded
        in, transformed by their method."""
        return tuple(self._folded(i)[0] for i in range(len(self.plan.sources)))

    def kernel_of_method(self) -> Tensor:
        """Return the kernel for the weight quantizer: of the first source, before its transform."""
        weight, factor = self._parts(0)
        folds = self.weight_quantizer is None or self.weight_quantizer.folded
        return weight * factor.view(-1, 1, 1, 1) if folds and factor is not None else weight

    def _parts(self, index: int) -> tuple[Tensor, Tensor | None]:
        """Kernel of a source, and the factor ``[oc]`` of its batch norms."""
        source = self.plan.sources[index]
        if source.weight is not None:
            weight = kernel(source, self.values[source.weight])
        else:
            weight = window(source).to(self.out_quantizer.log_scale.device) * source.scale
        factor = self._factor(source.norms)
        if factor is not None and self.normalizing:
            factor = factor.detach()
        return weight, factor

    def _folded(self, index: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return (weights with batch norms folded in, transformed kernel, factor) of a source; the
        last two are None if weights are quantized with the factor folded in."""
        quantizer = self.weight_quantizer if index == 0 else None
        weight, factor = self._parts(index)
        if quantizer is not None and not quantizer.folded:
            weight = quantizer.transform(weight)
        real = weight if factor is None else weight * factor.view(-1, 1, 1, 1)
        if quantizer is None or quantizer.folded:
            return real, None, None
        return real, weight, factor

    @property
    def normalizing(self) -> bool:
        """True if batch norms currently use the statistics of the batch."""
        return self.training and self.batch_statistics and bool(self._norms)

    def real_bias(self, of: Callable[[BiasPlan], bool] = lambda bias: True) -> Tensor:
        """Return the bias ``[oc]`` (float64) with batch norms folded in; only the addends for which
        ``of`` holds."""
        device = self.out_quantizer.log_scale.device
        total = torch.zeros(self.plan.shape[0], dtype=torch.float64, device=device)
        for bias in filter(of, self.plan.biases):
            if isinstance(bias.term, str):
                value = self.values[bias.term]
                value = value if bias.rows is None else value[list(bias.rows)]
            else:
                factor = self._factor((bias.term,))
                assert factor is not None
                value = -self.values[bias.term.mean] * factor
                value = value if bias.term.bias is None else value + self.values[bias.term.bias]
            factor = self._factor(bias.norms)
            value = value if bias.scale == 1 else value * bias.scale
            total = total + (value if factor is None else value * factor)
        return total

    def _offset(self, norm: BatchNorm) -> Tensor | float:
        """Return the sum added before a batch norm."""
        total: Tensor | float = 0.0
        for bias in self.plan.biases:
            if bias.norms == (norm,) and isinstance(bias.term, str):
                value = self.values[bias.term].detach().double() * bias.scale
                total = total + (value if bias.rows is None else value[list(bias.rows)])
        return total
