"""Required content of a run's files, checked before a training resumes from them.

A checkpoint is compared with the state of the training that it is for: the same keys, types and
shapes. A matching checkpoint can be loaded, and any other is refused before anything is changed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from sigbit.errors import TrainingError
from sigbit_hw.arch.documents import Schema, validated
from sigbit_tools.shown import shown

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 53)]
Text = Annotated[str, Field(strict=True)]


class Row(Schema):
    """A row of the log."""

    phase: Text
    epoch: Count
    step: Count
    loss: Number
    lr: Number
    accuracy: Number
    seconds: Number


class Checkpoint(Schema):
    """State of a training; ``loop`` is compared with the training's own state."""

    format: Count
    phase: Text
    loop: dict[str, Any]
    total: Number
    seconds: Number
    log: tuple[Row, ...]


class Stage(Schema):
    """Result of the first of two stages."""

    bits: dict[Text, Annotated[int, Field(strict=True, ge=1, le=32)]]
    values: dict[Text, Any]
    measures: dict[Text, Any]


class Summary(BaseModel):
    """The results of a run, as far as other parts of sigbit read them."""

    model: Text
    dataset: Text
    accuracy_float: Number
    accuracy_quantized: Number
    accuracy_deployed: Number
    test_samples: Count
    seconds: Number


def check(schema: type[BaseModel], document: object, what: str) -> None:
    """Raise :class:`TrainingError`, which refers to the document as ``what``, unless it matches
    ``schema``."""
    try:
        validated(schema, document)
    except ValueError as error:
        raise TrainingError(f"{what} is damaged: {error}") from error


def check_tensors(found: object, wanted: Mapping[str, Any], what: str) -> None:
    """Raise :class:`TrainingError` unless ``found`` has the tensors ``wanted``, by name, shape and
    type."""
    if not isinstance(found, Mapping) or set(found) != set(wanted):
        names = set(found) ^ set(wanted) if isinstance(found, Mapping) else found
        raise TrainingError(f"{what}: there are other tensors than in this network, {shown(names)}")
    for name, value in wanted.items():
        check_like(found[name], value, f"{what}: {name}")


def check_like(found: object, wanted: object, what: str) -> None:
    """Raise :class:`TrainingError` unless ``found`` has the structure of ``wanted``: tensors of the
    same type and shape, containers with the same keys or length, plain values of the same type."""
    if isinstance(wanted, Tensor):
        if not isinstance(found, Tensor):
            raise TrainingError(f"{what} must be a tensor, not {shown(found)}")
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise TrainingError(
                f"{what} must be {wanted.dtype} {list(wanted.shape)}, not {found.dtype} "
                f"{list(found.shape)}"
            )
    elif isinstance(wanted, Mapping):
        if not isinstance(found, Mapping) or set(found) != set(wanted):
            raise TrainingError(f"{what} must have the keys {shown(list(wanted))}, {shown(found)}")
        for key, value in wanted.items():
            check_like(found[key], value, f"{what}.{key}")
    elif isinstance(wanted, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(wanted):
            raise TrainingError(f"{what} must be a list of {len(wanted)}, not {shown(found)}")
        for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
            check_like(one, other, f"{what}[{index}]")
    elif type(found) is not type(wanted):
        kind = type(wanted).__name__
        raise TrainingError(f"{what} must be of type {kind}, not {shown(found)}")
    elif isinstance(found, float) and not math.isfinite(found):
        raise TrainingError(f"{what} must be finite, not {found}")


def check_optimizer(
    found: object, wanted: Mapping[str, Any], parameters: Sequence[Tensor], what: str
) -> None:
    """Raise :class:`TrainingError` unless ``found`` is a state of the optimizer whose present state
    is ``wanted``: the same groups, and for each of the ``parameters`` numbers and tensors of its
    shape, or none yet."""
    if not isinstance(found, Mapping) or set(found) != {"state", "param_groups"}:
        raise TrainingError(f"{what} must have a state and groups, not {shown(found)}")
    check_like(found["param_groups"], wanted["param_groups"], f"{what}.param_groups")
    for mine, group in zip(found["param_groups"], wanted["param_groups"], strict=True):
        if list(mine["params"]) != list(group["params"]):
            raise TrainingError(f"{what}: the groups hold other parameters than in this network")
    if not isinstance(found["state"], Mapping):
        raise TrainingError(f"{what}.state must be a table, not {shown(found['state'])}")
    for index, values in found["state"].items():
        where = f"{what}.state[{shown(index)}]"
        if type(index) is not int or not 0 <= index < len(parameters):
            raise TrainingError(f"{where}: there are {len(parameters)} parameters")
        _check_moments(values, parameters[index], where)


def _check_moments(values: object, parameter: Tensor, where: str) -> None:
    if not isinstance(values, Mapping):
        raise TrainingError(f"{where} must be a table, not {shown(values)}")
    for name, value in values.items():
        fits = isinstance(value, Tensor) and value.shape in (parameter.shape, torch.Size([]))
        if not isinstance(name, str) or not (fits or value is None or type(value) in (int, float)):
            raise TrainingError(
                f"{where}.{shown(name)} must be a number or a tensor {list(parameter.shape)}"
            )
