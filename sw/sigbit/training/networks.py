"""Networks that a run can train: those of the zoo, and the user's own."""

import copy
import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sigbit import zoo
from sigbit.errors import TrainingError, UserError
from sigbit.python_objects import first_line, python_attribute
from sigbit.training.config import ModelConfig
from sigbit.zoo.preprocessing import FeaturePreprocessing, Preprocessing
from sigbit_hw.arch.preprocessing import ImagePreprocessing


def is_own(config: ModelConfig) -> bool:
    """Return whether a network is the user's own, not one of the zoo."""
    return ":" in config.name


def build(config: ModelConfig) -> nn.Module:
    """Return the network with weights of torch's generator. Raises :class:`TrainingError` or
    ``ZooError`` if there is none."""
    name, options = config.name, config.options
    try:
        model = _own(config) if is_own(config) else zoo.build(name, **options)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise TrainingError(
            f"model: there is no network {name} with options {dict(options)}: {first_line(error)}"
        ) from error
    if not isinstance(model, nn.Module):
        raise TrainingError(f"model: {name} must be an nn.Module, not {type(model).__name__}")
    return model.train()


def _own(config: ModelConfig) -> Any:
    value = _attribute(config.name)
    if not isinstance(value, nn.Module):
        return value(**config.options)
    if config.options:
        raise TrainingError(f"model.options: {config.name} is a network already: leave them out")
    return copy.deepcopy(value)


def _attribute(name: str) -> Any:
    try:
        value = python_attribute(name)
    except UserError as error:
        raise TrainingError(f"model: {error}") from error
    if not callable(value):
        raise TrainingError(
            f"model: {name} must be a class or a function that makes an nn.Module, or one"
        )
    return value


def option_names(config: ModelConfig) -> tuple[str, ...]:
    """Names of the network's options."""
    if not is_own(config):
        return zoo.entry(config.name).options
    value = _attribute(config.name)
    return () if isinstance(value, nn.Module) else tuple(inspect.signature(value).parameters)


def preprocessing(config: ModelConfig, sample: NDArray[Any]) -> Preprocessing:
    """Return the conversion of samples like ``sample`` to the network's input: that of the zoo, or
    that of the configuration for images; none for features. Raises :class:`TrainingError` for
    images without one."""
    if not is_own(config):
        return zoo.entry(config.name).preprocessing
    if sample.dtype != np.uint8:
        if config.images is not None:
            raise TrainingError("model.images is for images, which the data set does not hold")
        return FeaturePreprocessing(sample.shape)
    height, width, *rest = sample.shape
    channels = rest[0] if rest else 1
    if config.images is None:
        raise TrainingError(
            f"model.images: how images become the input of {config.name} is not known: give it as "
            f"a table with mean and std, {channels} numbers in [0, 1] each"
        )
    mean, std = config.images.mean, config.images.std
    if len(mean) != channels:
        raise TrainingError(
            f"model.images: mean must be {channels} numbers, one for each channel, not {len(mean)}"
        )
    try:
        return ImagePreprocessing((height, width), mean, std)
    except ValueError as error:
        raise TrainingError(f"model.images: {error}") from error
