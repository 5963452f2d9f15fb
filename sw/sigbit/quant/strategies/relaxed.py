"""Replacements of a layer's rounding by strategies: real weights, real results, coarser or finer
grids."""

import torch
from torch import Tensor

from sigbit.ir.floating import Relu, Unary
from sigbit.quant.layers.function import evaluate
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.values import Arithmetic, Relaxation
from sigbit.quant.numbers.grid import LevelGrid, quantize_ste
from sigbit.quant.prepared import PreparedModel


class Switch(Relaxation[QuantLayer]):
    """A relaxation that can be switched on and off; ``training_only``: off in evaluation."""

    def __init__(self, *, training_only: bool = False) -> None:
        self.on = False
        self.training_only = training_only

    def applies(self, layer: QuantLayer) -> bool:
        """True if it is on for ``layer`` now."""
        return self.on and (layer.training or not self.training_only)


class RealWeights(Switch):
    """Weights that are not rounded."""

    def weights(self, layer: QuantLayer, index: int, real: Tensor, integers: Tensor) -> Tensor:
        """The real weights where the relaxation applies."""
        return real if self.applies(layer) else integers


class RealOutput(Switch):
    """Results that are not rounded, and only clipped by the activation function itself."""

    def output(self, layer: QuantLayer, arithmetic: Arithmetic, acc: Tensor) -> Tensor | None:
        """The real result in units of the output's level, where the relaxation applies."""
        return real_output(layer, arithmetic, acc) if self.applies(layer) else None


class GridWeights(Switch):
    """Weights on another grid, one level of which equals ``unit`` native integers."""

    grid: LevelGrid
    unit: float = 1.0

    def weights(self, layer: QuantLayer, index: int, real: Tensor, integers: Tensor) -> Tensor:
        """Weights on the other grid where the relaxation applies; further sources are unchanged."""
        if index or not self.applies(layer):
            return integers
        unit = torch.tensor(self.unit, dtype=real.dtype, device=real.device)
        return quantize_ste(real, unit, self.grid) * unit


class GridOutput(Switch):
    """Results on another grid: one of its levels equals ``unit`` levels of their own grid."""

    grid: LevelGrid
    unit: float = 1.0

    def output(self, layer: QuantLayer, arithmetic: Arithmetic, acc: Tensor) -> Tensor | None:
        """The result on the other grid where the relaxation applies."""
        if not self.applies(layer):
            return None
        real = real_output(layer, arithmetic, acc)
        unit = torch.tensor(self.unit, dtype=real.dtype, device=real.device)
        return quantize_ste(real, unit, self.grid) * unit


def real_output(layer: QuantLayer, arithmetic: Arithmetic, acc: Tensor) -> Tensor:
    """The real result ``activation(step * acc + bias)`` in units of the output's level."""
    step = arithmetic.step.to(acc.dtype).view(-1, 1, 1)
    value = acc * step + arithmetic.bias.to(acc.dtype).view(-1, 1, 1)
    activation = layer.plan.activation
    if isinstance(activation, Relu):
        value = value.clamp(0, activation.limit)
    elif isinstance(activation, Unary):
        value = evaluate(activation, value)
    return value / arithmetic.out_scale.detach().to(acc.dtype)


def attach(layers: list[QuantLayer], relaxation: Relaxation[QuantLayer]) -> None:
    """Activate ``relaxation`` for ``layers``."""
    for layer in layers:
        layer.relaxations.append(relaxation)


def detach(model: PreparedModel, relaxation: Relaxation[QuantLayer]) -> None:
    """Remove ``relaxation`` from all layers."""
    for layer in model.layers:
        if isinstance(layer, QuantLayer) and relaxation in layer.relaxations:
            layer.relaxations.remove(relaxation)
