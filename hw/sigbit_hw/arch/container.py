"""The file container of Programs and of integer models: a JSON document and arrays in one
safetensors file.

The metadata of the safetensors header holds three texts: ``kind`` (the type of the file),
``sigbit`` (the document) and ``sha256`` (:func:`digest`, a checksum against damage, not a
signature). Equal contents give equal bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sigbit_tools.files import FileError

KINDS = {
    "program": ("a Program", "`sigbit run` runs it, `sigbit inspect` shows it"),
    "integer-model": ("an integer model", "`sigbit compile` makes a Program of it"),
}
"""Kinds of files: the display name of each, and the command that takes it."""

Arrays = Mapping[str, NDArray[Any]]


def to_json(document: Mapping[str, Any]) -> str:
    """Canonical text of a document: sorted keys, ASCII, no spaces, shortest exact floats."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(document: str, arrays: Arrays) -> str:
    """SHA-256 (hex) over the document's text and the names, types, shapes and values of all
    arrays."""
    hasher = hashlib.sha256(document.encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        hasher.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def encode(kind: str, document: str, arrays: Arrays) -> bytes:
    """Bytes of a file of ``kind``, one of :data:`KINDS`."""
    dense = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    metadata = {"kind": kind, "sigbit": document, "sha256": digest(document, dense)}
    return _sorted_header(save(dense, metadata))


def decode(path: Path, kind: str) -> tuple[str, dict[str, NDArray[Any]]]:
    """Document and arrays of a file of ``kind``. Raises :class:`FileError` for any other file, and
    if the content does not match its digest."""
    name, _ = KINDS[kind]
    if path.is_dir():
        raise FileError(f"{path} is a folder, not {name}")
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            _check(metadata, path, kind)
            arrays = {key: file.get_tensor(key) for key in sorted(file.keys())}
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (OSError, SafetensorError, TypeError, AttributeError, ValueError) as error:
        # the last three: element types and shapes that NumPy does not support
        reason = " ".join(str(error).split())[:200]
        raise FileError(f"{path}: not {name}, or truncated ({reason})") from None
    if digest(metadata["sigbit"], arrays) != metadata["sha256"]:
        raise FileError(
            f"{path}: content does not match its SHA-256: the file is damaged; make it again"
        )
    return metadata["sigbit"], arrays


def _check(metadata: Mapping[str, str], path: Path, kind: str) -> None:
    name, _ = KINDS[kind]
    if metadata.keys() != {"kind", "sigbit", "sha256"}:
        raise FileError(
            f"{path}: a safetensors file, but not {name} of this version: make it again"
        )
    if metadata["kind"] != kind:
        other, use = KINDS.get(metadata["kind"], ("a file of another sigbit", "update sigbit"))
        raise FileError(f"{path} is {other}, not {name}: {use}")


def _sorted_header(data: bytes) -> bytes:
    """Return a safetensors file with sorted header keys; the library leaves them in random
    order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]
