"""CIFAR-10 and CIFAR-100 in their "python version": pickled batches, packed or unpacked."""

import pickle
import tarfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from sigbit.data.dataset import Dataset
from sigbit.data.files import Files, Remote
from sigbit.errors import DataError

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
_ARRAY_PARTS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    ("numpy._core.multiarray", "_reconstruct"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads containers, strings, numbers and NumPy arrays, and refuses what could run code."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) not in _ARRAY_PARTS:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a CIFAR batch")
        return super().find_class(module, name)


def _unpickle(stream: IO[bytes], where: str) -> dict[bytes, Any]:
    try:
        content = _ArrayUnpickler(stream, encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError) as error:
        raise DataError(f"{where} is not a CIFAR batch: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{where} is not a CIFAR batch: it holds a {type(content).__name__}")
    return {k.encode() if isinstance(k, str) else k: v for k, v in content.items()}


def _read(
    files: Files, folder: str, remote: Remote, names: tuple[str, ...]
) -> list[dict[bytes, Any]]:
    """The pickles ``names``, from the unpacked ``folder`` or else from the archive."""
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
        with path.open("rb") as stream:
            batches.append(_unpickle(stream, str(path)))
    return batches


def _read_archive(path: Path, folder: str, names: tuple[str, ...]) -> list[dict[bytes, Any]]:
    found: dict[str, dict[bytes, Any]] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.removeprefix(f"{folder}/")
                stream = archive.extractfile(member) if name in names else None
                if stream is not None:
                    found[name] = _unpickle(stream, f"{path}, {member.name}")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path} is not a complete tar archive: {error}") from error
    if absent := [name for name in names if name not in found]:
        raise DataError(f"{path} lacks {', '.join(f'{folder}/{name}' for name in absent)}")
    return [found[name] for name in names]


def _dataset(
    title: str,
    split: str,
    batches: list[dict[bytes, Any]],
    labels: bytes,
    classes: list[bytes | str],
) -> Dataset:
    try:
        rows = np.concatenate([np.asarray(batch[b"data"], np.uint8) for batch in batches])
        numbers = np.concatenate([np.asarray(batch[labels], np.int64) for batch in batches])
    except KeyError as error:
        raise DataError(f"{title}: a batch lacks the entry {error}") from error
    if rows.ndim != 2 or rows.shape[1] != 3 * 32 * 32:
        raise DataError(f"{title}: images must be rows of 3072 bytes, not {list(rows.shape)}")
    images = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    names = tuple(name.decode() if isinstance(name, bytes) else name for name in classes)
    return Dataset(title, split, images, numbers, names)


def load_cifar10(files: Files, split: str) -> Dataset:
    """50,000 training or 10,000 test images ``[N, 32, 32, 3]`` of 10 classes."""
    names = tuple(f"data_batch_{i}" for i in range(1, 6)) if split == "train" else ("test_batch",)
    *batches, meta = _read(files, "cifar-10-batches-py", _TEN, (*names, "batches.meta"))
    return _dataset("CIFAR-10", split, batches, b"labels", meta[b"label_names"])


def load_cifar100(files: Files, split: str) -> Dataset:
    """50,000 training or 10,000 test images ``[N, 32, 32, 3]`` of 100 (fine) classes."""
    batch, meta = _read(files, "cifar-100-python", _HUNDRED, (split, "meta"))
    return _dataset("CIFAR-100", split, [batch], b"fine_labels", meta[b"fine_label_names"])
