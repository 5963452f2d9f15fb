"""Cell membranes in electron microscopy (ISBI 2012 challenge): 30 sections with binary masks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigbit.data.dataset import Dataset
from sigbit.data.files import Files
from sigbit.errors import DataError
from sigbit_tools.files import FileError
from sigbit_tools.pictures import read_image

SECTIONS = 30
HELD_OUT = 6
"""Number of labelled sections, the last ones, in the test split; the challenge's own test sections
have no labels."""


def _read(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise DataError(f"membrane needs {path}, which is not there")
    try:
        return read_image(path, str(path), "L")
    except FileError as error:
        raise DataError(str(error)) from error


def load_membrane(files: Files, split: str) -> Dataset:
    """24 training or 6 test sections ``[N, 512, 512]``; pixels are 0 on a membrane and 1 in a cell.

    The files are ``train/image/0.png`` to ``29.png`` and ``train/label`` with the same names.
    """
    root = files.require("train")
    trained = SECTIONS - HELD_OUT
    numbers = range(trained) if split == "train" else range(trained, SECTIONS)
    images = [_read(root / "image" / f"{number}.png") for number in numbers]
    masks = [_read(root / "label" / f"{number}.png") for number in numbers]
    for number, image, mask in zip(numbers, images, masks, strict=True):
        if not image.shape == mask.shape == images[0].shape:
            raise DataError(
                f"{root}: section {number} and its mask must be {images[0].shape} pixels, "
                f"not {image.shape} and {mask.shape}"
            )
    labels = (np.stack(masks) >= 128).astype(np.uint8)
    return Dataset("ISBI 2012 membranes", split, np.stack(images), labels, ("membrane", "cell"))
