"""Arrays that users give in files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import UserError


def read_arrays(path: Path) -> NDArray[np.generic] | dict[str, NDArray[np.generic]]:
    """The array of an .npy file, or those of an .npz file by name; pickled objects are refused."""
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except (ValueError, EOFError) as error:
        raise UserError(
            f"{path} is not an array file of numbers (.npy, .npz): write one with numpy.save, "
            f"of floats or integers ({str(error).splitlines()[0]})"
        ) from error
