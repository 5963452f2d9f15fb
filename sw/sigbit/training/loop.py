"""The training loop: float networks and prepared ones, with any number of strategies."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sigbit.errors import DivergedError, TrainingError
from sigbit.ir.convolution import compiled_part, row_major_convolutions
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.quantizers import Quantizer
from sigbit.quant.strategies.base import Run, Step, Strategy, optimizer_groups
from sigbit.training.machine import Machine, reproducible
from sigbit.training.methods import learning_rates
from sigbit.training.samples import Augment, Samples, TensorSamples
from sigbit.training.schedule import Schedule
from sigbit.training.states import check_like, check_optimizer, check_tensors
from sigbit.training.tasks import Score, Task
from sigbit_tools.shown import shown

TEST_BATCH = 256


@dataclass(frozen=True)
class Progress:
    """State after a step: 1-based ``step`` of ``steps``, ``epoch`` of ``epochs``, the batch's loss,
    and the learning rate used."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    lr: float

    @property
    def ends_epoch(self) -> bool:
        """True if this was an epoch's last step."""
        return self.step * self.epochs == self.epoch * self.steps


class Loop:
    """A training as an iterator over its steps; between two steps it can be saved and resumed, with
    bit-identical results.

    Order and augmentation of step n are functions of the seed and n; all other random numbers come
    from torch's generator, whose state is saved as well.

    Parameters
    ----------
    model : nn.Module
        Trained in place; left in evaluation mode.
    samples : Samples
        Training data.
    schedule : Schedule
        Length, optimizer, learning rate.
    seed : int
        Random seed for the order of the data and the augmentation.
    strategies : sequence of Strategy
        For a :class:`~sigbit.quant.prepared.PreparedModel`, in this order.
    twin : nn.Module, optional
        The trained float model, which strategies may use.
    augment : callable, optional
        Function that modifies every batch.
    machine : Machine
        Environment of the training.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Samples,
        schedule: Schedule,
        *,
        seed: int = 0,
        strategies: Sequence[Strategy] = (),
        twin: nn.Module | None = None,
        augment: Augment | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.machine = Machine() if machine is None else machine
        self.model, self.samples, self.schedule = model, samples, schedule
        self.seed, self.augment = seed, augment
        self.per_epoch = len(samples) // schedule.batch_size
        self.steps, self.done = schedule.epochs * self.per_epoch, 0
        self._check()
        self.task = Task(samples.classes, schedule.label_smoothing)
        self.model.to(self.machine.device)
        self.strategies = nn.ModuleList(strategies)
        self._start(twin)
        groups = optimizer_groups(model, list(self._active()), schedule.weight_decay)
        hints = [
            g for m in model.modules() if isinstance(m, Quantizer) for g in m.parameter_groups()
        ]
        self.optimizer = schedule.make_optimizer(learning_rates(groups, hints, schedule.lr))
        self._trained = [p for g in self.optimizer.param_groups for p in g["params"]]
        self.rate = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda s: schedule.factor(s, max(1, self.steps), self.per_epoch)
        )

    def _check(self) -> None:
        size, processes = self.schedule.batch_size, self.machine.processes
        if self.per_epoch < 1:
            raise TrainingError(
                f"batch_size {size} is larger than the {len(self.samples)} training samples"
            )
        if size % processes:
            raise TrainingError(
                f"batch_size {size} must be a multiple of the {processes} processes"
            )
        part = compiled_part(self.model)
        if part is not None:
            raise TrainingError(
                f"{f'the part {part!r} of ' if part else ''}the model is compiled by torch.jit or "
                "torch.compile, which choose memory layouts by themselves, among them one whose "
                "kernels corrupt memory (docs/troubleshooting.md): give the plain module"
            )

    def _start(self, twin: nn.Module | None) -> None:
        if not len(self.strategies):
            return
        if not isinstance(self.model, PreparedModel) or twin is None:
            raise TypeError("strategies need a prepared model and its float twin")
        run = Run(self.model, twin, self.steps, self.schedule.epochs, self.task.loss, self.seed)
        for strategy in self._active():
            strategy.start(run)
        self.strategies.to(self.machine.device)

    def _active(self) -> Iterator[Strategy]:
        for strategy in self.strategies:
            assert isinstance(strategy, Strategy)
            yield strategy

    def __iter__(self) -> Iterator[Progress]:
        """Train from the present state; inside :func:`~sigbit.training.machine.reproducible`."""
        order = _Order(len(self.samples), self.seed)
        self.model.train()
        self.strategies.train()
        while self.done < self.steps:
            lr = float(self.optimizer.param_groups[0]["lr"])
            loss = self._step(order)
            self.done += 1
            epoch = (self.done - 1) // self.per_epoch + 1
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss is {loss} at step {self.done} of {self.steps} (epoch {epoch}): "
                    f"lower the learning rate ({lr:.3g} there), or set clip"
                )
            yield Progress(self.done, self.steps, epoch, self.schedule.epochs, loss, lr)
        for strategy in reversed(list(self._active())):
            strategy.finish()
        self.model.eval()

    def _step(self, order: "_Order") -> float:
        number = self.done
        x, y = self._batch(number, order)
        step = Step(number, number / self.steps, number // self.per_epoch, x, y)
        with row_major_convolutions():
            for strategy in self._active():
                strategy.before_step(step)
            for strategy in self._active():
                strategy.batch(step)
        with self.machine.autocast():
            step.output = self._output(step.x)
            step.output = step.output.float() if self._mixed else step.output
            step.task_loss = self.task.loss(step.output, step.y)
            loss = step.task_loss
            with row_major_convolutions():
                for strategy in self._active():
                    extra = strategy.loss(step)
                    loss = loss if extra is None else loss + extra
        self.optimizer.zero_grad(set_to_none=True)
        self.machine.backward(loss)
        self.machine.average_gradients(self._trained)
        for strategy in self._active():
            strategy.after_backward(step)
        if self.schedule.clip:
            nn.utils.clip_grad_norm_(self._trained, self.schedule.clip)
        self.optimizer.step()
        self.rate.step()
        for strategy in self._active():
            strategy.after_step(step)
        self.machine.agree(self.model.buffers())
        self.machine.agree(self.strategies.buffers())
        return float(self.machine.sum(loss.detach())) / self.machine.processes

    def _output(self, x: Tensor) -> Tensor:
        if isinstance(self.model, PreparedModel):  # its convolutions are row-major anyway
            prepared: Tensor = self.model(x)
            return prepared
        with row_major_convolutions():
            output: Tensor = self.model(x)
            return output

    @property
    def _mixed(self) -> bool:
        return self.machine.facts()["precision"] != "no"

    def _batch(self, number: int, order: "_Order") -> tuple[Tensor, Tensor]:
        size = self.schedule.batch_size
        indices = order.epoch(number // self.per_epoch)
        indices = indices[number % self.per_epoch * size :][:size]
        random = torch.Generator().manual_seed((self.seed << 32) + number)
        mine = slice(self.machine.rank, None, self.machine.processes)
        if self.augment is None:
            x, y = self.samples.batch(indices[mine])
        else:  # of the whole batch, so that the number of processes changes nothing
            x, y = self.augment(*self.samples.batch(indices), random)
            x, y = x[mine], y[mine]
        return x.to(self.machine.device), y.to(self.machine.device)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on."""
        cuda = self.machine.device.type == "cuda"
        return {
            "step": self.done,
            "model": self.model.state_dict(),
            "strategies": self.strategies.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rate": self.rate.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if cuda else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned; raises :class:`TrainingError`,
        without changes, if it belongs to another training or is damaged."""
        self._check_state(state)
        self.done = state["step"]
        self.model.load_state_dict(state["model"])
        self.strategies.load_state_dict(state["strategies"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate.load_state_dict(state["rate"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"])
        self.model.train()

    def _check_state(self, state: Mapping[str, Any]) -> None:
        what, own = "the checkpoint", self.state_dict()
        if set(state) != set(own):
            raise TrainingError(f"{what} must hold {', '.join(own)}, not {shown(list(state))}")
        check_like(state["step"], own["step"], f"{what}: step")
        if not 0 <= state["step"] <= self.steps:
            raise TrainingError(f"{what}: step must be in [0, {self.steps}], not {state['step']}")
        check_tensors(state["model"], own["model"], f"{what}: model")
        check_tensors(state["strategies"], own["strategies"], f"{what}: strategies")
        check_optimizer(state["optimizer"], own["optimizer"], self._trained, f"{what}: optimizer")
        check_like(state["rate"], own["rate"], f"{what}: rate")
        check_like(state["random"], own["random"], f"{what}: random")
        if state["random_cuda"] is not None or own["random_cuda"] is not None:
            check_like(state["random_cuda"], own["random_cuda"], f"{what}: random_cuda")
        kept = torch.get_rng_state()
        try:
            torch.set_rng_state(state["random"])
        except RuntimeError as error:
            raise TrainingError(f"{what}: random is no state of a generator: {error}") from error
        finally:
            torch.set_rng_state(kept)


class _Order:
    """Order of the samples in every epoch: permutations drawn one after another."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._generator = count, torch.Generator().manual_seed(seed)
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def epoch(self, number: int) -> Tensor:
        """Permutation of epoch ``number``, which must not decrease."""
        while self._epoch < number:
            self._order = torch.randperm(self._count, generator=self._generator)
            self._epoch += 1
        return self._order


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    schedule: Schedule,
    progress: Callable[[Progress], None] | None = None,
    *,
    seed: int = 0,
) -> None:
    """Train ``model`` in place on inputs ``x`` and classes ``y``, on one thread of the CPU."""
    samples = TensorSamples(x, y, int(y.max()) + 1)
    with reproducible():
        for state in Loop(model, samples, schedule, seed=seed):
            if progress is not None:
                progress(state)


@torch.no_grad()
@row_major_convolutions()
def predict(model: nn.Module, x: Tensor, batch_size: int = TEST_BATCH) -> Tensor:
    """Outputs of ``model`` for inputs ``x``, in batches."""
    with reproducible():
        return torch.cat([model(batch) for batch in x.split(batch_size)])


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Fraction of inputs whose largest output is that of their class."""
    return float((predict(model, x).argmax(1) == y).double().mean())


@torch.no_grad()
@row_major_convolutions()
def evaluate(
    model: nn.Module, samples: Samples, machine: Machine, dtype: torch.dtype = torch.float32
) -> Score:
    """Evaluate ``model`` (in its present mode, on the machine's device) on ``samples``, distributed
    over the processes."""
    task = Task(samples.classes)
    counts = torch.zeros(task.classes, task.classes, dtype=torch.int64, device=machine.device)
    mine = torch.arange(machine.rank, len(samples), machine.processes)
    for indices in mine.split(TEST_BATCH):
        x, y = samples.batch(indices)
        output = model(x.to(machine.device, dtype))
        counts += task.confusion(output.to(machine.device), y.to(machine.device))
    return Score(machine.sum(counts).cpu())
