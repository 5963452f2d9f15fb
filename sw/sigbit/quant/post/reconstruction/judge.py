"""Evaluation of a quantized network on held-out samples, without labels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import SampleChunks, micro_batches
from sigbit.quant.post.outputs import float_outputs
from sigbit.quant.prepared import PreparedModel

CHANCE = 2.0
"""Number of standard deviations within which a difference of agreements is insignificant, for
samples whose decisions change for the better or the worse at random."""


def decisions(x: Tensor) -> Tensor:
    """Classes ``[batch, ...]`` of outputs; for a single channel its sign, 0 or 1."""
    x = x.flatten(1) if x[0].numel() == x.shape[1] else x
    return x.argmax(1) if x.shape[1] > 1 else (x[:, 0] > 0).long()


def confidence(x: Tensor, chosen: Tensor) -> Tensor:
    """Probabilities (float64) that outputs ``x``, as in :func:`decisions`, give to the decisions
    ``chosen``: by the softmax, or by the sigmoid of a single channel."""
    x = (x.flatten(1) if x[0].numel() == x.shape[1] else x).double()
    if x.shape[1] > 1:
        return x.softmax(1).gather(1, chosen.unsqueeze(1)).squeeze(1)
    positive = x[:, 0].sigmoid()
    return torch.where(chosen > 0, positive, 1 - positive)


@dataclass(frozen=True)
class Score:
    """Comparison with the float network.

    Parameters
    ----------
    same : tuple of float
        Fraction of equal decisions of the first output, by sample.
    lost : tuple of float
        Expected loss of accuracy, by sample: by how much less probable, according to the float
        network's own probabilities, the decisions are than its own.
    error : float
        Mean squared error of all outputs, relative to their mean square.
    """

    same: tuple[float, ...]
    lost: tuple[float, ...]
    error: float

    @property
    def agreement(self) -> float:
        """Fraction of all decisions that are equal."""
        return sum(self.same) / len(self.same)

    @property
    def points(self) -> float:
        """Estimated loss of accuracy in percentage points. Without labels, it is as good as the
        float network's probabilities: one that is too sure of itself makes it too large, up to the
        share of changed decisions."""
        return 100 * sum(self.lost) / len(self.lost)

    @property
    def points_deviation(self) -> float:
        """Standard error of :attr:`points`, which comes from the number of samples."""
        count, mean = len(self.lost), sum(self.lost) / len(self.lost)
        return 100 * math.sqrt(sum((x - mean) ** 2 for x in self.lost)) / count

    def beats(self, other: "Score") -> bool:
        """Return whether agreement is higher or, if the difference is within :data:`CHANCE`, as it
        is with few samples, whether the error is smaller."""
        changes = [a - b for a, b in zip(self.same, other.same, strict=True)]
        if abs(sum(changes)) > CHANCE * math.sqrt(sum(c * c for c in changes)):
            return sum(changes) > 0
        return self.error < other.error


class Judge:
    """Compares networks with the float one on ``samples``."""

    def __init__(self, graph: FloatGraph, samples: SampleChunks) -> None:
        self._samples = samples
        self._wanted = float_outputs(graph, samples)
        self._size = sum(float(x.double().square().sum()) for of in self._wanted for x in of)

    @torch.no_grad()
    def __call__(self, prepared: PreparedModel) -> Score:
        """The score of ``prepared``, in evaluation mode."""
        same: list[float] = []
        lost: list[float] = []
        error = 0.0
        for batch, wanted in zip(micro_batches(self._samples), self._wanted, strict=True):
            found = prepared(*batch)
            found = (found,) if isinstance(found, Tensor) else found
            pairs = [(a.reshape(b.shape), b) for a, b in zip(found, wanted, strict=True)]
            error += sum(float((a - b).double().square().sum()) for a, b in pairs)
            first = pairs[0][1]
            mine, own = decisions(pairs[0][0]), decisions(first)
            less = confidence(first, own) - confidence(first, mine)
            same += (mine == own).double().reshape(len(own), -1).mean(1).tolist()
            lost += less.reshape(len(own), -1).mean(1).tolist()
        return Score(tuple(same), tuple(lost), error / max(self._size, 1e-30))
