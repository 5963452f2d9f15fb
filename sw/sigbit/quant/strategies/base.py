"""Base class of training strategies: hooks of the training loop.

A loop trains a :class:`~sigbit.quant.prepared.PreparedModel` with any number of strategies, in the
given order. It calls ``start`` of each before it creates the optimizer (from
:func:`optimizer_groups`), and for every optimizer step

1. ``before_step`` and ``batch``, which may modify the batch,
2. the model, and the task loss of its output,
3. ``loss`` of every strategy, all of which are added to the task loss,
4. backward, ``after_backward`` (gradients are available), the optimizer, ``after_step``.

At the end it calls ``finish`` of each, in reverse order.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sigbit.errors import QuantizationError
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.plan.plans import InputPlan
from sigbit.quant.prepared import PreparedModel


@dataclass(frozen=True)
class Run:
    """A training run.

    Parameters
    ----------
    model : PreparedModel
        Model to train.
    twin : nn.Module
        The float model from which ``model`` was prepared, trained on the same data.
    steps, epochs : int
        Optimizer steps and epochs of the whole run.
    task_loss : callable
        Loss of ``(output, target)``, a scalar: the mean over the batch.
    seed : int
        Random seed; a strategy that draws random numbers creates its own generator from it.
    """

    model: PreparedModel
    twin: nn.Module
    steps: int
    epochs: int
    task_loss: Callable[[Tensor, Tensor], Tensor]
    seed: int


@dataclass
class Step:
    """One optimizer step: ``number``, starting at 0; ``progress`` = number / steps of the run, in
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
    resumed with the run; other state goes through ``get_extra_state``."""

    run: Run

    def start(self, run: Run) -> None:
        """Set up; called once, before the first step and before a resumed state is loaded. Raises
        ``QuantizationError`` if the strategy is not defined for the model's quantizers."""
        self.run = run

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Own parameter groups of the optimizer, called after ``start``: by default all parameters
        of the strategy, without weight decay. They may include parameters of the model, which then
        are in no other group."""
        parameters = list(self.parameters())
        return [{"params": parameters, "weight_decay": 0.0}] if parameters else []

    def before_step(self, step: Step) -> None:
        """Set up the model for ``step``."""

    def batch(self, step: Step) -> None:
        """Change ``step.x`` or ``step.y``."""

    def loss(self, step: Step) -> Tensor | None:
        """Addition to the task loss."""

    def after_backward(self, step: Step) -> None:
        """Change gradients."""

    def after_step(self, step: Step) -> None:
        """Change parameters."""

    def finish(self) -> None:
        """Clean up; called once, after the last step: leaves the model ready for ``convert``."""

    def measures(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """Measurements of the trained model besides its accuracy, by name, on test samples; called
        after ``finish``."""
        return {}


def optimizer_groups(
    model: nn.Module, strategies: Sequence[Strategy], weight_decay: float
) -> list[dict[str, Any]]:
    """Parameter groups of a run's optimizer, with every parameter in exactly one: those that
    strategies name, then the model's others, of which vectors and scalars (biases, batch norms,
    scales) do not decay. Call it after ``start`` of all strategies."""
    groups = [dict(g) for s in strategies for g in s.parameter_groups()]
    taken = {id(p) for g in groups for p in g["params"]}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    matrices, vectors = [p for p in rest if p.dim() > 1], [p for p in rest if p.dim() <= 1]
    own = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [g for g in own if g["params"]] + groups


def weighted_layers(model: PreparedModel, *, first_last: bool = True) -> dict[str, QuantLayer]:
    """Layers with trained weights by the name of their tensor; of layers with the same weights
    (steps of a recurrence) the first one. Without ``first_last``, layers that read an input or
    produce an output are omitted."""
    inputs = {p.name for p in model.plan.layers if isinstance(p, InputPlan)}
    found: dict[str, QuantLayer] = {}
    seen: set[int] = set()
    for p in model.plan.layers:
        module = model.quant_module(p.name)
        if not isinstance(module, QuantLayer) or module.weight_quantizer is None:
            continue
        if id(module.weight_quantizer) in seen:
            continue
        seen.add(id(module.weight_quantizer))
        if first_last or not (
            module.is_output or inputs.intersection(s.tensor for s in module.sources)
        ):
            found[p.name] = module
    if not found:
        raise QuantizationError(
            f"{model.graph_name} has no layers with trained weights"
            + ("" if first_last else " beside the first and the last: set first_last")
        )
    return found


def users(model: PreparedModel, layer: QuantLayer) -> list[QuantLayer]:
    """All layers that have the weight quantizer of ``layer``, including itself."""
    return [
        m
        for m in model.layers
        if isinstance(m, QuantLayer) and m.weight_quantizer is layer.weight_quantizer
    ]


def device_of(model: nn.Module) -> torch.device:
    """Device of the model's parameters."""
    return next(model.parameters()).device


class Hooked(Strategy):
    """Base of strategies that hook into the model, and draw random numbers whose state is saved."""

    random: "Randomness"

    def __init__(self) -> None:
        super().__init__()
        self._handles: list[RemovableHandle] = []

    def start(self, run: Run) -> None:
        """Seed the random number generator."""
        super().start(run)
        self.random = Randomness(run.seed, device_of(run.model))

    def keep(self, handles: Iterable[RemovableHandle]) -> None:
        """Register hooks to be removed at the end."""
        self._handles += handles

    def finish(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def get_extra_state(self) -> dict[str, Tensor]:
        """Return the state of the random number generator."""
        return {"random": self.random.state}

    def set_extra_state(self, state: Any) -> None:
        """Restore the state of the random number generator."""
        self.random.state = state["random"]


class Randomness:
    """Random numbers of one strategy: a generator with the run's seed whose state can be saved."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)

    @property
    def state(self) -> Tensor:
        """The generator's state."""
        return self.generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self.generator.set_state(state.cpu())


def check(condition: bool, name: str, allowed: str, value: object) -> None:
    """Raise :class:`QuantizationError` for a parameter that is out of range."""
    if not condition:
        raise QuantizationError(f"{name} must be {allowed}, not {value!r}")
