"""Arrays as a network's user has them, and as the accelerator stores them."""

from enum import StrEnum
from math import prod
from typing import Any, TypeVar

Stored = tuple[int, int, int]
"""Shape (channels, height, width) of a sample as it is stored."""


A = TypeVar("A")
"""An array of NumPy or a tensor of PyTorch."""


class Axes(StrEnum):
    """Axes of one sample as the network's user has it, outermost first."""

    IMAGE = "channels height width"
    LINES = "height width channels"
    SIGNAL = "channels steps"
    SEQUENCE = "steps features"
    FEATURES = "features"

    @property
    def channels_last(self) -> bool:
        """True if the channels are the innermost axis: stored samples are transposed."""
        return self in (Axes.LINES, Axes.SEQUENCE)

    def shape(self, stored: Stored) -> tuple[int, ...]:
        """The shape of a sample that is ``stored``: steps are the pixels in their order, features
        the elements in theirs."""
        channels, height, width = stored
        match self:
            case Axes.IMAGE:
                return channels, height, width
            case Axes.LINES:
                return height, width, channels
            case Axes.SIGNAL:
                return channels, height * width
            case Axes.SEQUENCE:
                return height * width, channels
            case Axes.FEATURES:
                return (prod(stored),)

    def alike(self, other: "Axes", stored: Stored) -> bool:
        """True if samples that are ``stored`` are the same array, shape and order, with these axes
        and with ``other``."""
        channels, height, width = stored
        trivial = channels == 1 or height * width == 1
        order = trivial or self.channels_last == other.channels_last
        return order and self.shape(stored) == other.shape(stored)

    def channels(self, stored: Stored) -> int:
        """The number of channels that a sample has: all elements, if they are features."""
        return prod(stored) if self is Axes.FEATURES else stored[0]

    def to_stored(self, x: A, stored: Stored) -> A:
        """Convert samples ``[N, *shape(stored)]`` to ``[N, *stored]``."""
        moved: Any = x
        if self.channels_last:
            for axis in range(moved.ndim - 1, 1, -1):
                moved = moved.swapaxes(axis - 1, axis)
        converted: A = moved.reshape(moved.shape[0], *stored)
        return converted

    def from_stored(self, x: A) -> A:
        """Convert stored samples ``[N, C, H, W]`` to ``[N, *shape]``."""
        moved: Any = x
        _, channels, height, width = moved.shape
        if self.channels_last:
            moved = moved.swapaxes(1, 2).swapaxes(2, 3)
        converted: A = moved.reshape(moved.shape[0], *self.shape((channels, height, width)))
        return converted
