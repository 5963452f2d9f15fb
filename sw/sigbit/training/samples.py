"""Samples for training: batches of a data set by their indices, ready for a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sigbit import zoo
from sigbit.data import Dataset, EncodedImages, MissingError, load, source
from sigbit.errors import TrainingError
from sigbit.training import networks
from sigbit.training.config import DataConfig, ModelConfig
from sigbit.zoo.preprocessing import FeaturePreprocessing, Preprocessing
from sigbit_hw.arch.preprocessing import ImagePreprocessing

CACHED = 2 << 30
"""Size in bytes up to which decoded images are kept in memory; larger sets are decoded batch by
batch."""


class Samples(Protocol):
    """A split: batches by indices."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs ``[N, ...]`` (float32) and targets ``[N]`` or ``[N, H, W]`` (int64)."""


@dataclass(frozen=True)
class TensorSamples:
    """Samples that are already tensors: inputs ``x``, targets ``y``, number of ``classes``."""

    x: Tensor
    y: Tensor
    classes: int

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The samples ``indices``."""
        return self.x[indices], self.y[indices]


class DatasetSamples:
    """A split of :mod:`sigbit.data` in the form that a network reads; targets of pixels are scaled
    to the network's input by nearest neighbour."""

    def __init__(self, data: Dataset, how: Preprocessing) -> None:
        self._data, self._how = data, how
        self.classes, self.name = len(data.classes), data.name
        self._inputs: Any = _decoded(data.inputs)

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The samples ``indices``, preprocessed."""
        chosen: NDArray[np.int64] = indices.numpy()
        x = torch.from_numpy(self._how(self._inputs[chosen]))
        y = torch.from_numpy(self._data.labels[chosen].astype(np.int64))
        if y.dim() == 3:
            y = F.interpolate(y[:, None].float(), x.shape[2:], mode="nearest")[:, 0].long()
        return x, y


def _decoded(inputs: Any) -> Any:
    """``inputs``, decoded in advance if they fit in memory."""
    if isinstance(inputs, EncodedImages) and inputs[0].nbytes * len(inputs) <= CACHED:
        return inputs[:]
    return inputs


@dataclass(frozen=True)
class Splits:
    """Training and test samples of a run; ``input_range`` is the range of real values that inputs
    can have, None if it is not known; ``black`` is a black pixel, one value per channel.
    ``preprocessing`` describes how images became the inputs, if they did, and ``classes`` names the
    classes."""

    train: Samples
    test: Samples
    name: str
    input_range: tuple[float, float] | None
    black: tuple[float, ...] | None
    preprocessing: ImagePreprocessing | None
    classes: tuple[str, ...]


def load_splits(
    config: DataConfig, model: ModelConfig, folder: Path | None, *, progress: bool = False
) -> Splits:
    """The data of a run, with the split test, or else val, as test data. Raises ``DataError`` if
    files are missing, ``ZooError`` for unknown networks, :class:`TrainingError` if data and network
    are incompatible."""
    if not networks.is_own(model):
        zoo.entry(model.name)  # before data are looked for
    found = source(config.name)
    tests = [s for s in ("test", "val") if s in found.splits]
    if "train" not in found.splits or not tests:
        raise TrainingError(
            f"data.name: {config.name} has the splits {', '.join(found.splits)}; training needs "
            "train and test (or val)"
        )

    def read(split: str) -> Dataset:
        return load(config.name, split, folder, side=config.side, progress=progress)

    train = read("train")
    test = _first(read, tests)
    if train.classes != test.classes:
        raise TrainingError(
            f"{config.name}: {test.split} has other classes than train: {', '.join(test.classes)}, "
            f"not {', '.join(train.classes)}"
        )
    augmented = config.flip or config.crop
    how = networks.preprocessing(model, np.asarray(train.inputs[0]))
    pictures = how if isinstance(how, ImagePreprocessing) else None
    if augmented and pictures is None:
        raise TrainingError(f"data: flip and crop are for images, which {model.name} does not read")
    if config.crop and train.labels.ndim > 1:
        raise TrainingError("data.crop is for classes of whole images, not of pixels")
    return Splits(
        DatasetSamples(_some(train, config.train_samples), how),
        DatasetSamples(_some(test, config.test_samples), how),
        train.name,
        *_values(how),
        pictures,
        train.classes,
    )


def _first(read: Callable[[str], Dataset], splits: Sequence[str]) -> Dataset:
    """The first existing one of ``splits``; raises the error of the first one if none exists."""
    missing: list[MissingError] = []
    for split in splits:
        try:
            return read(split)
        except MissingError as error:
            missing.append(error)
    if len(splits) > 1:
        raise TrainingError(f"{missing[0]}; {' or '.join(splits[1:])} would do too")
    raise missing[0]


def _values(
    how: ImagePreprocessing | FeaturePreprocessing,
) -> tuple[tuple[float, float] | None, tuple[float, ...] | None]:
    """Range of the inputs, and a black pixel."""
    if isinstance(how, FeaturePreprocessing):
        return None, None
    ends = [
        ((value * how.scale - mean) / std)
        for mean, std in zip(how.mean, how.std, strict=True)
        for value in (0.0, 255.0)
    ]
    return (min(ends), max(ends)), tuple(ends[::2])


def _some(data: Dataset, count: int | None) -> Dataset:
    if count is None:
        return data
    if count > len(data):
        raise TrainingError(f"data.{data.split}_samples must be in [1, {len(data)}], not {count}")
    return data.take(np.sort(np.random.default_rng(0).permutation(len(data))[:count]))


Augment = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""Modifies a batch; all its random numbers come from the generator."""


def augmentation(config: DataConfig, black: tuple[float, ...] | None) -> Augment | None:
    """The augmentation of ``config``; None if there is none. ``black`` fills the pixels that a
    shift uncovers."""
    if not (config.flip or config.crop) or black is None:
        return None

    def augment(x: Tensor, y: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        if config.flip:
            flipped = torch.rand(len(x), generator=random) < 0.5
            x = torch.where(flipped.view(-1, 1, 1, 1), x.flip(3), x)
            y = torch.where(flipped.view(-1, 1, 1), y.flip(2), y) if y.dim() == 3 else y
        return (_shifted(x, config.crop, black, random) if config.crop else x), y

    return augment


def _shifted(x: Tensor, most: int, black: tuple[float, ...], random: torch.Generator) -> Tensor:
    """Every image shifted by its own integer number of pixels in [-most, most]."""
    count, channels, height, width = x.shape
    if most >= min(height, width):
        raise TrainingError(
            f"data.crop must be less than the {min(height, width)} pixels of an image's side, "
            f"not {most}"
        )
    fill = torch.tensor(black, dtype=x.dtype).view(1, -1, 1, 1)
    wide = fill.repeat(count, 1, height + 2 * most, width + 2 * most)
    wide[:, :, most : most + height, most : most + width] = x
    top, left = torch.randint(0, 2 * most + 1, (2, count), generator=random)
    rows = (top[:, None] + torch.arange(height)).view(count, 1, height, 1)
    columns = (left[:, None] + torch.arange(width)).view(count, 1, 1, width)
    images = torch.arange(count).view(-1, 1, 1, 1)
    return wide[images, torch.arange(channels).view(1, -1, 1, 1), rows, columns]
