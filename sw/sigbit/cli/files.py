"""Files that a command reads and writes: checked before the work, never left half written."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from sigbit.cli.errors import UserError


def target(path: Path | None) -> Path | None:
    """Callback of options that name a file to write: complain before the work, not after it."""
    if path is None:
        return None
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the name of the file to write")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"cannot write {path}: the folder {path.parent} is not writable")
    return path


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file under a temporary name that takes ``path``'s place when the block ends well."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())


def write_array(path: Path, array: np.ndarray) -> None:
    """Write ``array`` as .npy."""
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)


def write_json(path: Path | None, document: dict[str, Any]) -> None:
    """Write ``document``, NumPy numbers and arrays included; nothing if ``path`` is None."""
    if path is not None:
        write_text(path, json.dumps(document, indent=2, allow_nan=False, default=_plain) + "\n")


def read_json(path: Path) -> Any:
    """The JSON document in a file; the error names line and column."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not JSON: it is not UTF-8 text") from error


def read_rows(path: Path | None, keys: set[str]) -> list[dict[str, Any]]:
    """The rows of an earlier run of a benchmark, which have ``keys``; none if there is no file."""
    if path is None or not path.exists():
        return []
    document = read_json(path)
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(r, dict) and keys <= set(r) for r in rows):
        raise UserError(f"{path} holds no rows of this benchmark: give another FILE")
    return rows


def _plain(value: object) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
