"""A small trainer for float and prepared models: seeded, and the same result for the same seed on
one machine.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.quant.errors import QuantizationError


@dataclass(frozen=True)
class TrainConfig:
    """AdamW with a cosine schedule after a linear warm-up of one epoch; cross entropy.

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the data, images a step (the last, smaller batch of an epoch is dropped).
    lr, weight_decay : float
        Peak learning rate; decay of weights (not of vectors: biases, batch norms, scales).
    label_smoothing : float
        Share of the target given to all classes alike.
    seed : int
        Of the order of the data.
    """

    epochs: int
    batch_size: int = 64
    lr: float = 3e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """State after a step: 1-based ``step`` of ``steps``, ``epoch`` of ``epochs``, the batch's
    loss.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float


@contextmanager
def reproducible() -> Iterator[None]:
    """One thread (sums do not depend on the number of cores) and deterministic kernels, as long as
    it lasts.
    """
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    config: TrainConfig,
    progress: Callable[[Progress], None] | None = None,
) -> None:
    """Train ``model`` in place on images ``x`` and labels ``y``; it is left in evaluation mode.

    Raises :class:`QuantizationError` as soon as a loss is not finite.
    """
    per_epoch = len(x) // config.batch_size
    steps = config.epochs * per_epoch
    if per_epoch < 1:
        raise QuantizationError(
            f"batch_size {config.batch_size} is larger than the {len(x)} training samples"
        )
    optimizer = torch.optim.AdamW(_groups(model, config.weight_decay), lr=config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: _rate(s, steps, per_epoch))
    generator = torch.Generator().manual_seed(config.seed)
    model.train()
    with reproducible():
        for step in range(steps):
            if step % per_epoch == 0:
                order = torch.randperm(len(x), generator=generator)
            chosen = order[step % per_epoch * config.batch_size :][: config.batch_size]
            loss = F.cross_entropy(
                model(x[chosen]), y[chosen], label_smoothing=config.label_smoothing
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            if not math.isfinite(value := float(loss.detach())):
                raise QuantizationError(
                    f"the loss is {value} at step {step + 1} of {steps}: lower the learning rate"
                )
            if progress is not None:
                progress(Progress(step + 1, steps, step // per_epoch + 1, config.epochs, value))
    model.eval()


def _rate(step: int, steps: int, warm_up: int) -> float:
    return min((step + 1) / warm_up, (1 + math.cos(math.pi * step / steps)) / 2)


@torch.no_grad()
def predict(model: nn.Module, x: Tensor, batch_size: int = 256) -> Tensor:
    """Outputs of ``model`` for images ``x``, in batches."""
    with reproducible():
        return torch.cat([model(batch) for batch in x.split(batch_size)])


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of images whose largest output is that of their label."""
    return float((predict(model, x).argmax(1) == y).double().mean())
