"""Results of a finished run, loaded again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sigbit.errors import TrainingError
from sigbit.quant import IntegerModel
from sigbit.quant.quantizers import widen
from sigbit.training import networks
from sigbit.training.config import RunConfig
from sigbit.training.files import load_weights
from sigbit.training.folder import RunFolder


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Parameters
    ----------
    config : RunConfig
    float_model : nn.Module
        The trained float network, in evaluation mode.
    integer : IntegerModel
        The trained quantized network in integers, for :func:`sigbit.compile`.
    summary : mapping
        Accuracies and what else was measured.
    """

    config: RunConfig
    float_model: nn.Module
    integer: IntegerModel
    summary: Mapping[str, Any]


def load_run(path: str | Path) -> TrainedRun:
    """Load the run in folder ``path``, which ``sigbit train`` has made.

    An own network is made by its class again, which must be where it was, relative to the working
    directory. :class:`TrainingError` if there is no run, it is not finished, or the file of its
    network has changed since.
    """
    folder = RunFolder(Path(path))
    table = folder.configuration()
    config = RunConfig.from_table(table)
    if config.model.source != table["model"].get("source"):
        raise TrainingError(
            f"{config.model.name} has changed since {path} was trained: bring back the file that "
            "it was trained with"
        )
    summary = folder.results()
    if summary is None:
        raise TrainingError(f"{path} is not finished: `sigbit train CONFIG -o {path} --resume`")
    integer = IntegerModel.load(folder.model)
    model = networks.build(config.model)
    if config.model.widen > 1:
        examples = [torch.zeros(2, *n.axes.shape(n.type.shape)) for n in integer.graph.inputs]
        model = widen(model.eval(), config.model.widen, *examples)
    load_weights(model, folder.twin)
    return TrainedRun(config, model.eval(), integer, summary)
