"""Maxima over channels as exact sums, ``max(a, b) = b + relu(a - b)``, half of the channels at a
time, and distances to them.

Halves begin at multiples of :data:`ALIGNED` channels as long as there are that many: those are
whole slots of every accelerator, which a sum reads where they lie. Only the last channels are
selected by weights of 0 and 1.
"""

from collections.abc import Iterator
from dataclasses import replace

from sigbit.ir.floating import BelowMax
from sigbit.quant.plan.plans import (
    GatherPlan,
    MaskPlan,
    MovePlan,
    Ones,
    Picks,
    Plan,
    Shape,
    SourcePlan,
)

ALIGNED = 32
"""Channels of the largest slots."""


def below_maximum(node: BelowMax, tensor: str, shape: Shape) -> Iterator[Plan]:
    """Yield the plans of ``node``, which reads ``tensor``: the maxima of each group, then how far
    the elements are below."""
    highest = tensor
    if node.keep is not None:
        highest = f"{node.name}.kept"
        yield MaskPlan(highest, shape, tensor, node.keep, node.location)
    tree = _Tree(node, shape)
    yield from tree.reduced(highest)
    top = replace(
        _plain(tree.tensor, node.groups), groups=node.groups, taps=Ones(shape[0] // node.groups)
    )
    below = (top, replace(_plain(tensor, shape[0]), scale=-1.0))
    yield MovePlan(node.name, shape, below, "below", node.location, rectified=True)


class _Tree:
    """Maxima of fewer and fewer channels; ``tensor`` holds the last ones."""

    def __init__(self, node: BelowMax, shape: Shape) -> None:
        self._node, self._groups, self._pixels = node, node.groups, shape[1:]
        self._size, self._count = shape[0] // node.groups, 0
        self.tensor = ""

    def reduced(self, tensor: str) -> Iterator[Plan]:
        """Yield the plans of all maxima of a tensor."""
        self.tensor, whole = tensor, self._size
        slots = whole // ALIGNED
        if self._groups == 1 and slots > 1:
            self._size = slots * ALIGNED
            while self._size > ALIGNED:
                half = -(-self._size // (2 * ALIGNED)) * ALIGNED
                parts = [self._part(first, half) for first in (0, self._size - half)]
                yield from parts
                a, b = (_plain(p.name, half) for p in parts)
                yield from self._maximum(a, b, half)
            if whole > slots * ALIGNED:
                rest = tuple((1, c) for c in range(slots * ALIGNED, whole))
                channels = (*((0, c) for c in range(ALIGNED)), *rest)
                tensors, self._size = (self.tensor, tensor), len(channels)
                yield self._gathered(f"{self._node.name}.rest", tensors, channels)
                self.tensor = f"{self._node.name}.rest"
        while self._size > 1:
            half = -(-self._size // 2)
            a, b = (
                replace(
                    _plain(self.tensor, self._groups * self._size),
                    groups=self._groups,
                    taps=Picks(first, half),
                )
                for first in (0, self._size - half)
            )
            yield from self._maximum(a, b, half)

    def _part(self, first: int, count: int) -> GatherPlan:
        name = f"{self.tensor}.from{first}"
        channels = tuple((0, first + c) for c in range(count))
        return self._gathered(name, (self.tensor,), channels)

    def _gathered(
        self, name: str, tensors: tuple[str, ...], channels: tuple[tuple[int, int], ...]
    ) -> GatherPlan:
        shape = (len(channels), *self._pixels)
        return GatherPlan(name, shape, tensors, channels, self._node.location)

    def _maximum(self, a: SourcePlan, b: SourcePlan, half: int) -> Iterator[Plan]:
        """Yield the plans of the larger of two parts of ``half`` channels of each group."""
        self._count += 1
        node, shape = self._node, (self._groups * half, *self._pixels)
        name, excess = f"{node.name}.{self._count}", f"{node.name}.excess{self._count}"
        difference = (a, replace(b, scale=-1.0))
        yield MovePlan(excess, shape, difference, "max", node.location, rectified=True)
        yield MovePlan(name, shape, (b, _plain(excess, shape[0])), "max", node.location)
        self.tensor, self._size = name, half


def _plain(tensor: str, channels: int) -> SourcePlan:
    return SourcePlan(tensor=tensor, channels=channels, groups=channels)
