"""Evaluation of a quantized network on held-out samples, without labels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import SampleChunks, micro_batches
from sigbit.quant.post.mixed import float_outputs
from sigbit.quant.prepare import PreparedModel

CHANCE = 2.0
"""Number of standard deviations within which a difference of agreements is insignificant, for
samples whose decisions change for the better or the worse at random."""


def decisions(x: Tensor) -> Tensor:
    """Classes ``[batch, ...]`` of outputs; for a single channel its sign, 0 or 1."""
    x = x.flatten(1) if x[0].numel() == x.shape[1] else x
    return x.argmax(1) if x.shape[1] > 1 else (x[:, 0] > 0).long()


@dataclass(frozen=True)
class Score:
    """Comparison with the float network.

    Parameters
    ----------
    same : tuple of float
        Fraction of equal decisions of the first output, by sample.
    error : float
        Mean squared error of all outputs, relative to their mean square.
    """

    same: tuple[float, ...]
    error: float

    @property
    def agreement(self) -> float:
        """Fraction of all decisions that are equal."""
        return sum(self.same) / len(self.same)

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
        error = 0.0
        for batch, wanted in zip(micro_batches(self._samples), self._wanted, strict=True):
            found = prepared(*batch)
            found = (found,) if isinstance(found, Tensor) else found
            pairs = [(a.reshape(b.shape), b) for a, b in zip(found, wanted, strict=True)]
            error += sum(float((a - b).double().square().sum()) for a, b in pairs)
            equal = decisions(pairs[0][0]) == decisions(pairs[0][1])
            same += equal.double().reshape(len(equal), -1).mean(1).tolist()
        return Score(tuple(same), error / max(self._size, 1e-30))
