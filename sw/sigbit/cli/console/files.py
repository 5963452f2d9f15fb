"""Files that a command reads and writes, checked before the work."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sigbit.cli.console.output import leave_stdout
from sigbit.errors import UserError
from sigbit.flows.result import Result, plain
from sigbit_tools.files import STDOUT, is_stream, replacing, write_text


def target(path: Path | None) -> Path | None:
    """Callback of options that name a file to write: complain before the work, not after it."""
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


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name as .npz where the file is called so, else the only one as .npy."""
    if path.suffix != ".npz":
        (array,) = arrays.values()
        write_array(path, array)
        return
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def write_json(path: Path | None, document: Result | Mapping[str, Any]) -> None:
    """Write ``document``, dataclasses and arrays in it included; nothing if ``path`` is None."""
    if path is not None:
        write_text(path, json.dumps(plain(document), indent=2, allow_nan=False) + "\n")
