"""Exact comparison of layers, with a readable first difference for each."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Mismatch:
    """``count`` of ``total`` elements of a layer differ, first at ``index``."""

    layer: str
    count: int
    total: int
    index: tuple[int, ...]
    expected: int
    got: int

    def __str__(self) -> str:
        return (
            f"{self.layer}: {self.count} of {self.total} differ, first at {list(self.index)}: "
            f"{self.got} instead of {self.expected}"
        )


def compare(expected: Mapping[str, ArrayLike], got: Mapping[str, ArrayLike]) -> list[Mismatch]:
    """Return the differences between every layer in ``got`` and the layer of the same name in
    ``expected``, in the order of ``got``.

    ``expected`` may hold more tensors, such as the network's inputs. Raises ``ValueError`` if there
    is nothing to compare, or if a layer is unknown or has another shape: a comparison that checks
    less than requested must not pass.
    """
    mismatches, total = [], 0
    for name, value in got.items():
        if name not in expected:
            raise ValueError(f"layer {name!r} has no expected values; there are {sorted(expected)}")
        want, have = np.asarray(expected[name]), np.asarray(value)
        if want.shape != have.shape:
            raise ValueError(
                f"layer {name!r} must have shape {list(want.shape)}, not {list(have.shape)}"
            )
        total += have.size
        wrong = want != have
        if wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            mismatches.append(
                Mismatch(
                    name, int(wrong.sum()), have.size, index, int(want[index]), int(have[index])
                )
            )
    if not total:
        raise ValueError("nothing to compare: no layer has an element")
    return mismatches
