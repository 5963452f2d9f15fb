"""A run from data to integers: the float twin, the prepared network, the training of its
quantization, the integer model, and the evaluation of each of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sigbit import zoo
from sigbit.quant import PreparedModel, QuantSpec, convert, prepare
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.quantizers import widen
from sigbit.quant.quantizers.lq_nets import LqNets
from sigbit.quant.strategies.bits import with_weight_bits
from sigbit.quant.strategies.sinareq import Sinareq
from sigbit.training import networks
from sigbit.training.config import RunConfig
from sigbit.training.files import (
    load_weights,
    save,
    save_weights,
    write_json,
)
from sigbit.training.folder import RunFolder
from sigbit.training.interrupt import Interrupt
from sigbit.training.log import Log
from sigbit.training.loop import Loop, Progress, evaluate
from sigbit.training.machine import Machine
from sigbit.training.methods import quant_spec, strategies_of
from sigbit.training.rehearsal import rehearse
from sigbit.training.samples import Splits, augmentation
from sigbit.training.schedule import Schedule
from sigbit.training.states import check_tensors
from sigbit.training.tasks import Score
from sigbit_tools.files import replacing
from sigbit_tools.stopwatch import Stopwatch

FLOAT, QUANTIZED, CONTINUED = "float", "quantized", "continued"
"""Phases of a run."""
MEASURED = 1000
"""Number of test samples on which strategies measure."""

Tell = Callable[[str, Progress], None]
"""Called after every step with the phase and its progress."""


@dataclass(frozen=True)
class Options:
    """Options that do not change the result.

    Parameters
    ----------
    resume : bool
        Resume from the folder's checkpoint.
    every : int
        Steps between checkpoints; 0: one per epoch.
    twins : Path, optional
        Folder in which float twins are stored for other runs with the same data, network, schedule
        and seed.
    tensorboard : bool
        Also write TensorBoard events.
    """

    resume: bool = False
    every: int = 0
    twins: Path | None = None
    tensorboard: bool = False


class TrainingRun:
    """One run in a folder; :meth:`finish` completes it.

    ``KeyboardInterrupt`` (Ctrl-C, or SIGTERM) writes a checkpoint first.
    """

    def __init__(
        self,
        config: RunConfig,
        splits: Splits,
        path: Path,
        *,
        machine: Machine | None = None,
        options: Options | None = None,
        tell: Tell | None = None,
    ) -> None:
        self.config, self.splits = config, splits
        self.machine = Machine() if machine is None else machine
        self.options = Options() if options is None else options
        self.folder = RunFolder(path)
        self._tell = tell or (lambda phase, state: None)
        self._spec = quant_spec(config.quantizer, splits.input_range)
        self._strategies = strategies_of(config.strategies)
        self._more: dict[str, Any] = {"measures": {}}
        facts, resume = self.machine.facts(), self.options.resume
        if self.machine.is_main:
            self.folder.check(config, facts, resume)
        if not resume:
            rehearse(config, splits, self._spec, self._network, self.machine)
        if self.machine.is_main:
            self.folder.tidy() if resume else self.folder.begin(config, facts)
        self._log = (
            Log(path, tensorboard=self.options.tensorboard) if self.machine.is_main else None
        )

    def finish(self) -> dict[str, Any]:
        """Complete the training, and return the summary."""
        if (done := self.folder.results()) is not None:
            return done
        spent = Stopwatch()
        with self.machine.reproducible(), Interrupt() as interrupt:
            self._interrupt = interrupt
            state = self.folder.restore()
            if state is not None and self._log is not None:
                self._log.rewind(state["log"])
            twin = self._twin(_of(FLOAT, state))
            float_score = evaluate(twin, self.splits.test, self.machine)
            prepared = self._prepared(twin)
            if self.config.continued is None:
                self._quantized(prepared, twin, _of(QUANTIZED, state))
            else:
                prepared = self._staged(prepared, twin, state)
            summary = self._results(prepared, float_score)
        summary |= spent.read()
        if self.machine.is_main:
            write_json(self.folder.summary, summary)
            self.folder.checkpoint.unlink(missing_ok=True)
        return summary

    def _network(self) -> nn.Module:
        torch.manual_seed(self.config.seed)
        model = networks.build(self.config.model)
        if self.config.model.checkpoint is not None:
            zoo.load_checkpoint(model, self.config.model.checkpoint)
        if self.config.model.widen > 1:
            x, _ = self.splits.train.batch(torch.arange(2))
            model = widen(model.eval(), self.config.model.widen, x).train()
        return model

    def _twin(self, state: dict[str, Any] | None) -> nn.Module:
        """The trained float network."""
        model, kept = self._network(), self.folder.twin
        shared = (
            self.options.twins and self.options.twins / f"{self.config.twin_digest}.safetensors"
        )
        found = next((p for p in (kept, shared) if p is not None and p.exists()), None)
        if self.machine.any(found is None):
            found = None
        if found is not None:
            load_weights(model, found)
            if found != kept and self.machine.is_main:
                with replacing(kept) as file:
                    file.write(found.read_bytes())
            return model.to(self.machine.device).eval()
        self._fit(FLOAT, self._loop(model, self.config.float), state)
        if self.machine.is_main:
            save_weights(model, kept)
            if shared is not None:
                shared.parent.mkdir(parents=True, exist_ok=True)
                with replacing(shared) as file:
                    file.write(kept.read_bytes())
        return model.eval()

    def _loop(self, model: nn.Module, schedule: Schedule, **more: Any) -> Loop:
        return Loop(
            model,
            self.splits.train,
            schedule,
            seed=self.config.seed,
            augment=augmentation(self.config.data, self.splits.black),
            machine=self.machine,
            **more,
        )

    def _prepared(self, twin: nn.Module, spec: QuantSpec | None = None) -> PreparedModel:
        """The twin with quantizers whose scales are chosen from the first training samples of a
        fixed permutation."""
        count = min(self.config.data.calibration, len(self.splits.train))
        order = torch.randperm(
            len(self.splits.train), generator=torch.Generator().manual_seed(self.config.seed)
        )
        x, _ = self.splits.train.batch(order[:count])
        copy = self._network()
        copy.load_state_dict({k: v.cpu() for k, v in twin.state_dict().items()})
        return prepare(copy.eval(), spec or self._spec, (x[:2],), (x,))

    def _quantized(
        self, prepared: PreparedModel, twin: nn.Module, state: dict[str, Any] | None
    ) -> None:
        torch.manual_seed(self.config.seed)
        loop = self._loop(prepared, self.config.train, strategies=self._strategies, twin=twin)
        self._fit(QUANTIZED, loop, state)
        count = min(MEASURED, len(self.splits.test))
        x, y = self.splits.test.batch(torch.arange(count))
        for part in self._strategies:
            self._more["measures"] |= part.measures(x, y)

    def _staged(
        self, prepared: PreparedModel, twin: nn.Module, state: dict[str, Any] | None
    ) -> PreparedModel:
        """The network of the further stage: the weights of the first one, in the bits that it has
        learned, trained further without its strategies. The result of the first stage is stored in
        the folder, so that a resumed run need not repeat it."""
        assert self.config.continued is not None
        learned = next(s for s in self._strategies if isinstance(s, Sinareq))
        if not self.folder.stage.exists():
            self._quantized(prepared, twin, _of(QUANTIZED, state))
            if self.machine.is_main:
                values = prepared.trained(twin.state_dict())
                save(self.folder.stage, {"bits": learned.bits, "values": values, **self._more})
            self.machine.any(False)  # no process continues before the file exists
        stage = self.folder.restore_stage()
        self._more = {"bits": stage["bits"], "measures": stage["measures"]}
        trained = self._network()
        check_tensors(stage["values"], trained.state_dict(), str(self.folder.stage))
        trained.load_state_dict(stage["values"])
        further = self._prepared(trained, with_weight_bits(prepared, stage["bits"]))
        torch.manual_seed(self.config.seed)
        loop = self._loop(further, self.config.continued)
        self._fit(CONTINUED, loop, _of(CONTINUED, state))
        return further

    def _fit(self, phase: str, loop: Loop, state: dict[str, Any] | None) -> None:
        """Run ``loop`` from ``state``, with log and checkpoints."""
        total, before, begin = 0.0, 0.0, time.perf_counter()
        if state is not None:
            loop.load_state_dict(state["loop"])
            total, before = state["total"], state["seconds"]
        for progress in loop:
            total += progress.loss
            self._tell(phase, progress)
            if progress.ends_epoch:
                seconds = before + time.perf_counter() - begin
                self._record(phase, loop, progress, total / loop.per_epoch, seconds)
                total = 0.0
            every = self.options.every
            due = progress.step % every == 0 if every else progress.ends_epoch
            stop = self.machine.any(self._interrupt.pending)
            if due or stop:
                self._save(phase, loop, total, before + time.perf_counter() - begin)
            if stop:
                raise KeyboardInterrupt

    def _record(
        self, phase: str, loop: Loop, progress: Progress, loss: float, seconds: float
    ) -> None:
        loop.model.eval()
        score = evaluate(loop.model, self.splits.test, self.machine)
        loop.model.train()
        if self._log is not None:
            self._log.add(
                {
                    "phase": phase,
                    "epoch": progress.epoch,
                    "step": progress.step,
                    "loss": loss,
                    "lr": progress.lr,
                    "accuracy": score.accuracy,
                    "seconds": round(seconds, 3),
                }
            )

    def _class_names(self, prepared: PreparedModel) -> tuple[str, ...]:
        """Names of the channels of the output; none where one channel tells two classes."""
        (tensor, axes), *_ = prepared.plan.outputs
        shape = next(plan.shape for plan in prepared.plan.layers if plan.name == tensor)
        names = self.splits.classes
        return names if len(names) == axes.channels(shape) else ()

    def _save(self, phase: str, loop: Loop, total: float, seconds: float) -> None:
        if self._log is not None:
            self.folder.save(
                {
                    "phase": phase,
                    "loop": loop.state_dict(),
                    "total": total,
                    "seconds": seconds,
                    "log": self._log.rows,
                }
            )

    def _results(self, prepared: PreparedModel, float_score: Score) -> dict[str, Any]:
        """Convert the network, write the results, and evaluate them; the quantized network is
        evaluated in the exact float64 form."""
        quantized = evaluate(prepared, self.splits.test, self.machine)
        _, target = self.splits.test.batch(torch.zeros(1, dtype=torch.int64))
        prepared.cpu().double()
        integer = convert(
            prepared, preprocessing=self.splits.preprocessing, classes=self._class_names(prepared)
        )
        on_cpu = Machine(threads=self.machine.threads)
        if self.machine.is_main:
            save(self.folder.path / "prepared.pt", prepared.state_dict())
            integer.save(self.folder.model)
        deployed = evaluate(integer, self.splits.test, on_cpu)
        config = self.config
        document: dict[str, Any] = {
            "model": config.model.name,
            "dataset": self.splits.name,
            "accuracy_float": float_score.accuracy,
            "accuracy_quantized": quantized.accuracy,
            "accuracy_deployed": deployed.accuracy,
            "test_samples": len(self.splits.test),
            "seed": config.seed,
            "epochs": config.train.epochs,
            "digest": config.digest,
            "machine": self.machine.facts(),
            **self._more,
        }
        scores = {"float": float_score, "quantized": quantized, "deployed": deployed}
        if target.dim() > 1:
            document |= {f"mean_iou_{name}": score.mean_iou for name, score in scores.items()}
        if errors := _basis_errors(prepared):
            document["basis_error"] = errors
        return document


def _basis_errors(model: PreparedModel) -> dict[str, dict[str, float]]:
    """:meth:`LqNets.basis_error` of "weights" and "activations" by layer name; empty if no tensor
    uses the method."""
    found: dict[str, dict[str, float]] = {}
    for p in model.plan.layers:
        layer = model.quant_module(p.name)
        if isinstance(layer, QuantLayer):
            sides = {"weights": layer.weight_quantizer, "activations": layer.out_quantizer}
            for what, quantizer in sides.items():
                if isinstance(quantizer, LqNets):
                    found.setdefault(what, {})[p.name] = quantizer.basis_error()
    return found


def _of(phase: str, state: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a checkpoint if it is of ``phase``, else None."""
    return state if state is not None and state["phase"] == phase else None
