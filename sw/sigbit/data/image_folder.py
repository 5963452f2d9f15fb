"""Images in folders named after their classes."""

from pathlib import Path

import numpy as np

from sigbit.data.dataset import Dataset, EncodedImages
from sigbit.data.files import Files
from sigbit.errors import DataError
from sigbit_tools.pictures import SUFFIXES


def load_image_folder(files: Files, split: str, side: int | None = None) -> Dataset:
    """Read ``SPLIT/CLASS/IMAGE`` for any number of classes, which are numbered in order of their
    names.

    ``side`` scales the images to squares with sides of this many pixels, which
    :meth:`Dataset.batches` requires if their sizes differ. A split has the classes of its own
    folders. Names that begin with a dot are ignored.
    """
    root = files.require(split)
    folders = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    classes = sorted(name for name in folders if not name.startswith("."))
    if not classes:
        raise DataError(f"{root} must hold a folder for every class")
    paths: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        found = sorted(path for path in (root / name).rglob("*") if _is_image(path))
        if not found:
            raise DataError(f"{root / name} holds no image ({', '.join(SUFFIXES)})")
        paths += found
        labels += [number] * len(found)
    images = EncodedImages([str(path) for path in paths], lambda i: paths[i].read_bytes(), side)
    title = root.resolve().parent.name
    return Dataset(title, split, images, np.array(labels, np.int64), tuple(classes))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
