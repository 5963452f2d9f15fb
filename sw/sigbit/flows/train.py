"""Training of a configuration file, from data to the integer model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigbit.flows.arch_file import arch_path, write_arch
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch
from sigbit.training import Machine, Options, Progress, TrainingRun, load_config, load_splits


@dataclass(frozen=True, kw_only=True)
class TrainedModel(Result):
    """A trained, quantized and converted network.

    Parameters
    ----------
    folder, config : Path
        The folder of the run, and the configuration file.
    arch : str
        Its accelerator, as an argument for other commands' ``--arch``.
    model, dataset : str
        Names of the network and of the data set.
    accuracy_float, accuracy_quantized, accuracy_deployed : float
        Shares of the test samples, of the float network, the trained quantized network and the
        integer model.
    test_samples : int
    seed : int
        Random seed for initialization and training.
    epochs : int
        Epochs of quantization-aware training.
    digest : str
        Digest of the configuration.
    machine : mapping
        The machine that it was trained on.
    measures : mapping
        Measurements of the strategies.
    mean_iou_float, mean_iou_quantized, mean_iou_deployed : float, optional
        Mean intersections over union, if the targets are images.
    basis_error : mapping, optional
        Squared errors of the integers that represent learned bases, by "weights" or "activations"
        and by layer.
    bits : mapping, optional
        Bits of each layer's weights, if they were learned.
    """

    folder: Path
    config: Path
    arch: str
    model: str
    dataset: str
    accuracy_float: float
    accuracy_quantized: float
    accuracy_deployed: float
    test_samples: int
    seed: int
    epochs: int
    digest: str
    machine: Mapping[str, Any]
    measures: Mapping[str, Any]
    mean_iou_float: float | None = None
    mean_iou_quantized: float | None = None
    mean_iou_deployed: float | None = None
    basis_error: Mapping[str, Mapping[str, float]] | None = None
    bits: Mapping[str, int] | None = None


def train(
    config: Path,
    output: Path,
    *,
    data: Path | None = None,
    options: Options | None = None,
    machine: Machine | None = None,
    tell: Tell = silent,
) -> TrainedModel:
    """Train a float network, quantize it, train that, and convert it to integers.

    ``KeyboardInterrupt`` (Ctrl-C, or SIGTERM) leaves a checkpoint in ``output``, from which the
    same call with ``Options(resume=True)`` continues.

    Parameters
    ----------
    config : Path
        A TOML file with the training configuration.
    output : Path
        The folder of the run, which is created.
    data : Path, optional
        The folder of data sets.
    options : Options, optional
        Options that do not change the result.
    machine : Machine, optional
        The processes and the device to train on; one process on the CPU if not given.
    """
    watch = Stopwatch()
    run = load_config(config)
    machine = Machine() if machine is None else machine
    splits = load_splits(run.data, run.model, data, progress=machine.is_main)
    work = TrainingRun(
        run, splits, output, machine=machine, options=options, tell=steps(tell, machine)
    )
    summary = work.finish()
    arch = run.quantizer.arch
    if not isinstance(arch, str):  # not a preset: a file for other commands
        arch = str(arch_path(output))
        if machine.is_main:
            write_arch(run.quantizer.accelerator, output)
    return TrainedModel(folder=output, config=config, arch=arch, **{**summary, **watch.read()})


def steps(tell: Tell, machine: Machine, title: str = "") -> Callable[[str, Progress], None]:
    """Return a callback of :class:`~sigbit.training.TrainingRun` that reports phase, epoch and
    loss, after ``title``; of several processes only the main one reports."""

    def told(phase: str, state: Progress) -> None:
        if machine.is_main:
            what = f"{title}{phase}: epoch {state.epoch} of {state.epochs}, loss {state.loss:.4f}"
            tell(what, state.step, state.steps)

    return told
