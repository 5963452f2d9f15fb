"""Sensitivity of a network's outputs to the bits of single weights and tensors, and their cost.

The error of a choice is measured with all others at their finest, where errors of several choices
add up, and with the corrections that the final network gets: part of the error of weights is
absorbed by biases and other weights. Its cost is measured with all others at their coarsest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import Part
from sigbit.quant.post.corrections import Corrections
from sigbit.quant.post.mixed.units import WEIGHTS, Unit, Units
from sigbit.quant.post.outputs import float_outputs, output_error
from sigbit.quant.prepared import PreparedModel

SAMPLES = 16
"""Maximum number of samples on which sensitivities are measured."""
Cost = Callable[[PreparedModel], float]
Tell = Callable[[str, int, int], None]
"""Called with the current activity, the number of steps done and their total number."""


@dataclass(frozen=True)
class Choice:
    """A number of ``bits``.

    Parameters
    ----------
    bits : int
    error : float
        Relative squared error of the outputs that this choice alone adds.
    cost : float
        Cost that it adds to the cheapest network.
    """

    bits: int
    error: float
    cost: float


@dataclass(frozen=True)
class Sensitivity:
    """The choices of a unit, from the least bits to the most."""

    unit: Unit
    choices: tuple[Choice, ...]


@torch.no_grad()
def sensitivities(
    units: Units,
    corrections: Corrections,
    graph: FloatGraph,
    cost: Cost,
    least: float,
    tell: Tell,
) -> tuple[Sensitivity, ...]:
    """Measure all choices of ``units`` by the outputs of ``graph``, the float network, on the first
    samples; ``least`` is the cost of the cheapest network."""
    samples = Part(corrections.samples, 0, SAMPLES)
    corrections = corrections.on(samples)
    wanted = float_outputs(graph, samples)
    finest, coarsest = units.finest, units.coarsest
    floor = output_error(corrections.quantized(units.spec(finest), ()), samples, wanted)
    total = sum(len(u.choices) - 1 for u in units.all)
    done = 0

    def error(unit: Unit, bits: int) -> float:
        spec = units.spec({**finest, unit: bits})
        compensated = unit.layers if unit.kind == WEIGHTS else ()
        return max(0.0, output_error(corrections.quantized(spec, compensated), samples, wanted))

    found = []
    for unit in units.all:
        choices = []
        for bits in unit.choices:
            added = extra = 0.0
            if bits != unit.choices[-1]:
                tell(f"measuring the {unit.kind} of {unit.layers[0]}", done, total)
                done += 1
                added = max(0.0, error(unit, bits) - floor)
            if bits != unit.choices[0]:
                spec = units.spec({**coarsest, unit: bits})
                extra = cost(corrections.rounded(spec)) - least
            choices.append(Choice(bits, added, extra))
        found.append(Sensitivity(unit, tuple(choices)))
    return tuple(found)
