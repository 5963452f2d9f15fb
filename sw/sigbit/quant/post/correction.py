"""Empirical bias correction: quantization shifts the mean of a channel, and the bias takes the
shift back. Layer by layer, so that each one sees the errors that are left before it.
"""

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.values import Levels
from sigbit.quant.plan.plans import LayerPlan, Plan, tensors_of
from sigbit.quant.prepare import PreparedModel, preactivation


@torch.no_grad()
def correct_biases(prepared: PreparedModel, wanted: Mapping[str, Tensor]) -> None:
    """Change the biases of ``prepared`` in place so that the means of all channels before their
    activation function are those of the float tensors ``wanted``, computed from the same inputs.

    Layers without a bias of their own keep their error: those behind a batch norm that is not
    folded, sums without weights, steps of a recurrence; and those that have the codes of a
    quantized model.
    """
    uses = _uses(prepared)
    last = {t: p.name for p in prepared.plan.layers for t in tensors_of(p)}
    values: dict[str, Levels] = {}
    for p in prepared.plan.layers:
        module = prepared.quant_module(p.name)
        bias = _own_bias(p, uses)
        free = isinstance(module, QuantLayer) and module.given is None
        if bias is not None and free and isinstance(p, LayerPlan):
            assert isinstance(module, QuantLayer)
            inputs = [values[t] for t in tensors_of(p)]
            a = module.arithmetic([x.scale for x in inputs])
            acc = _means(module.sums(a, inputs))
            error = _means(preactivation(p, wanted)) - (acc * a.step + a.bias)
            parameter = prepared.parameter_of(bias)
            parameter += error.to(parameter.dtype)
        values[p.name] = prepared.step(p, values, wanted)
        for tensor in tensors_of(p):
            if last[tensor] == p.name:
                values.pop(tensor, None)


def _means(x: Tensor) -> Tensor:
    """Means of the channels of ``[batch, C, ...]``, float64."""
    return x.double().transpose(0, 1).flatten(1).mean(1)


def _uses(prepared: PreparedModel) -> Counter[object]:
    layers = [p for p in prepared.plan.layers if isinstance(p, LayerPlan)]
    return Counter(b.term for p in layers for b in p.biases)


def _own_bias(p: Plan, uses: Counter[object]) -> str | None:
    """The bias parameter that only this layer adds, as it is."""
    if not isinstance(p, LayerPlan):
        return None
    for b in p.biases:
        whole = b.rows is None and b.scale == 1 and not b.norms
        if isinstance(b.term, str) and whole and uses[b.term] == 1:
            return b.term
    return None
