"""Arrays from .npz files, none of them pickled."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sigbit.errors import DataError
from sigbit_tools.archives import read_npz as read
from sigbit_tools.files import FileError


def read_npz(path: Path, *names: str) -> tuple[NDArray[Any], ...]:
    """Return the arrays ``names`` of ``path``; raises :class:`DataError` if it lacks one or is not
    an .npz file."""
    try:
        arrays = read(path, *names)
    except FileError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return tuple(arrays[name] for name in names)
