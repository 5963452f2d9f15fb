"""Rounding error of grids: on a Gaussian, on a Laplacian, and on layers of the zoo."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from sigbit.bench.nets.cases import CASES, Case, material
from sigbit.bench.number_systems.row import DISTRIBUTIONS, Candidate
from sigbit.frontend import import_model
from sigbit.ir.floating import Relu
from sigbit.quant.numbers.grid import LevelGrid, dequantize, quantize
from sigbit.quant.numbers.scales import mse_scale
from sigbit.quant.spec import QuantSpec, act_grid
from sigbit_hw.arch.formats import Format

_DENSITIES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"gaussian": lambda z: torch.exp(-(z**2) / 2), "laplacian": lambda z: torch.exp(-z.abs())}
)
"""Densities of the distributions, up to a factor; all symmetric about 0."""
REACH, STEP = 40.0, 1 / 512
"""End and spacing of the points at which densities are summed."""
NETS = ("squeezenet1_0_caffe", "mobilenet_v2_tf", "resnet20", "ds_cnn")
"""Networks whose layers are quantized."""
CHANNELS, VALUES, IMAGES = 16, 1 << 14, 2
"""Maximum number of output channels of a layer whose weights are taken, and of values of an
activation, evenly distributed; number of images whose activations are taken."""


@dataclass(frozen=True)
class Layers:
    """Tensors of one network: weights ``[channels, values]``, and activations after a ReLU."""

    net: str
    weights: tuple[Tensor, ...]
    activations: tuple[Tensor, ...]


def weight_levels(native: Format) -> LevelGrid:
    """Grid of a weight of one term."""
    return LevelGrid.of(native)


def activation_levels(native: Format) -> LevelGrid:
    """Levels of a positive tensor of one plane, as stored by the quantizer: with a ``zero`` if the
    format is signed and its levels are evenly spaced, else the magnitudes."""
    return act_grid(QuantSpec(act_format=native), 0, 1).levels


@cache
def distribution_error(name: str, grid: LevelGrid) -> float:
    """Minimum over all scales of the mean squared error, relative to the mean square. Grids without
    negative levels apply to the positive half, which has the same number of values."""
    z = torch.arange(STEP / 2, REACH, STEP, dtype=torch.float64)
    density = _DENSITIES[name](z)
    power = float((density * z**2).sum())
    magnitudes = grid if not grid.signed else LevelGrid(grid.magnitudes, False)

    def error(log_clip: float) -> float:
        scale = torch.tensor(math.exp(log_clip) / grid.max, dtype=torch.float64)
        rounded = dequantize(quantize(z, scale, magnitudes), scale)
        return float((density * (z - rounded) ** 2).sum()) / power

    low, high, steps = math.log(0.3), math.log(REACH), 65
    for _ in range(3):
        candidates = torch.linspace(low, high, steps).tolist()
        errors = [error(c) for c in candidates]
        best, width = candidates[errors.index(min(errors))], (high - low) / (steps - 1)
        low, high, steps = best - width, best + width, 17
    return min(errors)


def tensor_error(x: Tensor, grid: LevelGrid, channels: bool) -> float:
    """Squared error of ``x`` relative to its squares, at the scale (one per channel if
    ``channels``) that the quantizer's search finds."""
    x = x.double()
    scale = mse_scale(x, grid, channels)
    safe = torch.where(scale > 0, scale, 1.0)
    return float((x - dequantize(quantize(x, safe, grid), safe)).square().sum() / x.square().sum())


def weight_errors(native: Format, zoo: Sequence[Layers]) -> dict[str, float]:
    """Relative squared errors of weights by distribution and network; that of a network is the mean
    over its layers."""
    grid = weight_levels(native)
    found = {name: distribution_error(name, grid) for name in DISTRIBUTIONS}
    return found | {n.net: _mean(tensor_error(w, grid, True) for w in n.weights) for n in zoo}


def activation_errors(native: Format, zoo: Sequence[Layers]) -> dict[str, float]:
    """Relative squared errors of positive activations, with one scale per tensor."""
    grid = activation_levels(native)
    found = {name: distribution_error(name, grid) for name in DISTRIBUTIONS}
    return found | {n.net: _mean(tensor_error(x, grid, False) for x in n.activations) for n in zoo}


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def zoo_layers(folder: Path | None) -> tuple[Layers, ...]:
    """Layers of :data:`NETS`: real weights and inputs from ``folder``, or seeded random ones
    without it."""
    cases = {case.net: case for case in CASES if case.bits == 4 and case.net in NETS}
    if folder is None:
        cases = {n: replace(case, dataset="", checkpoint="") for n, case in cases.items()}
    return tuple(_layers(cases[net], folder) for net in NETS)


@torch.no_grad()
def _layers(case: Case, folder: Path | None) -> Layers:
    found = material(case, folder, 1)
    weights = [
        p.detach().flatten(1) for p in found.model.parameters() if p.dim() > 1 and bool(p.any())
    ]
    images = torch.from_numpy(found.calibration[:IMAGES])
    graph = import_model(found.model, images)
    values = graph.evaluate({graph.inputs[0].name: images})
    rectified = [values[node.name] for node in graph.nodes if isinstance(node, Relu)]
    return Layers(
        case.net,
        tuple(_thinned(w, CHANNELS) for w in weights),
        tuple(_thinned(x.flatten(), VALUES) for x in rectified if bool(x.any())),
    )


def _thinned(x: Tensor, most: int) -> Tensor:
    """``most`` entries of ``x`` along dimension 0, evenly distributed."""
    count = min(most, len(x))
    return x[torch.arange(count) * len(x) // count]


class MeasuredErrors:
    """Quantization errors of formats, each computed once.

    Parameters
    ----------
    zoo : sequence of Layers
        Networks whose layers are quantized, in addition to the distributions.
    """

    def __init__(self, zoo: Sequence[Layers]) -> None:
        self._zoo = zoo
        self._weights: dict[Format, dict[str, float]] = {}
        self._acts: dict[Format, dict[str, float]] = {}

    def of(self, candidate: Candidate) -> dict[str, dict[str, float]]:
        """Relative squared errors of weights and activations, by distribution and network."""
        weights, acts = candidate.weights, candidate.acts
        if weights not in self._weights:
            self._weights[weights] = weight_errors(weights, self._zoo)
        if acts not in self._acts:
            self._acts[acts] = activation_errors(acts, self._zoo)
        return {"weight_error": self._weights[weights], "act_error": self._acts[acts]}
