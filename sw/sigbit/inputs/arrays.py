"""Arrays from users' files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import UserError
from sigbit_tools.archives import ZIP, read_npy, read_npz
from sigbit_tools.files import FileError


def read_arrays(path: Path) -> NDArray[np.generic] | dict[str, NDArray[np.generic]]:
    """Read the array of an ``.npy`` file, or the arrays of an ``.npz`` file by name; pickled
    objects are refused."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                packed = file.read(len(ZIP)) == ZIP
            return read_npz(path) if packed else read_npy(path)
        return read_npy(path)
    except FileError as error:
        raise UserError(
            f"{error}: write one with numpy.save or numpy.savez, of floats or integers"
        ) from error
