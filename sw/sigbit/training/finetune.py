"""Fine-tuning: a few epochs of training that start from post-training quantization.

The network learns the outputs of the float network, which needs no labels, with the exact
arithmetic that it is deployed with. The result is kept only if it agrees more with the float
network on samples that were held out.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sigbit.errors import TrainingError
from sigbit.ir.floating import FloatGraph
from sigbit.quant.calibration.samples import Calibration, Part, SampleChunks, as_chunks
from sigbit.quant.post.reconstruction.judge import Judge, Score
from sigbit.quant.post.reconstruction.store import Store
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.strategies.frozen_teacher import FrozenTeacher
from sigbit.training.loop import Loop
from sigbit.training.machine import reproducible
from sigbit.training.schedule import Schedule
from sigbit.training.tasks import decisions

HELD_OUT = 0.25
"""Share of the samples on which the result is compared; they are not trained on."""


@dataclass(frozen=True)
class FineTuning:
    """Length and rates of a fine-tuning.

    Parameters
    ----------
    epochs : int
        Passes over the samples.
    labels : bool
        Learn the labels as well, with the weight of the float network's outputs.
    lr : float
        Peak learning rate of AdamW, which falls to 0 along a cosine.
    batch_size : int
        Samples per step, as far as there are so many.
    """

    epochs: int
    labels: bool = False
    lr: float = 2e-4
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise TrainingError(
                    f"{name} of a fine-tuning must be at least 1, not {getattr(self, name)}"
                )


@dataclass(frozen=True)
class FineTuned:
    """The network, in evaluation mode, the scores ``before`` and ``after`` the training, and
    whether it was ``kept``."""

    prepared: PreparedModel
    before: Score
    after: Score
    kept: bool


def fine_tune(
    prepared: PreparedModel,
    graph: FloatGraph,
    calibration: Calibration,
    settings: FineTuning,
    *,
    labels: NDArray[np.int64] | None = None,
    tell: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> FineTuned:
    """Train a quantized network on samples.

    Parameters
    ----------
    prepared : PreparedModel
        The network to start from; it is not changed. Scales learn if the rules of its spec are
        "learned".
    graph : FloatGraph
        The float network.
    calibration : Tensor, tuple of Tensor or SampleChunks
        Inputs as the network will see them: hundreds or more. The last quarter is held out.
    settings : FineTuning
    labels : array, optional
        Classes ``[N]`` or ``[N, H, W]`` of the samples, if the settings want labels.
    tell : callable, optional
        Called with the current activity, the steps done, and their number.

    Raises :class:`TrainingError` for a network with several inputs or outputs, too few samples, and
    labels that do not fit.
    """
    samples = as_chunks(calibration)
    for what, count in (("inputs", len(graph.inputs)), ("outputs", len(graph.outputs))):
        if count != 1:
            raise TrainingError(
                f"fine-tuning trains networks with one input and one output; {graph.name} has "
                f"{count} {what}: cut it to one, or train it in a loop of your own"
            )
    if len(samples) < 2:
        raise TrainingError(
            f"fine-tuning needs at least 2 samples, to learn from and to compare on, not "
            f"{len(samples)}"
        )
    held = max(1, round(len(samples) * HELD_OUT))
    seen = Part(samples, 0, len(samples) - held)
    judge = Judge(graph, Part(samples, len(samples) - held, len(samples)))
    if settings.labels and (labels is None or len(labels) != len(samples)):
        raise TrainingError("fine-tuning with labels needs one label for each sample")
    before = judge(prepared)
    tuned = copy.deepcopy(prepared)
    for parameter in tuned.parameters():
        parameter.requires_grad_(True)
    tuned.use_batch_statistics(False)
    twin = _Twin(graph)
    with _Stored(seen, twin, labels if settings.labels else None) as stored, reproducible():
        schedule = Schedule(
            epochs=settings.epochs,
            batch_size=min(settings.batch_size, len(seen)),
            lr=settings.lr,
            weight_decay=0.0,
            warm_up=0.0,
        )
        teacher = FrozenTeacher(task=1.0 if settings.labels else 0.0)
        for state in Loop(tuned, stored, schedule, strategies=[teacher], twin=twin):
            tell("fine-tuning", state.step, state.steps)
    after = judge(tuned)
    kept = after.beats(before)
    return FineTuned(tuned if kept else prepared, before, after, kept)


class _Twin(nn.Module):
    """The float network as a module."""

    def __init__(self, graph: FloatGraph) -> None:
        super().__init__()
        self._graph = graph

    def forward(self, x: Tensor) -> Tensor:
        """The only output."""
        graph = self._graph
        return graph.evaluate({graph.inputs[0].name: x})[graph.outputs[0]]


class _Stored:
    """Inputs, in memory or in a temporary file, with labels or the decisions of ``twin``; a context
    manager that deletes the file."""

    def __init__(
        self, samples: SampleChunks, twin: _Twin, labels: NDArray[np.int64] | None
    ) -> None:
        self._store, self._count = Store(), len(samples)
        targets = []
        with torch.no_grad():
            for (x,) in samples:
                self._store.append("x", x)
                output = twin(x)
                targets.append(decisions(output))
        self.classes = output.shape[1]
        self._targets = torch.cat(targets)
        if labels is not None:
            given = torch.from_numpy(labels[: self._count].astype(np.int64))
            if given.numel() != self._targets.numel():
                raise TrainingError(
                    f"the labels of a sample have shape {list(given.shape[1:])}, the decisions of "
                    f"the network {list(self._targets.shape[1:])}"
                )
            self._targets = given.reshape(self._targets.shape)

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The samples ``indices``."""
        return self._store.gather("x", indices.tolist()), self._targets[indices]

    def __enter__(self) -> "_Stored":
        return self

    def __exit__(self, *_: object) -> None:
        self._store.__exit__()
