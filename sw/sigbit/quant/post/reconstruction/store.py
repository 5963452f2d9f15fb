"""Tensors of all samples: small ones in memory, large ones in temporary files."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

ROOM = 1 << 26
"""Bytes of a tensor that are held in memory at most."""


@dataclass
class _Kept:
    file: tempfile.SpooledTemporaryFile[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int
    """Bytes of a sample."""


class Store:
    """Tensors by name, written batch by batch in the order of the samples; a context that deletes
    the files."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def append(self, name: str, x: Tensor) -> None:
        """Add the next samples of a tensor."""
        array = x.detach().cpu().contiguous().numpy()
        if name not in self._kept:
            file = tempfile.SpooledTemporaryFile(max_size=ROOM)  # noqa: SIM115, closed by drop
            size = array[:1].nbytes
            self._kept[name] = _Kept(file, array.shape[1:], array.dtype, size)
        kept = self._kept[name]
        kept.file.seek(0, 2)
        kept.file.write(array.tobytes())

    def read(self, name: str, first: int, last: int) -> Tensor:
        """The samples ``first`` to ``last - 1``."""
        kept = self._kept[name]
        kept.file.seek(first * kept.size)
        content = bytearray(kept.file.read((last - first) * kept.size))
        return torch.from_numpy(np.frombuffer(content, kept.dtype).reshape(-1, *kept.shape))

    def gather(self, name: str, samples: list[int]) -> Tensor:
        """Some samples, in the order given."""
        return torch.cat([self.read(name, i, i + 1) for i in samples])

    def drop(self, name: str) -> None:
        """Forget a tensor."""
        if (kept := self._kept.pop(name, None)) is not None:
            kept.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._kept):
            self.drop(name)
