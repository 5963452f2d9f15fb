"""Integer arrays of nodes: exact equality of nodes with arrays, and narrow storage."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.names import numbered

Ints = NDArray[np.int64]


class Exact:
    """Equality of dataclasses with array fields: by type and by element."""

    def __eq__(self, other: object) -> bool:
        mine: Any = self
        return type(self) is type(other) and all(
            _same(getattr(self, f.name), getattr(other, f.name)) for f in fields(mine)
        )

    def __hash__(self) -> int:
        raise TypeError(f"{type(self).__name__} holds arrays and has no hash")


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a is b or (a.dtype == b.dtype and np.array_equal(a, b))
    return bool(a == b)


def narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return ``values`` in the narrowest signed integer type that holds all of them, contiguous."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.ascontiguousarray(values, dtype)
    return np.ascontiguousarray(values, np.int64)


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Return ``names`` in order; repeated names get a number appended."""
    found: dict[str, None] = {}
    for name in names:
        found[numbered(name, found)] = None
    return tuple(found)
