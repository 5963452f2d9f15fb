"""Zip archives and arrays in files from untrusted sources.

The sizes that a file declares are compared with its length before anything is allocated, nothing is
unpacked to a path, and nothing is unpickled.
"""

import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sigbit_tools.files import FileError
from sigbit_tools.shown import shown

ENTRIES_MAX, DIRECTORY_MAX = 20_000, 4 << 20
"""Maximum number of files in an archive, and maximum size of its directory in bytes."""
UNPACKED, RATIO = 64 << 20, 20
"""Limits of an archive's unpacked content: this many bytes, or this multiple of its length if that
is more."""
HEADER_MAX = 10_000
"""Maximum length of an array header in characters."""

ZIP, NPY = b"PK\x03\x04", b"\x93NUMPY"
"""Magic bytes of the files."""

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""Exceptions that the readers of archives and arrays raise for damaged files."""


@contextmanager
def open_archive(path: Path, what: str) -> Iterator[zipfile.ZipFile]:
    """Open the zip archive ``path`` and check its entries. Raises :class:`FileError`, with the
    expected content ``what``, if the archive, or anything read from it inside the block, is
    invalid."""
    with _broken(path, what):
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            _check_directory(file, length)
            with zipfile.ZipFile(file) as archive:
                _check_entries(archive, length)
                yield archive


@contextmanager
def _broken(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(f"{path} is not {what}: {reason}") from error
    except OSError as error:
        if error.filename is None:  # such as a seek before the beginning
            raise FileError(f"{path} is not {what}: {error.strerror or error}") from error
        raise


def _check_directory(file: IO[bytes], length: int) -> None:
    """Refuse a directory that takes long to read; its size is stored in the end record."""
    file.seek(max(0, length - _TAIL))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at >= 0 and len(tail) - at >= _END.size:
        entries, size = _END.unpack_from(tail, at)
        if entries > ENTRIES_MAX or size > DIRECTORY_MAX:
            raise ValueError(f"it has {entries} entries or more, at most {ENTRIES_MAX} are read")


_END = struct.Struct("<10xHI6x")
"""End record of an archive: number of entries, and size of its directory in bytes; a comment may
follow."""
_TAIL = _END.size + (1 << 16)


def _check_entries(archive: zipfile.ZipFile, length: int) -> None:
    entries = archive.infolist()
    if len(entries) > ENTRIES_MAX:
        raise ValueError(f"it has {len(entries)} entries, at most {ENTRIES_MAX} are read")
    names = set()
    for entry in entries:
        name = entry.filename
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable():
            raise ValueError(f"the name of the entry {shown(name)} leaves the archive")
        if name in names:
            raise ValueError(f"it holds two entries {shown(name)}")
        names.add(name)
        if entry.flag_bits & 1:
            raise ValueError(f"its entry {shown(name)} is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"its entry {shown(name)} is packed in an unknown way")
    total, limit = sum(entry.file_size for entry in entries), max(UNPACKED, RATIO * length)
    if total > limit:
        raise ValueError(f"unpacked it takes {total:,} bytes, at most {limit:,} are read")


def read_entry(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return the array in the entry ``name``; raises ``ValueError`` if it is not one."""
    with archive.open(name) as file:
        return _read_array(file, archive.getinfo(name).file_size)


def read_npy(path: Path) -> NDArray[Any]:
    """Return the array in an .npy file; raises :class:`FileError` if it is not one."""
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is not an .npy file: it is not a regular file")
    with _broken(path, "an .npy file"), path.open("rb") as file:
        return _read_array(file, os.fstat(file.fileno()).st_size)


def read_npz(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """Return the arrays ``names`` of an .npz file, or all of them; raises :class:`FileError` if it
    is not one, or lacks one of them."""
    with open_archive(path, "an .npz file") as archive:
        arrays = {
            name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")
        }
        if absent := [name for name in names if name not in arrays]:
            raise FileError(f"{path} lacks the array {', '.join(absent)}")
        return {name: read_entry(archive, arrays[name]) for name in names or arrays}


def _read_array(file: IO[bytes], length: int) -> NDArray[Any]:
    """Read the array that occupies all ``length`` bytes of a stream."""
    shape, by_columns, dtype = _header(file)
    if dtype.hasobject or dtype.fields or not dtype.itemsize:
        raise ValueError(f"it holds {shown(str(dtype))}, not numbers or text")
    left, size = length - file.tell(), math.prod(shape) * dtype.itemsize
    if left != size or max(shape, default=0) >= 1 << 48:
        raise ValueError(
            f"an array of {dtype} {shown(list(shape))} takes {size:,} bytes, there are {left:,}"
        )
    array = np.empty(math.prod(shape), dtype)
    view = array.view(np.uint8).data if size else memoryview(b"")
    done = 0
    while done < size:
        chunk = file.read(min(size - done, 1 << 24))
        if not chunk:
            raise EOFError("it ends too soon")
        view[done : done + len(chunk)] = chunk
        done += len(chunk)
    return array.reshape(shape, order="F" if by_columns else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"it is an array file of version {version}, 1.0 and 2.0 are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers written by Python 2
            shape, by_columns, dtype = read(file, max_header_size=HEADER_MAX)
    except (SyntaxError, TokenError, RecursionError, MemoryError, TypeError, ValueError) as error:
        raise ValueError("the header of its array cannot be read") from error
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"its shape is {shown(shape)}")
    return shape, by_columns, dtype
