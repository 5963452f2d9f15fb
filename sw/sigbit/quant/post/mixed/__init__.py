"""Automatic mixed precision: bits of weights and activations, layer by layer.

``units`` lists what may be chosen, ``sensitivity`` measures what every choice changes and costs,
``path`` orders the choices from the cheapest network to the finest, and ``search`` measures whole
networks on this path and takes the one that a goal asks for.
"""

from sigbit.quant.post.mixed.search import Correct, Goal, Mixed, Point, mixed_precision, weight_bits
from sigbit.quant.post.mixed.sensitivity import Choice, Sensitivity
from sigbit.quant.post.mixed.units import Bits, Unit

__all__ = [
    "Bits",
    "Choice",
    "Correct",
    "Goal",
    "Mixed",
    "Point",
    "Sensitivity",
    "Unit",
    "mixed_precision",
    "weight_bits",
]
