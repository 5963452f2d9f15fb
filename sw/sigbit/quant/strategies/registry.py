"""Strategies by name, with parameters from a configuration."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from sigbit.errors import QuantizationError
from sigbit.quant.strategies.base import Strategy
from sigbit.quant.strategies.batch_statistics import BatchStatistics
from sigbit.quant.strategies.cluster import ClusterRegularization
from sigbit.quant.strategies.deep_projection import DeepProjection
from sigbit.quant.strategies.distillation import Distillation
from sigbit.quant.strategies.frozen_teacher import FrozenTeacher
from sigbit.quant.strategies.gradient_quantization import GradientQuantization
from sigbit.quant.strategies.incremental import Incremental
from sigbit.quant.strategies.jarn import Jarn
from sigbit.quant.strategies.progressive import Progressive
from sigbit.quant.strategies.sinareq import Sinareq
from sigbit.quant.strategies.stochastic_precision import StochasticPrecision
from sigbit.quant.strategies.temperature import Temperature

STRATEGIES: dict[str, type[Strategy]] = {
    "batch_statistics": BatchStatistics,
    "cluster": ClusterRegularization,
    "deep_projection": DeepProjection,
    "distillation": Distillation,
    "frozen_teacher": FrozenTeacher,
    "gradient_quantization": GradientQuantization,
    "incremental": Incremental,
    "jarn": Jarn,
    "progressive": Progressive,
    "sinareq": Sinareq,
    "stochastic_precision": StochasticPrecision,
    "temperature": Temperature,
}
"""The strategies by name."""


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """The parameters of the strategy ``name`` with their types and defaults."""
    if name not in STRATEGIES:
        raise QuantizationError(
            f"strategy must be one of {', '.join(sorted(STRATEGIES))}, not {name!r}"
        )
    found = inspect.signature(STRATEGIES[name].__init__).parameters
    return {k: v for k, v in found.items() if k != "self"}


def strategy(name: str, options: Mapping[str, Any] | None = None) -> Strategy:
    """Create the strategy ``name``; :class:`QuantizationError` names the allowed values."""
    allowed, given = parameters(name), dict(options or {})
    if unknown := sorted(set(given) - set(allowed)):
        raise QuantizationError(
            f"{name} has no parameter {', '.join(map(repr, unknown))}; it has {', '.join(allowed)}"
        )
    try:
        return STRATEGIES[name](**given)
    except TypeError as error:
        raise QuantizationError(f"{name}: {error}") from error


def strategies(configs: Iterable[Mapping[str, Any]]) -> list[Strategy]:
    """Create strategies from ``[{"name": ..., parameter: value, ...}, ...]``, in order."""
    found = []
    for config in configs:
        options = dict(config)
        if not isinstance(name := options.pop("name", None), str):
            raise QuantizationError(f"a strategy needs a name, one of {', '.join(STRATEGIES)}")
        found.append(strategy(name, options))
    return found
