"""The order in which bits are added: by the error that they remove for their cost.

With errors and costs of units that add up, the networks on this path are those of least error for
their cost, as far as every unit's choices lie on the lower hull of its error over its cost (Shoham
and Gersho 1988).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sigbit.quant.post.mixed.sensitivity import Choice, Sensitivity
from sigbit.quant.post.mixed.units import State, Unit


@dataclass(frozen=True)
class Move:
    """A step of the path: a unit's next choice, the cost that it adds, and the error that it
    removes for each unit of cost."""

    unit: Unit
    bits: int
    cost: float
    slope: float


def moves(found: Sequence[Sensitivity]) -> list[Move]:
    """All moves from the coarsest network to the finest one that lower the error, the most
    effective ones first."""
    return sorted((m for s in found for m in _hull(s)), key=lambda m: -m.slope)


def _hull(s: Sensitivity) -> Iterator[Move]:
    here = s.choices[0]
    rest = list(s.choices[1:])

    def slope(c: Choice) -> float:
        gain, extra = here.error - c.error, c.cost - here.cost
        return math.inf if extra <= 0 else gain / extra

    while rest := [c for c in rest if c.error < here.error]:
        best = max(rest, key=lambda c: (slope(c), -c.error))
        yield Move(s.unit, best.bits, best.cost - here.cost, slope(best))
        here = best


def states(start: State, taken: Sequence[Move]) -> list[State]:
    """The networks of the path: ``start``, and the one after every move."""
    found: list[State] = [start]
    for move in taken:
        found.append({**found[-1], move.unit: move.bits})
    return found
