"""Arrays as a network's user has them, and as the accelerator stores them."""

from collections.abc import Sequence
from enum import StrEnum
from math import prod
from typing import Any

from numpy.typing import NDArray

Stored = tuple[int, int, int]
"""Shape (channels, height, width) of a sample as it is stored."""


class Axes(StrEnum):
    """Axes of one sample as the network's user has it, outermost first."""

    IMAGE = "channels height width"
    FEATURES = "features"
    SEQUENCE = "steps features"

    @classmethod
    def of(cls, shape: Sequence[int]) -> "Axes":
        """The axes of a sample of ``shape``."""
        return {1: cls.FEATURES, 2: cls.SEQUENCE, 3: cls.IMAGE}[len(shape)]

    def shape(self, stored: Stored) -> tuple[int, ...]:
        """The shape of a sample that is ``stored``: features are the stored elements in their
        order, a sequence is stored as (features, steps, 1)."""
        match self:
            case Axes.IMAGE:
                return tuple(stored)
            case Axes.FEATURES:
                return (prod(stored),)
            case Axes.SEQUENCE:
                return (stored[1], stored[0])

    def to_stored(self, x: NDArray[Any], stored: Stored) -> NDArray[Any]:
        """Samples ``[N, *shape]`` as they are stored, ``[N, *stored]``."""
        x = x.swapaxes(1, 2) if self is Axes.SEQUENCE else x
        return x.reshape(len(x), *stored)

    def from_stored(self, x: NDArray[Any]) -> NDArray[Any]:
        """Stored samples ``[N, C, H, W]`` as their user has them, ``[N, *shape]``."""
        if self is Axes.SEQUENCE:
            return x[..., 0].swapaxes(1, 2)
        return x if self is Axes.IMAGE else x.reshape(len(x), -1)
