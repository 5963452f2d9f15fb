"""Detection of errors in a run before its folder is created and hours are spent on the twin."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sigbit import zoo
from sigbit.errors import TrainingError
from sigbit.ir.convolution import row_major_convolutions
from sigbit.quant import QuantSpec, prepare
from sigbit.training import networks
from sigbit.training.config import RunConfig
from sigbit.training.loop import Loop
from sigbit.training.machine import Machine
from sigbit.training.methods import strategies_of
from sigbit.training.samples import Splits, augmentation
from sigbit_hw.arch.preprocessing import ImageError

SAMPLES = 2


def rehearse(
    config: RunConfig,
    splits: Splits,
    spec: QuantSpec,
    network: Callable[[], nn.Module],
    machine: Machine,
) -> None:
    """Do everything up to the first steps, on two samples and the untrained ``network()``.

    Raises :class:`TrainingError`, ``ZooError`` or ``QuantizationError`` if data, network,
    schedules, quantizers and strategies are incompatible. Changes the state of torch's generator.
    """
    x, y = _samples(config, splits)
    model = network()
    _check_output(config, splits, _output(config, splits, model.eval(), x), y)
    for phase in ("float", "train", "continued"):
        schedule = getattr(config, phase)
        if schedule is not None:
            with _naming(phase):
                Loop(model, splits.train, schedule, machine=machine)
    prepared = prepare(network().eval(), spec, (x,), (x,))
    strategies = strategies_of(config.strategies)
    Loop(prepared, splits.train, config.train, strategies=strategies, twin=model, machine=machine)


def _samples(config: RunConfig, splits: Splits) -> tuple[Tensor, Tensor]:
    try:
        x, y = splits.train.batch(torch.arange(min(SAMPLES, len(splits.train))))
    except (zoo.ZooError, ImageError) as error:
        raise TrainingError(
            f"the network {config.model.name} does not read {splits.name}: {error}"
        ) from error
    augment = augmentation(config.data, splits.black)
    return (x, y) if augment is None else augment(x, y, torch.Generator())


def _output(config: RunConfig, splits: Splits, model: nn.Module, x: Tensor) -> Tensor:
    try:
        with torch.no_grad(), row_major_convolutions():
            output: Tensor = model(x)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise TrainingError(
            f"the network {config.model.name} with options {dict(config.model.options)} does not "
            f"read inputs {list(x.shape[1:])} of {splits.name}: {error}"
        ) from error
    return output


def _check_output(config: RunConfig, splits: Splits, output: Tensor, target: Tensor) -> None:
    name, classes = config.model.name, splits.train.classes
    if output.shape[2:] != target.shape[1:]:
        kinds = {True: "an answer for every pixel", False: "one answer for the whole input"}
        raise TrainingError(
            f"the network {name} gives {kinds[output.dim() > 2]}, {splits.name} has "
            f"{kinds[target.dim() > 1]}"
        )
    if output.shape[1] != classes and (output.shape[1], classes) != (1, 2):
        remedy = f": set model.options.classes = {classes}"
        options = networks.option_names(config.model)
        raise TrainingError(
            f"the network {name} has {output.shape[1]} outputs, {splits.name} has {classes} "
            f"classes{remedy if 'classes' in options else ''}"
        )


@contextmanager
def _naming(where: str) -> Iterator[None]:
    try:
        yield
    except TrainingError as error:
        raise TrainingError(f"{where}: {error}") from error
