"""Files that are never left half-written, and JSON documents."""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sigbit_tools.errors import SigbitError
from sigbit_tools.strict_json import TEXT_MAX, parse_json


class FileError(SigbitError):
    """A file cannot be written, or does not hold the expected content; the message is for the
    user."""


STDOUT = Path("-")
"""Placeholder path for standard output where a file is written."""


def is_stream(path: Path) -> bool:
    """Return whether ``path`` is a device, a pipe or standard output."""
    return path == STDOUT or (path.exists() and not path.is_file() and not path.is_dir())


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a binary file under a temporary name that replaces ``path`` if the block succeeds,
    after its content has been synced to disk. Raises :class:`FileError` if that fails, for example
    on a full disk. If ``path`` is a link, its target is replaced, not the link; devices, pipes and
    :data:`STDOUT` are written to at the end of the block."""
    if is_stream(path):
        content = io.BytesIO()
        yield content
        _write_through(path, content.getvalue())
        return
    path = Path(os.path.realpath(path))
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, name):  # no other process's file
            raise _unwritable(path, error) from error
        raise


def _write_through(path: Path, content: bytes) -> None:
    try:
        if path == STDOUT:
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
            return
        with path.open("wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> FileError:
    return FileError(f"cannot write {path}: {error.strerror or error}")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())


def make_folder(path: Path) -> Path:
    """Return ``path`` after making it a folder, with all its parents; raises :class:`FileError` if
    that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {path}: {error.strerror or error}") from error
    return path


def read_bytes(path: Path, limit: int, what: str) -> bytes:
    """Return the content of a file of at most ``limit`` bytes. Raises :class:`FileError` if it
    holds more, or is not a regular file, which might be endless. ``what`` describes the expected
    content."""
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is not {what}: it is not a regular file")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise FileError(f"{path} is not {what}: it holds more than {limit:,} bytes")
    return content


def read_text(path: Path, limit: int, what: str) -> str:
    """Return the UTF-8 text in a file of at most ``limit`` bytes, with or without a byte order
    mark."""
    try:
        return read_bytes(path, limit, what).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not {what}: it is not UTF-8 text") from error


def read_json(path: Path) -> Any:
    """Return the JSON document in a file; the error names line and column."""
    try:
        return parse_json(read_text(path, TEXT_MAX, "JSON"))
    except ValueError as error:
        raise FileError(f"{path} is not JSON: {error}") from error
