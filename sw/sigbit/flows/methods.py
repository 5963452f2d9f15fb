"""Quantizers and training strategies, and their cost on an accelerator."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sigbit.flows.result import Result, Stopwatch
from sigbit.inputs.accelerators import load_arch
from sigbit.plugins import origin
from sigbit.quant import QuantizationError, QuantSpec
from sigbit.quant.quantizers import METHODS, Side
from sigbit.quant.spec import method_grid
from sigbit.quant.strategies.registry import STRATEGIES, parameters
from sigbit_hw.arch.config import ArchConfig

BITS = range(1, 9)
"""Bits of weights and activations that are listed."""


@dataclass(frozen=True)
class MethodDigits:
    """Digits of a quantizer's levels on an accelerator, by bits.

    Parameters
    ----------
    method : str
    terms : mapping
        Terms of a weight; None for bits that the method does not define, 0 where the accelerator
        has no exact form of them.
    planes : mapping
        Planes of an activation whose smallest value is 0, likewise.
    plugin : str or None
        The plugin that added it; None for sigbit's own.
    """

    method: str
    terms: Mapping[int, int | None]
    planes: Mapping[int, int | None]
    plugin: str | None


@dataclass(frozen=True)
class StrategyParameters:
    """A training strategy, the defaults of its parameters, and the plugin that added it, if any."""

    name: str
    parameters: Mapping[str, Any]
    plugin: str | None


@dataclass(frozen=True, kw_only=True)
class Methods(Result):
    """All quantizers and training strategies; ``arch`` is the accelerator of the digits."""

    arch: str
    quantizers: tuple[MethodDigits, ...]
    strategies: tuple[StrategyParameters, ...]


def methods(arch: str | ArchConfig = "micro") -> Methods:
    """List quantizers and training strategies.

    A product takes the array as many passes as its weight's terms times its activation's planes.
    """
    watch = Stopwatch()
    config = load_arch(arch)
    return Methods(
        arch=config.name,
        quantizers=tuple(_digits(name, config) for name in METHODS),
        strategies=tuple(
            StrategyParameters(
                name,
                {k: v.default for k, v in parameters(name).items()},
                origin("strategy", name),
            )
            for name in STRATEGIES
        ),
        **watch.read(),
    )


def _digits(name: str, config: ArchConfig) -> MethodDigits:
    def terms(bits: int) -> int:
        spec = QuantSpec.from_arch(config, weight_method=name, weight_bits=bits)
        return spec.weight_choice(bits).terms

    def planes(bits: int) -> int:
        spec = QuantSpec.from_arch(config, act_method=name, act_bits=bits)
        return method_grid(spec, bits, 0.0).planes

    method = METHODS[name]
    return MethodDigits(
        name,
        _by_bits(method.weights, terms),
        _by_bits(method.acts, planes),
        origin("quantizer", name),
    )


def _by_bits(side: Side | None, digits: Callable[[int], int]) -> dict[int, int | None]:
    found: dict[int, int | None] = dict.fromkeys(BITS)
    for bits in side.bits if side else ():
        try:
            found[bits] = digits(bits)
        except QuantizationError:
            found[bits] = 0
    return found
