"""Quantizers and strategies of a configuration, as objects."""

from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from sigbit.errors import TrainingError
from sigbit.quant import QuantizationError, QuantSpec
from sigbit.quant.strategies import STRATEGIES, Strategy, strategy
from sigbit.training.config import QuantizerConfig, StrategyConfig
from sigbit.training.tables import checked


def quant_spec(config: QuantizerConfig, input_range: tuple[float, float] | None) -> QuantSpec:
    """Quantization of a network. Raises ``QuantizationError`` for unknown methods, and for bits
    that they do not support."""
    return QuantSpec.from_arch(
        config.accelerator,
        weight_method=config.weights,
        act_method=config.activations,
        weight_bits=config.weight_bits or None,
        act_bits=config.act_bits or None,
        weight_scale=config.weight_scale,
        act_scale=config.act_scale,
        per_channel=config.per_channel,
        first_last_terms=None if config.wide_first_last else 1,
        wide_head=config.wide_first_last,
        input_range=input_range,
    )


def strategies_of(configs: Sequence[StrategyConfig]) -> list[Strategy]:
    """New strategies in order; raises :class:`TrainingError` for unknown names, and for parameters
    that are unknown, of a wrong type or out of range."""
    return [_strategy(c, f"strategies[{place}]") for place, c in enumerate(configs)]


def _strategy(config: StrategyConfig, where: str) -> Strategy:
    if config.name in STRATEGIES:
        hints = get_type_hints(STRATEGIES[config.name].__init__)
        for key, value in config.options.items():
            if key in hints:
                checked(hints[key], value, f"{where}.{key}")
    try:
        return strategy(config.name, config.options)
    except QuantizationError as error:
        raise TrainingError(f"{where}, {config.name}: {error}") from error


def method_bits(config: QuantizerConfig) -> tuple[int, int]:
    """Bits of weights and activations between the first and the last layer."""
    native = config.accelerator
    return (
        config.weight_bits or native.weight_format.bits,
        config.act_bits or native.act_format.bits,
    )


def learning_rates(
    groups: Sequence[Mapping[str, Any]], hints: Sequence[Mapping[str, Any]], lr: float
) -> list[dict[str, Any]]:
    """``groups`` of an optimizer, with separate groups for parameters that ``hints`` name: with
    ``lr_factor`` times ``lr``, and their ``weight_decay``. Parameters in groups with a rate stay
    there."""
    fixed = {id(p) for g in groups if "lr" in g for p in g["params"]}
    free = {id(p) for g in groups if "lr" not in g for p in g["params"]}
    own = []
    for hint in hints:
        params = [p for p in hint["params"] if id(p) in free - fixed]
        if params:
            free -= {id(p) for p in params}
            rate, decay = lr * hint["lr_factor"], hint["weight_decay"]
            own.append({"params": params, "lr": rate, "weight_decay": decay})
    taken = {id(p) for g in own for p in g["params"]}
    kept = [{**g, "params": [p for p in g["params"] if id(p) not in taken]} for g in groups]
    return [g for g in kept if g["params"]] + own
