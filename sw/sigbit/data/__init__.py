"""Data sets: by name with :func:`load` as arrays, and the bundled digits as tensors."""

from sigbit.data.dataset import Dataset, EncodedImages
from sigbit.data.digits import load_digits
from sigbit.data.registry import DatasetEntry, load, names, source
from sigbit.data.split import Split
from sigbit.errors import DataError, MissingError

__all__ = [
    "DataError",
    "Dataset",
    "DatasetEntry",
    "EncodedImages",
    "MissingError",
    "Split",
    "load",
    "load_digits",
    "names",
    "source",
]
