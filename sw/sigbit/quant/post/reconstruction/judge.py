"""What a quantized network is worth on samples that it has not seen, without labels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import SampleChunks, micro_batches
from sigbit.quant.post.mixed import float_outputs
from sigbit.quant.prepare import PreparedModel

CHANCE = 2.0
"""Standard deviations of a difference of agreements that mean nothing: those of samples whose
decisions change, each for the better or the worse."""


def decisions(x: Tensor) -> Tensor:
    """Classes ``[batch, ...]`` of outputs; of a single channel its sign, 0 or 1."""
    x = x.flatten(1) if x[0].numel() == x.shape[1] else x
    return x.argmax(1) if x.shape[1] > 1 else (x[:, 0] > 0).long()


@dataclass(frozen=True)
class Score:
    """Against the float network.

    Parameters
    ----------
    same : tuple of float
        By sample, the share of the decisions of the first output that are the same.
    error : float
        Mean squared error of all outputs, relative to their mean square.
    """

    same: tuple[float, ...]
    error: float

    @property
    def agreement(self) -> float:
        """Share of all decisions."""
        return sum(self.same) / len(self.same)

    def beats(self, other: "Score") -> bool:
        """Whether agreement is higher; where the difference is within :data:`CHANCE`, as it is on
        few samples, whether the error is smaller."""
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
