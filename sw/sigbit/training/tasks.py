"""Losses and scores: classes of whole inputs (images, sequences), and of pixels."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def decisions(output: Tensor) -> Tensor:
    """Classes ``[N, ...]`` of scores ``[N, C, ...]``; for a single channel its sign, 0 or 1."""
    return output.argmax(1) if output.shape[1] > 1 else (output[:, 0] > 0).long()


@dataclass(frozen=True)
class Task:
    """Cross entropy over classes, or over the classes of every pixel; networks with one output per
    pixel decide between two classes by its sign.

    Parameters
    ----------
    classes : int
        Number of classes.
    label_smoothing : float
        Fraction of the target distributed evenly over all classes.
    """

    classes: int
    label_smoothing: float = 0.0

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over all decisions."""
        if output.shape[1] > 1:
            return F.cross_entropy(output, target, label_smoothing=self.label_smoothing)
        smooth = self.label_smoothing
        wanted = target.to(output.dtype) * (1 - smooth) + smooth / 2
        return F.binary_cross_entropy_with_logits(output[:, 0], wanted)

    def confusion(self, output: Tensor, target: Tensor) -> Tensor:
        """Counts ``[classes, classes]`` of (target, decision), int64."""
        said = decisions(output.detach())
        index = (target * self.classes + said).flatten()
        counts = torch.bincount(index, minlength=self.classes**2)
        return counts.view(self.classes, self.classes)


@dataclass(frozen=True)
class Score:
    """Fractions of correct decisions, from a confusion matrix ``[target, decision]``."""

    counts: Tensor

    @property
    def accuracy(self) -> float:
        """Fraction of all decisions that are correct."""
        return int(self.counts.diagonal().sum()) / int(self.counts.sum())

    @property
    def mean_iou(self) -> float:
        """Intersection over union, averaged over the classes that occur."""
        hits = self.counts.diagonal().double()
        union = self.counts.sum(0) + self.counts.sum(1) - self.counts.diagonal()
        return float((hits / union)[union > 0].mean())
