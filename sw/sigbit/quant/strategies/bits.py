"""Conversion of bits per layer to the mixed precision that ``prepare`` takes for the next stage."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from sigbit.errors import QuantizationError
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.quantizers.registry import METHODS
from sigbit.quant.spec import QuantSpec
from sigbit.quant.strategies.base import users
from sigbit_hw.arch.formats import MAX_DIGITS


def terms_for(spec: QuantSpec, bits: int) -> int:
    """The smallest number of terms of native weights with at least ``2**bits - 1`` levels, the
    number that ``bits`` bits have with a level at 0; the largest number of terms if none has as
    many."""
    for terms in range(1, MAX_DIGITS):
        if len(spec.weight_grid(terms).values) >= 2**bits - 1:
            return terms
    return MAX_DIGITS


def with_weight_bits(model: PreparedModel, bits: Mapping[str, int]) -> QuantSpec:
    """The spec of ``model`` with the weights of the layers ``bits`` (by the name of their tensor)
    in this many bits, or the next larger number that the spec's method supports; shared weights
    remain shared, and activations keep their bits."""
    spec = model.spec
    terms, levels = dict(spec.bits), dict(spec.layer_bits)
    for name, number in bits.items():
        layer = model.quant_module(name)
        if not isinstance(layer, QuantLayer) or layer.weight_quantizer is None:
            raise QuantizationError(f"{name!r} has no trained weights, whose bits could be set")
        for user in users(model, layer):
            if spec.weight_bits is None:
                terms[user.plan.name] = (terms_for(spec, number), user.grid.planes)
            else:
                terms.pop(user.plan.name, None)
                acts = levels.get(user.plan.name, (0, None))[1]
                levels[user.plan.name] = (_weight_bits(spec, number), acts)
    return replace(spec, bits=MappingProxyType(terms), layer_bits=MappingProxyType(levels))


def _weight_bits(spec: QuantSpec, bits: int) -> int:
    side = METHODS[spec.weight_method].weights
    assert side is not None
    return min((b for b in side.bits if b >= bits), default=max(side.bits))
