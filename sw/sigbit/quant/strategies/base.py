"""What a training strategy is: hooks of the training loop.

A loop trains a :class:`~sigbit.quant.prepare.PreparedModel` with any number of strategies, in the
order in which they are given, and calls for every optimizer step

1. ``before_step`` and ``batch``, which may change the batch,
2. the model, and the task's loss of its output,
3. ``loss`` of every strategy, all of which are added to the task's,
4. backward, ``after_backward`` (gradients are there), the optimizer, ``after_step``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sigbit.quant.prepare import PreparedModel


@dataclass(frozen=True)
class Run:
    """A training run.

    Parameters
    ----------
    model : PreparedModel
        What is trained.
    twin : nn.Module
        The float model, trained on the same data, of which ``model`` was prepared.
    steps, epochs : int
        Optimizer steps and epochs of the whole run.
    task_loss : callable
        Loss of ``(output, target)``, a scalar: the mean over the batch.
    seed : int
        Seed of everything random; a strategy that draws numbers makes its own generator of it.
    """

    model: PreparedModel
    twin: nn.Module
    steps: int
    epochs: int
    task_loss: Callable[[Tensor, Tensor], Tensor]
    seed: int


@dataclass
class Step:
    """One optimizer step: ``number`` from 0 on, ``progress`` = number / steps of the run, in
    [0, 1); inputs ``x``, targets ``y``; the model's ``output`` and the ``task_loss`` once they are
    computed."""

    number: int
    progress: float
    epoch: int
    x: Tensor
    y: Tensor
    output: Tensor | None = None
    task_loss: Tensor | None = None


class Strategy(nn.Module):
    """Base of all strategies: does nothing. Its parameters and buffers are its state, saved and
    resumed with the run; state that is neither goes through ``get_extra_state``."""

    def start(self, run: Run) -> None:
        """Called once, before the first step and before a resumed state is loaded. Raises
        ``QuantizationError`` if the strategy is not defined for the model's quantizers."""
        self.run = run

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Own parameter groups of the optimizer, after ``start``: by default all parameters of the
        strategy, without weight decay."""
        parameters = list(self.parameters())
        return [{"params": parameters, "weight_decay": 0.0}] if parameters else []

    def before_step(self, step: Step) -> None:
        """Set up the model for ``step``."""

    def batch(self, step: Step) -> None:
        """Change ``step.x`` or ``step.y``."""

    def loss(self, step: Step) -> Tensor | None:
        """What is added to the task's loss."""

    def after_backward(self, step: Step) -> None:
        """Change gradients."""

    def after_step(self, step: Step) -> None:
        """Change parameters."""

    def finish(self) -> None:
        """Called once, after the last step: leaves the model ready for ``convert``."""
