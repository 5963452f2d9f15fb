"""The data sets by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sigbit.data.cifar import load_cifar10, load_cifar100
from sigbit.data.dataset import Dataset
from sigbit.data.digits import PIXEL_MAX, load_digits
from sigbit.data.files import Files
from sigbit.data.idx import load_fashion_mnist, load_mnist
from sigbit.data.image_folder import load_image_folder
from sigbit.data.membrane import load_membrane
from sigbit.data.packed import load_cifar10_jpeg, load_imagenet, load_tiny_imagenet
from sigbit.data.speech import load_keywords, load_spoken_digits
from sigbit.data.svhn import load_svhn
from sigbit.errors import DataError


def _load_digits(files: Files, split: str) -> Dataset:
    digits = load_digits()
    images, labels = (
        (digits.train_x, digits.train_y) if split == "train" else (digits.test_x, digits.test_y)
    )
    pixels = np.rint(images.numpy()[:, 0] * PIXEL_MAX).astype(np.uint8)
    return Dataset("Digits (UCI, 8x8)", split, pixels, labels.numpy(), tuple("0123456789"))


@dataclass(frozen=True)
class DatasetEntry:
    """A data set.

    Parameters
    ----------
    name : str
        Name for :func:`load`.
    splits : tuple of str
        Its parts.
    origin : str
        "bundled", "download" (with checksum) or "folder" (the user must name one).
    load : callable
        Reads a split.
    aliases : tuple of str
        Names that a folder with this data set usually has.
    sizes_differ : bool
        True if images may differ in size, so that ``side`` applies.
    """

    name: str
    splits: tuple[str, ...]
    origin: str
    load: Callable[..., Dataset]
    aliases: tuple[str, ...] = ()
    sizes_differ: bool = False


_TRAIN_TEST, _TRAIN_VAL = ("train", "test"), ("train", "val")
_SOURCES = (
    DatasetEntry("digits", _TRAIN_TEST, "bundled", _load_digits),
    DatasetEntry("mnist", _TRAIN_TEST, "download", load_mnist, ("MNIST/raw",)),
    DatasetEntry(
        "fashion-mnist", _TRAIN_TEST, "download", load_fashion_mnist, ("FashionMNIST/raw",)
    ),
    DatasetEntry("cifar10", _TRAIN_TEST, "download", load_cifar10),
    DatasetEntry("cifar100", _TRAIN_TEST, "download", load_cifar100),
    DatasetEntry("cifar10-jpeg", _TRAIN_TEST, "folder", load_cifar10_jpeg),
    DatasetEntry("svhn", (*_TRAIN_TEST, "extra"), "download", load_svhn),
    DatasetEntry("tiny-imagenet-32", _TRAIN_VAL, "folder", load_tiny_imagenet),
    DatasetEntry("imagenet", _TRAIN_VAL, "folder", load_imagenet, ("imagenet-val700",), True),
    DatasetEntry("membrane", _TRAIN_TEST, "folder", load_membrane, ("isbi-membrane",)),
    DatasetEntry("spoken-digits", _TRAIN_TEST, "folder", load_spoken_digits, ("fsdd",)),
    DatasetEntry("keywords", ("test",), "folder", load_keywords, ("kws01-mfcc",)),
    DatasetEntry("image-folder", (*_TRAIN_VAL, "test"), "folder", load_image_folder, (), True),
)
_BY_NAME = {source.name: source for source in _SOURCES}


def names() -> tuple[str, ...]:
    """Names of all data sets."""
    return tuple(_BY_NAME)


def source(name: str) -> DatasetEntry:
    """Return the data set ``name``; raises :class:`DataError` if there is none."""
    if name not in _BY_NAME:
        raise DataError(f"there is no data set {name!r}; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def load(
    name: str,
    split: str = "train",
    folder: str | Path | None = None,
    *,
    side: int | None = None,
    progress: bool = False,
) -> Dataset:
    """Load a split of a data set.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    split : str
        One of the data set's splits.
    folder : str or Path or None
        Folder with the data set's files, or with a folder of its name. None: bundled data, or a
        download into the user's cache that is checked against its published checksum.
    side : int or None
        For images of different sizes: scale their centres to squares with sides of this many
        pixels.
    progress : bool
        Show a progress bar for downloads.

    Raises
    ------
    DataError
        Unknown name or split, a missing or damaged file, a failed download.
    """
    found = source(name)
    if split not in found.splits:
        raise DataError(f"{name} has the splits {', '.join(found.splits)}, not {split!r}")
    files = Files(name, None if folder is None else Path(folder), found.aliases, progress=progress)
    if side is None:
        return found.load(files, split)
    if not found.sizes_differ:
        raise DataError(f"the images of {name} have one size: side is for folders of images")
    if side < 1:
        raise DataError(f"side must be at least 1 pixel, not {side}")
    return found.load(files, split, side)
