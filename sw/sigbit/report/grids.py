"""Use of rounding grids by numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 72
"""Bins of a histogram of real numbers."""
_MARGIN = 1.15
"""Margin of such a histogram beyond the grid's ends."""


@dataclass(frozen=True)
class GridUse:
    """Counts of each grid value among the integers of a layer.

    Parameters
    ----------
    layer : str
    grid : array
        Values ``[n]``, ascending.
    counts : array
        Number of occurrences of each value.
    range_use : float
        Difference between the largest and the smallest occurring value, relative to the grid's
        range.
    saturated : float
        Share of the integers at a nonzero end of the grid.
    """

    layer: str
    grid: NDArray[np.int64]
    counts: NDArray[np.int64]
    range_use: float
    saturated: float

    @classmethod
    def of(cls, layer: str, grid: ArrayLike, values: ArrayLike) -> Self:
        """Count ``values``, integers of any shape; values that are not on the grid are added to
        it."""
        found, times = np.unique(np.asarray(values, np.int64), return_counts=True)
        all_values = np.union1d(np.asarray(grid, np.int64), found)
        counts = np.zeros(len(all_values), np.int64)
        counts[np.searchsorted(all_values, found)] = times
        ends = (all_values == all_values[[0, -1], None]).any(0) & (all_values != 0)
        reach = int(all_values[-1] - all_values[0])
        return cls(
            layer,
            all_values,
            counts,
            float(found[-1] - found[0]) / reach if reach and len(found) else 0.0,
            float(counts[ends].sum() / max(counts.sum(), 1)),
        )


@dataclass(frozen=True)
class RealHistogram:
    """Real numbers of a layer in units of one step of their rounding grid.

    Parameters
    ----------
    layer : str
    edges : array
        Edges of the bins, ``[n + 1]``; values outside are counted in the first and the last bin.
    counts : array
        Counts of the bins, ``[n]``.
    grid : array
        Values of the grid, ascending.
    """

    layer: str
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    grid: NDArray[np.int64]

    @classmethod
    def of(cls, layer: str, values: NDArray[np.float64], grid: Sequence[int]) -> Self:
        """Count ``values`` of any shape."""
        levels = np.asarray(grid, np.int64)
        limit = _MARGIN * float(np.abs(levels[[0, -1]]).max())
        edges = np.linspace(-limit, limit, BINS + 1)
        counts, _ = np.histogram(values.clip(-limit, limit), edges)
        return cls(layer, edges, counts, levels)
