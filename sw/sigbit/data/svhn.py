"""Street View House Numbers, cropped digits, in their MATLAB files."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat, whosmat

from sigbit.data.dataset import Dataset
from sigbit.data.files import Files, Remote
from sigbit.errors import DataError

_URL = "http://ufldl.stanford.edu/housenumbers/"
_MD5 = {
    "train": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test": "eb5a983be6a315427106f1b164d9cef3",
    "extra": "a93ce644f1a588dc4d68dda5feec44a7",
}


NUMBERS = frozenset(
    {"double", "single", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
)
"""MATLAB's numeric types that a file may contain."""
IMAGES_MAX = 1 << 20
"""Maximum number of images of a file; the largest has 531,131."""


def _read(path: Path) -> dict[str, Any]:
    """The arrays X and y of a MATLAB file, whose sizes are checked before they are read."""
    try:
        with path.open("rb") as file:
            found = {name: (shape, kind) for name, shape, kind in whosmat(file)}
            if not {"X", "y"} <= set(found):
                raise DataError(f"{path} must hold the arrays X and y")
            for name, item in (("X", 32 * 32 * 3), ("y", 1)):
                shape, kind = found[name]
                if kind not in NUMBERS or math.prod(shape) > item * IMAGES_MAX:
                    raise DataError(
                        f"{path}: {name} must hold at most {item * IMAGES_MAX:,} numbers, not "
                        f"{kind} {list(shape)}"
                    )
            file.seek(0)
            content: dict[str, Any] = loadmat(file, variable_names=["X", "y"])
    except DataError:
        raise
    except Exception as error:  # any failure of SciPy's reader
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise DataError(f"{path} is not a MATLAB file: {error}") from error
    if not {"X", "y"} <= set(content):
        raise DataError(f"{path} must hold the arrays X and y")
    return content


def load_svhn(files: Files, split: str) -> Dataset:
    """73,257 training, 26,032 test or 531,131 extra images ``[N, 32, 32, 3]``.

    The files hold ``X`` [32, 32, 3, N] and ``y`` [N, 1], where 10 stands for the digit 0.
    """
    name = f"{split}_32x32.mat"
    path = files.fetch(Remote(name, _URL + name, "md5:" + _MD5[split]))
    content = _read(path)
    pixels = np.asarray(content["X"])
    if pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3) or pixels.dtype != np.uint8:
        raise DataError(
            f"{path}: X must be bytes [32, 32, 3, N], not {pixels.dtype} {list(pixels.shape)}"
        )
    labels = np.asarray(content["y"]).reshape(-1)
    if labels.dtype.kind not in "iuf":
        raise DataError(f"{path}: y must hold numbers, not {labels.dtype}")
    labels = labels.astype(np.int64)
    images = np.ascontiguousarray(pixels.transpose(3, 0, 1, 2))
    return Dataset("SVHN", split, images, np.where(labels == 10, 0, labels), tuple("0123456789"))
