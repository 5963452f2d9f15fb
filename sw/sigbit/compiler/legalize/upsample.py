"""Transposed convolutions and upsamplings: one operation for every phase of the output, with the
taps that meet pixels rather than the zeros between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd, lcm

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.network import Operand, Region
from sigbit.ir.integer import Source

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Taps:
    """Kernel rows (or columns) ``start + i * step`` of a source that meet pixels in one phase of
    the output, and the window they form on the tensor itself."""

    start: int
    step: int
    count: int
    stride: int
    padding: int
    dilation: int

    @property
    def index(self) -> slice:
        """The taps as an index."""
        return slice(self.start, self.start + self.step * self.count, self.step)


def lattice(sources: Sequence[Source], height: int, width: int) -> Iterator[Region]:
    """Phases of an output of ``height`` x ``width``: its pixels at the distance that all
    upsamplings require."""
    dy, dx = (lcm(*(s.upsampling[axis] for s in sources)) for axis in (0, 1))
    for y in range(min(dy, height)):
        for x in range(min(dx, width)):
            yield Region(y, x, -(-(height - y) // dy), -(-(width - x) // dx), (dy, dx))


def taps(source: Source, axis: int, phase: int, step: int) -> Taps:
    """The taps of ``source`` for output rows (``axis`` 0) or columns (1) ``phase + i * step``."""
    up, dilation = source.upsampling[axis], source.dilation[axis]
    size = source.weights.shape[2 + axis]
    first = phase * source.stride[axis] - source.padding[axis]
    hits = [k for k in range(size) if (first + k * dilation) % up == 0]
    common = gcd(up, dilation)
    start = hits[0] if hits else 0
    return Taps(
        start,
        up // common,
        len(hits),
        step * source.stride[axis] // up,
        -((first + start * dilation) // up),
        dilation // common,
    )


def operand_of(source: Source, operand: Operand, region: Region, zero: int) -> tuple[Operand, Ints]:
    """``operand``, which reads the tensor of ``source``, for one phase of the output, and the
    contribution of the zeros that it does not read to the accumulators of every channel."""
    rows, columns = (
        taps(source, axis, (region.y, region.x)[axis], region.step[axis]) for axis in (0, 1)
    )
    used = source.weights[:, :, rows.index, columns.index]
    lost = -zero * (source.weights.sum((1, 2, 3)) - used.sum((1, 2, 3)))
    if not used.size:
        channels = operand.channels // source.groups
        used = np.zeros((len(source.weights), channels, 1, 1), np.int64)
        rows, columns = (replace(t, padding=0, dilation=1) for t in (rows, columns))
    return (
        replace(
            operand,
            kernel=(used.shape[2], used.shape[3]),
            stride=(rows.stride, columns.stride),
            padding=(rows.padding, columns.padding),
            dilation=(rows.dilation, columns.dilation),
            weights=used,
        ),
        lost,
    )
