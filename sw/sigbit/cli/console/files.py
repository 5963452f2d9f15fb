"""Files that a command reads and writes, checked before the work."""

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sigbit.cli.console.command_line import command_line
from sigbit.cli.console.output import leave_stdout, say
from sigbit.errors import UserError
from sigbit.flows.result import Result, plain
from sigbit_tools.files import STDOUT, is_stream, replacing, write_text

ARCHIVE = ".npz"
"""Suffix of files that hold several arrays."""


def target(path: Path | None) -> Path | None:
    """Callback of options that name a file to write: raise errors before the work, not after it."""
    if path is None:
        return None
    if path == STDOUT:
        leave_stdout()
        return path
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the name of the file to write")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    if is_stream(path):
        return path
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"cannot write {path}: the folder {path.parent} is not writable")
    return path


def write_array(path: Path, array: np.ndarray) -> None:
    """Write ``array`` as .npy."""
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)


def write_report(path: Path | None, page: Callable[[str], str]) -> None:
    """Write the HTML ``page``, which is called with the current command; write nothing if ``path``
    is None."""
    if path is not None:
        write_text(path, page(command_line()))
        say(f"wrote {path}")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``arrays``: by name as .npz if ``path`` has that suffix, or the only one as .npy."""
    if path.suffix != ARCHIVE:
        (only,) = arrays.values()
        write_array(path, only)
        return
    # Not numpy.savez: it takes names as keywords, and an output may be called "file".
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.save(entry, array, allow_pickle=False)


def write_json(path: Path | None, document: Result | Mapping[str, Any]) -> None:
    """Write ``document``, including dataclasses and arrays in it; write nothing if ``path`` is
    None."""
    if path is not None:
        write_text(path, json.dumps(plain(document), indent=2, allow_nan=False) + "\n")
