"""Tensors of all samples: small ones in memory, large ones in temporary files."""

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Self

import numpy as np
import torch
from torch import Tensor

ROOM = 1 << 26
"""Maximum number of bytes of a tensor held in memory."""


class Store:
    """Tensors by name, written batch by batch in the order of the samples; a context manager that
    deletes the files."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def append(self, name: str, x: Tensor) -> None:
        """Append the next samples of a tensor, which must not change afterwards."""
        if name not in self._kept:
            self._kept[name] = _Kept(x)
        self._kept[name].append(x.detach())

    def read(self, name: str, first: int, last: int) -> Tensor:
        """Return the samples ``first`` to ``last - 1``."""
        return self._kept[name].read(first, last)

    def gather(self, name: str, samples: Sequence[int]) -> Tensor:
        """Return selected samples in the given order."""
        return torch.cat([self.read(name, i, i + 1) for i in samples])

    def drop(self, name: str) -> None:
        """Remove a tensor."""
        if (kept := self._kept.pop(name, None)) is not None:
            kept.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._kept):
            self.drop(name)


class _Kept:
    """The samples of one tensor: the first ones in memory, the rest in a file."""

    def __init__(self, like: Tensor) -> None:
        self._shape, self._dtype = like.shape[1:], like.cpu().numpy().dtype
        self._size = like[:1].nbytes
        self._parts: list[tuple[int, Tensor]] = []
        self._inside = 0
        self._file: IO[bytes] | None = None

    def append(self, x: Tensor) -> None:
        if self._file is None and (self._inside + len(x)) * self._size <= ROOM:
            self._parts.append((self._inside, x))
            self._inside += len(x)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed by close
        self._file.seek(0, 2)
        self._file.write(x.cpu().contiguous().numpy().tobytes())

    def read(self, first: int, last: int) -> Tensor:
        found = [
            x[max(0, first - start) : last - start]
            for start, x in self._parts
            if start < last and start + len(x) > first
        ]
        if last > self._inside and self._file is not None:
            begin = max(first, self._inside)
            self._file.seek((begin - self._inside) * self._size)
            content = bytearray(self._file.read((last - begin) * self._size))
            array = np.frombuffer(content, self._dtype).reshape(-1, *self._shape)
            found.append(torch.from_numpy(array))
        return found[0] if len(found) == 1 else torch.cat(found)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
