"""Tensors in files from untrusted sources: no code is run, and no tensor is larger than its data in
the file."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sigbit_tools.archives import ZIP, open_archive
from sigbit_tools.files import FileError
from sigbit_tools.shown import shown

DEPTH_MAX = 32
"""Maximum nesting depth of containers in a file."""
_PLAIN = (bool, int, float, str, type(None))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; raises :class:`FileError` if it is not one."""
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is not a safetensors file: it is not a regular file")
    try:
        return load_file(path)
    except (
        SafetensorError,
        AttributeError,
        KeyError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # all but the first: types and shapes that this torch does not support
        raise FileError(f"{path} is not a safetensors file: {_first_line(error)}") from error


def read_pytorch(path: Path, what: str = "a PyTorch file of tensors only") -> Any:
    """Return the content of a file written by ``torch.save``: tensors on the CPU, numbers, strings
    and containers of them. Raises :class:`FileError`, with the expected content ``what``, if it is,
    or contains, anything else."""
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is not {what}: it is not a regular file")
    with path.open("rb") as file:
        packed = file.read(len(ZIP)) == ZIP
    if packed:
        with open_archive(path, what):
            pass  # its entries are in order
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats
            content = torch.load(path, map_location="cpu", weights_only=True)
        _check(content, path)
    except FileError:
        raise
    except MemoryError as error:
        raise FileError(f"{path} is not {what}: it asks for more memory than there is") from error
    except pickle.UnpicklingError as error:  # with advice to run the code in the file
        raise FileError(
            f"{path} is not {what}: it is damaged, or holds objects that could run code"
        ) from error
    except Exception as error:  # the reader's own errors have no common class
        raise FileError(f"{path} is not {what}: {_first_line(error)}") from error
    return content


def _check(content: object, path: Path) -> None:
    """Check level by level, because recursion would fail on a file with unbounded nesting."""
    level = [content]
    for _ in range(DEPTH_MAX):
        inner: list[object] = []
        for value in level:
            if isinstance(value, Tensor):
                _check_tensor(value, path)
            elif isinstance(value, Mapping):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple | set):
                inner += value
            elif not isinstance(value, _PLAIN):
                raise FileError(f"{path} holds a {type(value).__name__}, not tensors and numbers")
        level = inner
    if level:
        raise FileError(f"{path} nests more than {DEPTH_MAX} levels deep")


def _check_tensor(value: Tensor, path: Path) -> None:
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise FileError(f"{path} holds a tensor that is not dense: {shown(str(value.layout))}")
    stored = value.untyped_storage().nbytes()
    if value.numel() * value.element_size() > stored:
        raise FileError(
            f"{path} holds a tensor {shown(list(value.shape))} of {stored:,} bytes: it is too short"
        )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
