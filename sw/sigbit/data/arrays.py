"""Arrays from .npz files, none of them pickled."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from sigbit.errors import DataError


def read_npz(path: Path, *names: str) -> tuple[NDArray[Any], ...]:
    """The arrays ``names`` of ``path``; :class:`DataError` if it lacks one or is no .npz file."""
    try:
        with path.open("rb") as stream:
            content = np.load(stream, allow_pickle=False)
            if not isinstance(content, NpzFile):
                raise DataError(f"{path} is not an .npz file but a single array")
            if absent := [name for name in names if name not in content]:
                raise DataError(f"{path} lacks the array {', '.join(absent)}")
            return tuple(content[name] for name in names)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable .npz file: {error}") from error
