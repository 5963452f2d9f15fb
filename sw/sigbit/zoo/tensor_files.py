"""Tensors in files that anybody may have written: no code is run, and no tensor is larger than what
the file holds of it."""

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
"""Levels of containers in a file at most."""
_PLAIN = (bool, int, float, str, type(None))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; :class:`FileError` if it is none."""
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
    ) as error:  # all but the first: types and shapes that this torch does not have
        raise FileError(f"{path} is not a safetensors file: {_first_line(error)}") from error


def read_pytorch(path: Path, what: str = "a PyTorch file of tensors only") -> Any:
    """What ``torch.save`` wrote: tensors on the CPU, numbers, texts and containers of them;
    :class:`FileError` if it is, or holds, anything else. ``what`` says what it should be."""
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is not {what}: it is not a regular file")
    with path.open("rb") as file:
        packed = file.read(len(ZIP)) == ZIP
    if packed:
        with open_archive(path, what):
            pass  # its entries are in order
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats of old
            content = torch.load(path, map_location="cpu", weights_only=True)
        _check(content, path)
    except FileError:
        raise
    except MemoryError as error:
        raise FileError(f"{path} is not {what}: it asks for more memory than there is") from error
    except pickle.UnpicklingError as error:  # with advice to run what is in the file
        raise FileError(
            f"{path} is not {what}: it is damaged, or holds objects that could run code"
        ) from error
    except Exception as error:  # the reader gathers its own in no class
        raise FileError(f"{path} is not {what}: {_first_line(error)}") from error
    return content


def _check(content: object, path: Path) -> None:
    """Level by level, as recursion would not survive a file that nests without end."""
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
