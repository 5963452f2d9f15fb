"""Street View House Numbers, cropped digits, in their MATLAB files."""

from typing import Any

import numpy as np
from scipy.io import loadmat

from sigbit.data.dataset import Dataset
from sigbit.data.files import Files, Remote
from sigbit.errors import DataError

_URL = "http://ufldl.stanford.edu/housenumbers/"
_MD5 = {
    "train": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test": "eb5a983be6a315427106f1b164d9cef3",
    "extra": "a93ce644f1a588dc4d68dda5feec44a7",
}


def load_svhn(files: Files, split: str) -> Dataset:
    """73,257 training, 26,032 test or 531,131 extra images ``[N, 32, 32, 3]``.

    The files hold ``X`` [32, 32, 3, N] and ``y`` [N, 1], where 10 stands for the digit 0.
    """
    name = f"{split}_32x32.mat"
    path = files.fetch(Remote(name, _URL + name, "md5:" + _MD5[split]))
    try:
        content: dict[str, Any] = loadmat(path, variable_names=["X", "y"])
    except (ValueError, TypeError, OSError, EOFError, NotImplementedError) as error:
        raise DataError(f"{path} is not a MATLAB file: {error}") from error
    if "X" not in content or "y" not in content:
        raise DataError(f"{path} must hold the arrays X and y")
    pixels = np.asarray(content["X"])
    if pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3) or pixels.dtype != np.uint8:
        raise DataError(
            f"{path}: X must be bytes [32, 32, 3, N], not {pixels.dtype} {list(pixels.shape)}"
        )
    labels = np.asarray(content["y"]).reshape(-1).astype(np.int64)
    images = np.ascontiguousarray(pixels.transpose(3, 0, 1, 2))
    return Dataset("SVHN", split, images, np.where(labels == 10, 0, labels), tuple("0123456789"))
