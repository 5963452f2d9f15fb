"""Calibration samples, read in chunks of any size and computed in micro-batches of one size, so
that results do not depend on how they are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sigbit.frontend import Batches, as_tuple

MICRO_BATCH = 8
"""Number of samples computed at a time. The last bits of a convolution may depend on it, so it is
the same everywhere."""


@runtime_checkable
class SampleChunks(Protocol):
    """Samples that can be read any number of times, always the same ones in the same order."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield the samples in chunks of any size: batches ``[n, ...]``, one for each input of the
        network."""


Calibration = Batches | SampleChunks
"""Samples in memory: one batch for each input, or a single one; or samples that are read in
chunks."""


@dataclass(frozen=True)
class InMemory:
    """Batches of all samples, one for each input."""

    inputs: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.inputs[0])

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        yield self.inputs


@dataclass(frozen=True)
class Part:
    """The samples ``first`` to ``last - 1`` of other samples."""

    samples: SampleChunks
    first: int
    last: int

    def __len__(self) -> int:
        return max(0, min(self.last, len(self.samples)) - self.first)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        begin = 0
        for chunk in self.samples:
            end = begin + len(chunk[0])
            if begin >= self.last:
                return
            if end > self.first:
                inside = slice(max(0, self.first - begin), self.last - begin)
                yield tuple(x[inside] for x in chunk)
            begin = end


def as_chunks(calibration: Calibration) -> SampleChunks:
    """Return ``calibration`` as samples that are read in chunks."""
    if isinstance(calibration, Tensor | tuple):
        return InMemory(as_tuple(calibration))
    return calibration


def micro_batches(samples: SampleChunks) -> Iterator[tuple[Tensor, ...]]:
    """Yield the samples in batches of :data:`MICRO_BATCH`; the last batch holds the remainder."""
    held: list[tuple[Tensor, ...]] = []
    count = 0
    for chunk in samples:
        start = 0
        while start < len(chunk[0]):
            part = tuple(x[start : start + MICRO_BATCH - count] for x in chunk)
            held.append(part)
            start += len(part[0])
            count += len(part[0])
            if count == MICRO_BATCH:
                yield _joined(held)
                held, count = [], 0
    if held:
        yield _joined(held)


def _joined(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return separate batches, independent of the memory layout of their parts."""
    return tuple(torch.cat(of) for of in zip(*parts, strict=True))
