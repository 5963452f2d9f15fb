"""Image files packed into one .npz: CIFAR-10 as JPEG, ImageNet's validation images, small ImageNet.

``blob[offsets[i]:offsets[i + 1]]`` is image file i, ``labels[i]`` its class, ``names[i]`` its name.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from sigbit.data.arrays import read_npz
from sigbit.data.dataset import Dataset, EncodedImages
from sigbit.data.files import Files
from sigbit.data.image_folder import load_image_folder
from sigbit.errors import DataError
from sigbit_tools.files import FileError, read_text

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
IMAGENET_CLASSES = 1000
TEXT_MAX = 1 << 20
"""Maximum size of a list of classes in bytes."""


def _load(path: Path, title: str, split: str, classes: tuple[str, ...]) -> Dataset:
    blob, offsets, labels, names = read_npz(path, "blob", "offsets", "labels", "names")
    for array, kinds in ((blob, "u"), (offsets, "iu"), (labels, "iu"), (names, "US")):
        if array.ndim != 1 or array.dtype.kind not in kinds:
            raise DataError(
                f"{path} must hold blob (bytes), offsets, labels (whole numbers) and names (text), "
                f"each of one dimension, not {array.dtype} {list(array.shape)}"
            )
    increasing = bool((np.diff(offsets) >= 0).all())
    inside = len(offsets) and offsets[0] >= 0 and offsets[-1] <= len(blob)
    if len(offsets) != len(names) + 1 or not increasing or not inside:
        raise DataError(f"{path}: offsets do not divide the blob into {len(names)} files")

    def read(index: int) -> bytes:
        return blob[offsets[index] : offsets[index + 1]].tobytes()

    texts = [f"{path}, {name.decode() if isinstance(name, bytes) else name}" for name in names]
    return Dataset(title, split, EncodedImages(texts, read), labels.astype(np.int64), classes)


def _text(path: Path) -> str:
    try:
        return read_text(path, TEXT_MAX, "a list of classes")
    except FileError as error:
        raise DataError(str(error)) from error


def load_cifar10_jpeg(files: Files, split: str) -> Dataset:
    """CIFAR-10 with the losses of JPEG at quality 75: both train and test on it, and state it with
    results."""
    path = files.require(f"cifar10_{split}_jpeg.npz")
    return _load(path, "CIFAR-10 (JPEG)", split, CIFAR10_CLASSES)


def load_tiny_imagenet(files: Files, split: str) -> Dataset:
    """200 classes at 32x32; of the training images, the first 150 per class."""
    path = files.require("tiny32_train150.npz" if split == "train" else "tiny32_val.npz")
    classes = tuple(_text(files.require("wnids.txt")).split())
    return _load(path, "Tiny ImageNet (32x32)", split, classes)


def load_imagenet(files: Files, split: str, side: int | None = None) -> Dataset:
    """ImageNet's folders ``train`` and ``val``, or validation images in ``imagenet_val*.npz``.

    ``side`` scales images of folders to squares with sides of this many pixels.
    """
    packed = files.glob("imagenet_val*.npz")
    if packed is None or split != "val":
        if files.find(split) is None:
            others = ("imagenet_val*.npz",) if split == "val" else ()
            raise files.missing(f"{split} (a folder of class folders)", *others)
        return replace(load_image_folder(files, split, side), name="ImageNet")
    words = files.find("synset_words.txt")
    classes = tuple(str(number) for number in range(IMAGENET_CLASSES))
    if words is not None:
        lines = _text(words).splitlines()
        classes = tuple(line.partition(" ")[2] for line in lines if line)
    dataset = _load(packed, "ImageNet", split, classes)
    return replace(dataset, name=f"ImageNet ({len(dataset)} validation images)")
