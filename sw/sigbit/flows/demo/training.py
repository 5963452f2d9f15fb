"""Training of the digits network, first in floating point, then quantized."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sigbit.data import Split
from sigbit.flows.details.tensors import weight_histograms
from sigbit.ir.integer import IntegerGraph
from sigbit.quant import PreparedModel, QuantSpec, convert, prepare
from sigbit.report.grids import RealHistogram
from sigbit.training import Schedule, predict, reproducible, train
from sigbit.zoo import DigitsResNet
from sigbit_hw.arch.config import ArchConfig

Ints = NDArray[np.int64]

FLOAT = Schedule(epochs=12, lr=4e-3)
QUANTIZED = Schedule(epochs=8, lr=2e-3)
CALIBRATION_IMAGES = 512

Progress = Callable[[str, int, int], None]
"""Called with a text, the steps done and their total."""


@dataclass(frozen=True)
class Trained:
    """A trained and converted network, with its predictions on the test split.

    Parameters
    ----------
    graph : IntegerGraph
        The network in integers.
    labels : array
        Labels of the test images, ``[N]``.
    stored : array
        The test images as the accelerator's stored integers, ``[N, 1, 8, 8]``.
    pictures : array
        The test images for display, uint8 ``[N, 8, 8]``.
    float_predictions, quantized_predictions : array
        Predictions of the float network and of the trained quantized network, ``[N]``.
    weights : tuple of RealHistogram
        Weights before rounding, of the layers with weights.
    """

    graph: IntegerGraph
    labels: Ints
    stored: Ints
    pictures: NDArray[np.uint8]
    float_predictions: Ints
    quantized_predictions: Ints
    weights: tuple[RealHistogram, ...]


def train_digits(digits: Split, config: ArchConfig, seed: int, progress: Progress) -> Trained:
    """Train on ``digits`` for the formats of ``config``; the same ``seed`` gives the same network.

    Weights are 4-bit ESB codes per output channel (8 bits in the first and last layer), activations
    4-bit, the input 8-bit; scales are learned while the quantized network trains.
    """
    with torch.random.fork_rng(), reproducible():
        torch.manual_seed(seed)
        model = DigitsResNet()
        _fit(model, digits, FLOAT, seed, "training, float", progress)
        float_predictions = _predict(model, digits.test_x)
        spec = QuantSpec.from_arch(
            config, input_range=digits.input_range, weight_scale="learned", act_scale="learned"
        )
        sample = digits.train_x[:CALIBRATION_IMAGES]
        prepared = prepare(model, spec, (sample,))
        _fit(prepared, digits, QUANTIZED, seed, "training, quantized", progress)
        prepared.double()  # float64: every accumulator is exact, as in the integer model
        test = digits.test_x.double()
        integer = convert(prepared)
        (port,) = integer.graph.inputs
        return Trained(
            graph=integer.graph,
            labels=digits.test_y.numpy(),
            stored=integer.stored(test)[port.name].numpy(),
            pictures=(255 * digits.test_x[:, 0]).round().to(torch.uint8).numpy(),
            float_predictions=float_predictions,
            quantized_predictions=_predict(prepared, test),
            weights=_weights(prepared, integer.graph),
        )


def _fit(
    model: nn.Module,
    digits: Split,
    schedule: Schedule,
    seed: int,
    text: str,
    progress: Progress,
) -> None:
    train(
        model,
        digits.train_x,
        digits.train_y,
        schedule,
        lambda state: progress(text, state.step, state.steps),
        seed=seed,
    )


def _predict(model: nn.Module, x: Tensor) -> Ints:
    classes: Ints = predict(model, x).flatten(1).argmax(1).numpy()
    return classes


@torch.no_grad()
def _weights(prepared: PreparedModel, graph: IntegerGraph) -> tuple[RealHistogram, ...]:
    scales = {n.name: torch.tensor(n.type.scale, dtype=torch.float64) for n in graph.nodes}
    return weight_histograms(prepared, scales)
