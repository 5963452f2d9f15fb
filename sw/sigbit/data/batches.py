"""Pickled batches of the CIFAR data sets, read without unpickling anything but data.

A pickle names functions to call and instructions of a machine; here it can name only those that
stand for an array of bytes and for text, which are replaced by ones that check their arguments. The
machine's memory is a dictionary, so that it is never larger than the file.
"""

import io
import math
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import DataError
from sigbit_tools.shown import shown


class _Type:
    """``numpy.dtype`` of a pickle: only the type of bytes."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"its arrays must hold bytes, not {shown(code)}")

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and alignment, which do not apply to bytes."""


class _Bytes:
    """``numpy.ndarray`` of a pickle."""

    def __init__(self) -> None:
        self.value: NDArray[np.uint8] = np.zeros(0, np.uint8)

    def __setstate__(self, state: object) -> None:
        _, shape, kind, by_columns, content = state if isinstance(state, tuple) else ((),) * 5
        whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not whole or not isinstance(kind, _Type) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("it holds an array that is none of bytes")
        if math.prod(shape) != len(content):
            raise pickle.UnpicklingError(
                f"an array {shown(shape)} has {len(content)} bytes in the file"
            )
        self.value = np.frombuffer(content, np.uint8).reshape(
            shape, order="F" if by_columns else "C"
        )


def _empty(*_: object) -> _Bytes:
    return _Bytes()


def _encode(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("it holds text in an unknown encoding")
    return text.encode("latin1")


_PARTS: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "ndarray",  # an argument for _reconstruct, never called
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("numpy._core.multiarray", "_reconstruct"): _empty,
}


class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _PARTS.get((module.replace("numpy.core.", "numpy._core."), name))
        if found is None:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a CIFAR batch")
        return found


def read_batch(content: bytes, where: str) -> dict[bytes, Any]:
    """Return the content of a batch: arrays of bytes, and lists of numbers and of text."""
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # any failure of the machine
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{where} is not a CIFAR batch: {reason}") from error
    if not isinstance(batch, dict) or not all(isinstance(k, str | bytes) for k in batch):
        raise DataError(f"{where} is not a CIFAR batch: it holds a {type(batch).__name__}")
    return {
        k.encode() if isinstance(k, str) else k: v.value if isinstance(v, _Bytes) else v
        for k, v in batch.items()
    }
