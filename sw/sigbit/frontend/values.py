"""What the importer knows about the results of an exported graph's operations."""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.moves import Index


class Refusal(Exception):
    """An operation cannot be translated: why, and what would work; ``node`` if another one than
    the one at hand is to blame."""

    def __init__(self, reason: str, remedy: str, node: FxNode | None = None) -> None:
        self.reason, self.remedy, self.node = reason, remedy, node
        super().__init__(reason)


@dataclass(frozen=True)
class Computed:
    """Elements ``index`` (see :mod:`sigbit.frontend.moves`) of a tensor of the float graph; None:
    the tensor itself. ``origin`` moved them last."""

    tensor: str
    index: Index | None = None
    origin: FxNode | None = None


@dataclass(frozen=True)
class Steps:
    """Vectors stacked along dimension ``dim``: the states of a recurrent layer."""

    tensors: tuple[str, ...]
    dim: int


HostFunction = Literal["ArgMax", "LogSoftmax", "Softmax"]


@dataclass(frozen=True)
class OnHost:
    """An output of the accelerator on which the host continues."""

    value: Computed
    functions: tuple[tuple[HostFunction, str], ...]
    """Functions, and where they are written."""


@dataclass(frozen=True)
class Unusable:
    """A refused result that no tensor can stand in for, so that what reads it is not examined."""


Value = Computed | Steps | OnHost | Unusable | Tensor | tuple["Value", ...]
"""A tensor is a constant: a parameter, or what was computed from parameters alone."""


ELEMENTS_MAX = 1 << 27
"""Elements of a tensor at most, of two samples where it has a batch: more do not fit any DMA
window."""


def is_empty(value: Tensor) -> bool:
    """Whether a tensor has no elements, as far as its sizes are known."""
    return any(isinstance(size, int) and not size for size in value.shape)


def elements_of(value: Any) -> int:
    """Elements of the largest tensor in ``value``, with one sample where their number is open."""
    if isinstance(value, (list, tuple)):
        return max(map(elements_of, value), default=0)
    if not isinstance(value, Tensor):
        return 0
    return prod(size if isinstance(size, int) else 1 for size in value.shape)
