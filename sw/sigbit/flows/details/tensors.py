"""Sources of a quantized network's errors: every tensor beside the float network's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import log10

import torch
from torch import Tensor

from sigbit.flows.progress import Tell
from sigbit.ir.floating import FloatGraph
from sigbit.quant import PreparedModel
from sigbit.quant.calibration.reference import result
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.values import Arithmetic, Levels
from sigbit.quant.plan.plans import InputPlan, LayerPlan
from sigbit.quant.spec import ActGrid
from sigbit.quant.strategies.relaxed import RealOutput, RealWeights, Switch, attach, detach
from sigbit.report.grids import GridUse, RealHistogram
from sigbit_hw.arch.axes import Axes

WORST = 10
"""Number of channels listed."""
EXACT = 120.0
"""Decibels above which only the rounding of float32 is left."""


@dataclass(frozen=True)
class LayerError:
    """Signal-to-noise ratios of a tensor against the float network's, in decibels; None without
    noise, or without a tensor to compare with.

    Parameters
    ----------
    layer : str
    deployed_db : float, optional
        Of the deployed network.
    weights_db, activations_db : float, optional
        With the weights of all layers up to here rounded and nothing else, or with inputs and
        results rounded and no weights; None for networks that were quantized before import.
    """

    layer: str
    deployed_db: float | None
    weights_db: float | None
    activations_db: float | None


@dataclass(frozen=True)
class ChannelError:
    """A channel of a layer.

    Parameters
    ----------
    layer : str
    channel : int
    weight : float
        Energy of its error, relative to the mean signal energy of its layer's channels.
    snr_db : float, optional
        Its own signal-to-noise ratio in decibels; None without signal.
    noise_share : float
        Share of its layer's error energy.
    range_use : float
        Largest magnitude of its values, relative to the grid's largest.
    saturated : float
        Share of its values at an end of the grid that is not 0.
    """

    layer: str
    channel: int
    weight: float
    snr_db: float | None
    noise_share: float
    range_use: float
    saturated: float


@dataclass(frozen=True)
class Tensors:
    """The tensors of a quantized network on some samples.

    Parameters
    ----------
    samples : str
        Description of the samples.
    errors : tuple of LayerError
    weights : tuple of RealHistogram
        Trained weights before rounding, in units of their channel's step.
    weight_use, activation_use : tuple of GridUse
        Integers of the weights, and levels of the tensors.
    worst : tuple of ChannelError
        The channels of the largest weight, at most :data:`WORST`.
    """

    samples: str
    errors: tuple[LayerError, ...]
    weights: tuple[RealHistogram, ...]
    weight_use: tuple[GridUse, ...]
    activation_use: tuple[GridUse, ...]
    worst: tuple[ChannelError, ...]


@torch.no_grad()
def measure(
    prepared: PreparedModel,
    graph: FloatGraph,
    batch: tuple[Tensor, ...],
    samples: str,
    tell: Tell,
) -> Tensors:
    """Compare the tensors of ``prepared``, after ``convert``, with those of ``graph`` on a
    ``batch`` of each input; ``samples`` describes the batch."""
    tell("measuring every layer for the report")
    wanted = wanted_tensors(prepared, graph, batch)
    with _evaluating(prepared):
        deployed = prepared.levels(*batch)
        parts: list[Mapping[str, Levels]] = [deployed]
        if not graph.quantizers:
            parts += [_relaxed(prepared, batch, r) for r in (RealOutput(), RealWeights())]
        scales = {name: found.scale for name, found in deployed.items()}
        weights = weight_histograms(prepared, scales)
        weight_use = tuple(_weight_use(prepared, scales))
    ratios = [{n: decibels(w, _real(part[n])) for n, w in wanted.items()} for part in parts]
    ratios += [dict.fromkeys(wanted)] * (3 - len(ratios))
    ratios[1] |= dict.fromkeys(p.name for p in prepared.plan.layers if isinstance(p, InputPlan))
    channels = [
        channel
        for name, want in wanted.items()
        for channel in _channels(name, want, deployed[name], prepared.quant_module(name).grid)
    ]
    return Tensors(
        samples,
        tuple(LayerError(name, *(part[name] for part in ratios)) for name in wanted),
        weights,
        weight_use,
        tuple(
            GridUse.of(name, prepared.quant_module(name).grid.levels.values, found.levels.numpy())
            for name, found in deployed.items()
        ),
        tuple(sorted(channels, key=lambda c: -c.weight)[:WORST]),
    )


def wanted_tensors(
    prepared: PreparedModel, graph: FloatGraph, batch: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    """Return the float network's counterparts, with its own quantizers, of the tensors of
    ``prepared``: float64 ``[batch, C, H, W]`` by name, where there is one."""
    values = graph.evaluate(dict(zip((node.name for node in graph.inputs), batch, strict=True)))
    found = {}
    for p in prepared.plan.layers:
        value = result(p, values) if isinstance(p, LayerPlan) else values.get(p.name)
        if value is not None:
            axes = p.axes if isinstance(p, InputPlan) else Axes.IMAGE
            found[p.name] = axes.to_stored(value, p.shape).double()
    return found


def decibels(wanted: Tensor, got: Tensor) -> float | None:
    """Return the signal-to-noise ratio of tensors of one shape; None without signal, or without
    more noise than the rounding of float32 (:data:`EXACT`)."""
    signal = float(wanted.double().square().sum())
    noise = float((wanted.double() - got.double()).square().sum())
    found = 10 * log10(signal / noise) if signal > 0 and noise > 0 else None
    return None if found is None or found > EXACT else found


def weight_histograms(
    prepared: PreparedModel, scales: Mapping[str, Tensor]
) -> tuple[RealHistogram, ...]:
    """Return the trained weights of every layer with weights, before rounding, in units of their
    channel's step; ``scales`` are the tensors' scales."""
    found = []
    for layer, arithmetic in _weighted(prepared, scales):
        unit = arithmetic.step / scales[layer.sources[0].tensor]
        real = (layer.real_weights()[0] / unit.view(-1, 1, 1, 1)).double().numpy()
        grid = layer.spec.weight_grid(layer.terms[0]).values
        found.append(RealHistogram.of(layer.plan.name, real, grid))
    return tuple(found)


def _weight_use(prepared: PreparedModel, scales: Mapping[str, Tensor]) -> Iterator[GridUse]:
    for layer, arithmetic in _weighted(prepared, scales):
        grid = layer.spec.weight_grid(layer.terms[0]).values
        yield GridUse.of(layer.plan.name, grid, arithmetic.weights[0].numpy())


def _weighted(
    prepared: PreparedModel, scales: Mapping[str, Tensor]
) -> Iterator[tuple[QuantLayer, Arithmetic]]:
    """Yield the layers with trained weights, and their arithmetic."""
    for p in prepared.plan.layers:
        layer = prepared.quant_module(p.name)
        if isinstance(layer, QuantLayer) and layer.sources[0].trained:
            yield layer, layer.arithmetic([scales[s.tensor] for s in layer.sources])


@contextmanager
def _evaluating(prepared: PreparedModel) -> Iterator[None]:
    training = prepared.training
    prepared.eval()
    try:
        yield
    finally:
        prepared.train(training)


def _relaxed(
    prepared: PreparedModel, batch: tuple[Tensor, ...], relaxation: Switch
) -> Mapping[str, Levels]:
    """Return the tensors with ``relaxation`` in place of the layers' rounding; with real results,
    inputs are not rounded either."""
    layers = [m for m in prepared.layers if isinstance(m, QuantLayer)]
    names = [p.name for p in prepared.plan.layers if isinstance(p, InputPlan)]
    given = dict(zip(names, batch, strict=True))
    values: dict[str, Levels] = {}
    attach(layers, relaxation)
    relaxation.on = True
    try:
        for p in prepared.plan.layers:
            found = prepared.step(p, values, given)
            if isinstance(p, InputPlan) and isinstance(relaxation, RealOutput):
                real = p.axes.to_stored(given[p.name], p.shape) / found.scale
                found = Levels(real.to(found.levels.dtype), found.scale)
            values[p.name] = found
    finally:
        detach(prepared, relaxation)
    return values


def _real(found: Levels) -> Tensor:
    return found.levels.double() * found.scale.double()


def _channels(name: str, want: Tensor, got: Levels, grid: ActGrid) -> Iterator[ChannelError]:
    """Yield the channels of a tensor with an error above :data:`EXACT`."""
    real, levels = _real(got), got.levels
    noise = (want - real).square().sum((0, 2, 3))
    signal = want.square().sum((0, 2, 3))
    largest = levels.abs().amax((0, 2, 3)) / max(abs(grid.low), grid.high)
    ends = (levels == grid.high) | ((levels == grid.low) & (grid.low != 0))
    saturated = ends.double().mean((0, 2, 3))
    total, mean = float(noise.sum()), float(signal.mean())
    for channel in range(len(noise)):
        if mean > 0 and noise[channel] > mean * 10 ** (-EXACT / 10):
            yield ChannelError(
                name,
                channel,
                float(noise[channel]) / mean,
                decibels(want[:, channel], real[:, channel]),
                float(noise[channel]) / total,
                float(largest[channel]),
                float(saturated[channel]),
            )
