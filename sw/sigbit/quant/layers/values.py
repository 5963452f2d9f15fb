"""Results and parameters of quantized layers, and replacements for their rounding."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor, nn

from sigbit.quant.layers.requant import Requantization

Layer = TypeVar("Layer", bound=nn.Module, contravariant=True)


@dataclass(frozen=True)
class Levels:
    """A tensor in training: integer ``levels`` (stored + zero, in floats) and the real ``scale`` of
    one level (float64).
    """

    levels: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Deployed:
    """Parameters of a sum on the accelerator: integer weights of each source (in floats), a base,
    for accumulators of levels, a step (float64, in accumulator steps) and a tie bit per channel,
    the table of 256 stored integers, the scale of the result."""

    weights: tuple[Tensor, ...]
    base: Tensor
    step: Tensor
    tie: Tensor
    table: Tensor
    out_scale: Tensor


@dataclass(frozen=True)
class Arithmetic:
    """Parameters of a layer's computation in training: integer weights, requantization, the real
    bias and accumulator step for gradients, the scales of y and of the result."""

    weights: tuple[Tensor, ...]
    requantization: Requantization
    bias: Tensor
    step: Tensor
    y_scale: Tensor
    out_scale: Tensor


class Relaxation(Generic[Layer]):
    """A training strategy's replacement for the rounding of layers of type ``Layer``; this one
    changes nothing."""

    @property
    def deployable(self) -> bool:
        """True if the replacement yields integers of the weights' grid only."""
        return False

    def weights(self, layer: Layer, index: int, real: Tensor, integers: Tensor) -> Tensor:
        """Return the weights to use for source ``index``: the ``integers``, or ``real``, the same
        weights in units of the integers, but not rounded."""
        return integers

    def output(self, layer: Layer, arithmetic: Arithmetic, acc: Tensor) -> Tensor | None:
        """Return levels of the result from accumulators; None to use those of the accelerator."""
        return None
