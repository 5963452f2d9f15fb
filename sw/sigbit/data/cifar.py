"""CIFAR-10 and CIFAR-100 in their "python version": pickled batches, packed or unpacked."""

import gzip
import tarfile
import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np

from sigbit.data.batches import read_batch
from sigbit.data.dataset import Dataset
from sigbit.data.files import Files, Remote
from sigbit.errors import DataError
from sigbit_tools.files import FileError, read_bytes
from sigbit_tools.shown import shown

_URL = "https://www.cs.toronto.edu/~kriz/"
_TEN = Remote(
    "cifar-10-python.tar.gz",
    _URL + "cifar-10-python.tar.gz",
    "md5:c58f30108f718f92721af3b95e74349a",
)
_HUNDRED = Remote(
    "cifar-100-python.tar.gz",
    _URL + "cifar-100-python.tar.gz",
    "md5:eb9058c3a382ffc7106e4002c42a8d85",
)

BATCH_MAX, ARCHIVE_MAX = 1 << 28, 1 << 30
"""Maximum size in bytes of a batch, and of an unpacked archive; the largest batch has 154
million."""
NAMES_MAX = 100
"""Maximum number of classes."""


def _read(
    files: Files, folder: str, remote: Remote, names: tuple[str, ...]
) -> list[dict[bytes, Any]]:
    """The pickles ``names``, from the unpacked ``folder`` if it exists, else from the archive."""
    unpacked = files.find(folder)
    if unpacked is None and (meta := files.find(names[-1])) is not None:
        unpacked = meta.parent
    if unpacked is None:
        return _read_archive(files.fetch(remote, folder), folder, names)
    batches = []
    for name in names:
        path = unpacked / name
        if not path.is_file():
            raise DataError(f"{files.dataset} needs {name}, which is not in {unpacked}")
        try:
            batches.append(read_batch(read_bytes(path, BATCH_MAX, "a CIFAR batch"), str(path)))
        except FileError as error:
            raise DataError(str(error)) from error
    return batches


class _Capped:
    """An unpacked file for tarfile that must not be longer than :data:`ARCHIVE_MAX`."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self.tell = file.tell

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence or not 0 <= offset <= ARCHIVE_MAX:
            raise tarfile.ReadError(f"unpacked it takes more than {ARCHIVE_MAX:,} bytes")
        return self._file.seek(offset)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= BATCH_MAX or self.tell() + size > ARCHIVE_MAX:
            raise tarfile.ReadError(f"an entry takes more than {BATCH_MAX:,} bytes")
        return self._file.read(size)


def _read_archive(path: Path, folder: str, names: tuple[str, ...]) -> list[dict[bytes, Any]]:
    found: dict[str, dict[bytes, Any]] = {}
    try:
        with (
            gzip.open(path) as packed,
            tarfile.open(fileobj=cast(Any, _Capped(packed)), mode="r:") as archive,
        ):
            for member in archive:
                name = member.name.removeprefix(f"{folder}/")
                if name in names and member.isreg():
                    content = archive.extractfile(member)
                    assert content is not None
                    found[name] = read_batch(
                        content.read(BATCH_MAX), f"{path}, {shown(member.name)}"
                    )
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} is not a complete tar archive: {error}") from error
    if absent := [name for name in names if name not in found]:
        raise DataError(f"{path} lacks {', '.join(f'{folder}/{name}' for name in absent)}")
    return [found[name] for name in names]


def _dataset(
    title: str,
    split: str,
    batches: list[dict[bytes, Any]],
    labels: bytes,
    classes: object,
) -> Dataset:
    try:
        rows = np.concatenate([np.asarray(batch[b"data"], np.uint8) for batch in batches])
        numbers = np.concatenate([np.asarray(batch[labels], np.int64) for batch in batches])
    except KeyError as error:
        raise DataError(f"{title}: a batch lacks the entry {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{title}: a batch holds other than bytes and classes: {error}") from error
    if numbers.ndim != 1:
        raise DataError(f"{title}: classes must be a list of numbers, not {list(numbers.shape)}")
    if rows.ndim != 2 or rows.shape[1] != 3 * 32 * 32:
        raise DataError(f"{title}: images must be rows of 3072 bytes, not {list(rows.shape)}")
    images = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Dataset(title, split, images, numbers, _names(title, classes))


def _names(title: str, classes: object) -> tuple[str, ...]:
    """Names of classes, which may be bytes."""
    listed = list(classes)[:NAMES_MAX] if isinstance(classes, list | tuple) else []
    names = [name.decode("latin1") if isinstance(name, bytes) else name for name in listed]
    if not names or not all(isinstance(name, str) and name.isprintable() for name in names):
        raise DataError(f"{title}: names of classes must be texts, not {shown(classes)}")
    return tuple(names)


def _entry(meta: dict[bytes, Any], key: bytes, title: str) -> object:
    if key not in meta:
        raise DataError(f"{title}: its meta data lack the entry {key.decode()}")
    return meta[key]


def load_cifar10(files: Files, split: str) -> Dataset:
    """50,000 training or 10,000 test images ``[N, 32, 32, 3]`` of 10 classes."""
    names = tuple(f"data_batch_{i}" for i in range(1, 6)) if split == "train" else ("test_batch",)
    *batches, meta = _read(files, "cifar-10-batches-py", _TEN, (*names, "batches.meta"))
    return _dataset("CIFAR-10", split, batches, b"labels", _entry(meta, b"label_names", "CIFAR-10"))


def load_cifar100(files: Files, split: str) -> Dataset:
    """50,000 training or 10,000 test images ``[N, 32, 32, 3]`` of 100 (fine) classes."""
    batch, meta = _read(files, "cifar-100-python", _HUNDRED, (split, "meta"))
    return _dataset(
        "CIFAR-100", split, [batch], b"fine_labels", _entry(meta, b"fine_label_names", "CIFAR-100")
    )
