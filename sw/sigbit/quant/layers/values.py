"""What quantized layers give and compute with, and what may stand in place of their rounding."""

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
    """What the accelerator computes a sum with: integer weights of each source (in floats), a base,
    for accumulators of levels, a step (float64, in accumulator steps) and a tie bit a channel, the
    table of 256 stored integers, the scale of the result.
    """

    weights: tuple[Tensor, ...]
    base: Tensor
    step: Tensor
    tie: Tensor
    table: Tensor
    out_scale: Tensor


@dataclass(frozen=True)
class Arithmetic:
    """What a layer computes with in training: integer weights, requantization, the real bias and
    accumulator step for gradients, the scales of y and of the result.
    """

    weights: tuple[Tensor, ...]
    requantization: Requantization
    bias: Tensor
    step: Tensor
    y_scale: Tensor
    out_scale: Tensor


class Relaxation(Generic[Layer]):
    """What a training strategy puts in place of the rounding of layers of type ``Layer``; this one
    changes nothing."""

    @property
    def deployable(self) -> bool:
        """Whether what it puts there is integers of the weights' grid, and nothing else."""
        return False

    def weights(self, layer: Layer, index: int, real: Tensor, integers: Tensor) -> Tensor:
        """What stands for the weights of source ``index``: the ``integers``, or ``real``, which are
        the same weights in units of the integers, but not rounded."""
        return integers

    def output(self, layer: Layer, arithmetic: Arithmetic, acc: Tensor) -> Tensor | None:
        """Levels of the result from accumulators; None for those of the accelerator."""
        return None
