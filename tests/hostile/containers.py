"""Files of :mod:`sigbit_hw.arch.container` taken apart and put together again, checksum included:
anybody can do that."""

import json
import tempfile
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from hostile.kinds import Codec, Document
from sigbit_hw.arch import container

Arrays = dict[str, NDArray[Any]]


def parts(data: bytes) -> tuple[dict[str, str], Arrays]:
    """Metadata and arrays."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with safe_open(file.name, framework="numpy") as opened:
            names = opened.keys()
            return opened.metadata(), {name: opened.get_tensor(name) for name in names}


def whole(kind: str, text: str, arrays: Arrays) -> bytes:
    """A file with the checksum of its content."""
    return save(arrays, {"kind": kind, "sigbit": text, "sha256": container.digest(text, arrays)})


def codec(kind: str) -> Codec:
    """The document of a container of ``kind``."""

    def unpack(data: bytes) -> Document:
        document: Document = json.loads(parts(data)[0]["sigbit"])
        return document

    def pack(data: bytes, text: str) -> bytes:
        return whole(kind, text, parts(data)[1])

    return Codec(unpack, pack)


def with_arrays(kind: str, change: Callable[[Arrays], object]) -> Callable[[bytes], bytes]:
    """A crafted file whose arrays are changed, in place."""

    def craft(data: bytes) -> bytes:
        metadata, arrays = parts(data)
        change(arrays)
        return whole(kind, metadata["sigbit"], arrays)

    return craft


def with_header(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """A crafted file whose safetensors header is changed, in place."""

    def craft(data: bytes) -> bytes:
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        change(header)
        raw = json.dumps(header).encode()
        return len(raw).to_bytes(8, "little") + raw + data[end:]

    return craft


def header_length(length: int) -> Callable[[bytes], bytes]:
    """A crafted file that states another length of its header."""
    return lambda data: length.to_bytes(8, "little") + data[8:]
