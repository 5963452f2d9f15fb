"""Optimizer and learning rate over a training."""

import math
from dataclasses import dataclass
from typing import Any

import torch

OPTIMIZERS = ("adamw", "sgd")
RATES = ("cosine", "steps", "constant")
LARGEST = 1e15
"""Upper bound of values: a product of two such numbers is still a float32."""


@dataclass(frozen=True)
class Schedule:
    """Length and learning rates of a network's training.

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the data, samples per step over all processes (the last, smaller batch of an
        epoch is dropped).
    optimizer : str
        "adamw" or "sgd" (Nesterov).
    lr, weight_decay, momentum : float
        Peak learning rate; decay of weights (not of vectors: biases, batch norms, scales);
        momentum of "sgd", below 1.
    rate : str
        "cosine" to 0, "steps" (multiplied by ``gamma`` at every fraction of the run in
        ``milestones``), "constant".
    warm_up : float
        Epochs in which the rate rises linearly.
    label_smoothing : float
        Fraction of the target distributed evenly over all classes.
    clip : float
        Maximum norm of the gradient; 0: no limit.
    """

    epochs: int
    batch_size: int = 64
    optimizer: str = "adamw"
    lr: float = 3e-3
    weight_decay: float = 1e-2
    momentum: float = 0.9
    rate: str = "cosine"
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    warm_up: float = 1.0
    label_smoothing: float = 0.0
    clip: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs must be at least 0, not {self.epochs}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        for name in ("lr", "gamma"):
            if not 0 < getattr(self, name) <= LARGEST:
                raise ValueError(
                    f"{name} must be positive and at most {LARGEST:g}, not {getattr(self, name)}"
                )
        for name in ("weight_decay", "warm_up", "clip"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ValueError(
                    f"{name} must be in [0, {LARGEST:g}], but is {getattr(self, name)}"
                )
        for name in ("momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if not all(0 <= share <= 1 for share in self.milestones):
            raise ValueError(
                "milestones are shares of the training, each in [0, 1], not "
                f"{list(self.milestones)}"
            )
        for name, allowed in (("optimizer", OPTIMIZERS), ("rate", RATES)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}"
                )

    def make_optimizer(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimizer of parameter ``groups``."""
        if self.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=self.lr)
        momentum = self.momentum
        return torch.optim.SGD(groups, lr=self.lr, momentum=momentum, nesterov=momentum > 0)

    def factor(self, step: int, steps: int, per_epoch: int) -> float:
        """Learning rate of a step as a multiple of the peak."""
        rising = min(1.0, (step + 1) / (self.warm_up * per_epoch)) if self.warm_up else 1.0
        match self.rate:
            case "cosine":
                return min(rising, (1 + math.cos(math.pi * step / steps)) / 2)
            case "steps":
                passed = sum(step >= share * steps for share in self.milestones)
                return rising * self.gamma**passed
        return rising
