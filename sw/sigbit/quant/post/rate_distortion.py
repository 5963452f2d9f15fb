"""Bit allocation by equal slope: every unit gets the number of bits at which one more would lower
its distortion by the same amount for each bit stored (Shoham and Gersho 1988; section 4 of arXiv
2009.01174).

A unit is any part of a network's weights with a rate of its own. Distortions of units are measured
one at a time, and assumed to be additive.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.quant.numbers.grid import round_half_away


def block_quantize(x: Tensor, bits: int, step: float) -> Tensor:
    """``step * clip(round(x / step), -2^(bits-1), 2^(bits-1) - 1)``, 0 for no bits."""
    if bits == 0:
        return torch.zeros_like(x)
    top = 2 ** (bits - 1)
    return round_half_away(x / step).clamp(-top, top - 1) * step


def steps_to_try(x: Tensor, bits: int, count: int, per_octave: int = 4) -> list[float]:
    """Steps on the grid ``2^(k / per_octave)``: the largest at which nothing of ``x`` saturates,
    and the ``count - 1`` below it."""
    top = float(x.abs().max())
    if not top > 0:
        return [1.0]
    largest = math.ceil(per_octave * math.log2(top / max(2 ** (bits - 1) - 1, 0.5)))
    return [2.0 ** ((largest - k) / per_octave) for k in range(count)]


@dataclass(frozen=True)
class Curve:
    """A unit's rate-distortion curve: ``distortion[R]`` and the ``step[R]`` that achieves it, for R
    = 0, 1, … bits, and its number of weights."""

    name: str
    weights: int
    distortion: tuple[float, ...]
    step: tuple[float, ...]

    def choose(self, slope: float) -> int:
        """The R with the smallest ``distortion[R] + slope * weights * R``; of equal ones the
        smallest."""
        costs = [d + slope * self.weights * r for r, d in enumerate(self.distortion)]
        return costs.index(min(costs))


def curve(
    name: str,
    x: Tensor,
    distortion: Callable[[Tensor], float],
    most_bits: int,
    candidates: int,
    per_octave: int = 4,
) -> Curve:
    """Curve of the unit ``x``: for every rate the step with the smallest ``distortion`` of the
    quantized unit. ``per_octave = 1`` allows only powers of two, which suit the shift-add array."""
    errors, steps = [distortion(torch.zeros_like(x))], [0.0]
    for bits in range(1, most_bits + 1):
        tried = {
            step: distortion(block_quantize(x, bits, step))
            for step in steps_to_try(x, bits, candidates, per_octave)
        }
        best = min(tried, key=lambda s: tried[s])
        errors.append(tried[best])
        steps.append(best)
    return Curve(name, x.numel(), tuple(errors), tuple(steps))


@dataclass(frozen=True)
class Allocation:
    """Bits of every unit at a ``slope``; ``stored``: total number of bits; ``distortion``:
    total."""

    slope: float
    bits: tuple[int, ...]
    stored: int
    distortion: float


def allocate(curves: Sequence[Curve], slope: float) -> Allocation:
    """The bits that minimize distortion plus ``slope`` times bits stored."""
    bits = tuple(c.choose(slope) for c in curves)
    return Allocation(
        slope,
        bits,
        sum(b * c.weights for b, c in zip(bits, curves, strict=True)),
        sum(c.distortion[b] for b, c in zip(bits, curves, strict=True)),
    )


def frontier(curves: Sequence[Curve], per_octave: int = 2) -> list[Allocation]:
    """All different allocations for slopes ``2^(k / per_octave)``, in ascending order of bits."""
    found: dict[tuple[int, ...], Allocation] = {}
    for k in range(40 * per_octave, -80 * per_octave, -1):
        allocation = allocate(curves, 2.0 ** (k / per_octave))
        found.setdefault(allocation.bits, allocation)
    return list(found.values())


def allocate_within(curves: Sequence[Curve], budget: float) -> Allocation:
    """The allocation of the steepest frontier point with at most ``budget`` bits stored, by
    bisection of the slope's logarithm."""
    low, high = -120.0, 60.0
    if allocate(curves, 2.0**high).stored > budget:
        raise QuantizationError(
            f"a budget of {budget:.0f} bits is below {allocate(curves, 2.0**high).stored} bits, "
            "the least that the units can be stored in"
        )
    for _ in range(80):
        middle = (low + high) / 2
        if allocate(curves, 2.0**middle).stored > budget:
            low = middle
        else:
            high = middle
    return allocate(curves, 2.0**high)
