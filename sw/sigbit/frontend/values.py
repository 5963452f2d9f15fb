"""Known values of the results of an exported graph's operations."""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.moves import Index


class Refusal(Exception):
    """Raised for an operation that cannot be translated, with reason and remedy; ``node`` is the
    node to blame if not the current one."""

    def __init__(self, reason: str, remedy: str, node: FxNode | None = None) -> None:
        self.reason, self.remedy, self.node = reason, remedy, node
        super().__init__(reason)


@dataclass(frozen=True)
class Computed:
    """Elements ``index`` (see :mod:`sigbit.frontend.moves`) of a tensor of the float graph; None:
    the tensor itself. ``origin`` is the last move."""

    tensor: str
    index: Index | None = None
    origin: FxNode | None = None


@dataclass(frozen=True)
class Mixed:
    """Elements of the samples of a batch in any order: element i of sample b of ``tensor``, which
    has n elements, is ``index`` = b n + i + 1, and 0 the constant 0. ``batch`` is the number of
    samples."""

    tensor: str
    index: Tensor
    batch: int
    origin: FxNode

    def refusal(self) -> Refusal:
        """Return the refusal of an operation that needs whole samples."""
        reason, remedy = "mixes the samples of a batch", "keep the batch dimension as it is"
        return Refusal(reason, remedy, self.origin)


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
    """Functions, and their source locations."""


@dataclass(frozen=True)
class Masked:
    """Scores before a softmax, to which the constant ``bias`` is added, with -inf, or numbers close
    to it, where a score does not count."""

    value: Computed
    bias: Tensor


@dataclass(frozen=True)
class Unusable:
    """A refused result without a placeholder tensor; the operations that read it are not
    examined."""


Value = Computed | Mixed | Masked | Steps | OnHost | Unusable | Tensor | tuple["Value", ...]
"""A tensor is a constant: a parameter, or a result of parameters alone."""


ELEMENTS_MAX = 1 << 27
"""Maximum number of elements of a tensor, of two samples where it has a batch: more do not fit any
DMA window."""


def is_empty(value: Tensor) -> bool:
    """Return whether a tensor has no elements, as far as its sizes are known."""
    return any(isinstance(size, int) and not size for size in value.shape)


def elements_of(value: Any) -> int:
    """Return the number of elements of the largest tensor in ``value``, with one sample where the
    batch is open."""
    if isinstance(value, (list, tuple)):
        return max(map(elements_of, value), default=0)
    if not isinstance(value, Tensor):
        return 0
    return prod(size if isinstance(size, int) else 1 for size in value.shape)
