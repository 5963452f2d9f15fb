"""Allocation in a ring buffer, in the order of use."""

from collections.abc import Hashable

import numpy as np


class Ring:
    """Places constants one after another, starting over when the end is reached."""

    def __init__(self, size: int) -> None:
        self._head = 0
        self._users = np.full(size, -1, np.int64)
        self._places: dict[Hashable, slice] = {}

    def place(self, key: Hashable, size: int, user: int) -> tuple[int, bool, int]:
        """Place ``size`` items with the key ``key`` for tile ``user``. Returns (first item, whether
        they must be loaded, last tile that used any of these items before or -1)."""
        place = self._places.get(key)
        if place:
            self._users[place] = user
            return place.start, False, -1
        start = self._head if self._head + size <= self._users.size else 0
        end = start + size
        for other, taken in list(self._places.items()):
            if taken.start < end and start < taken.stop:
                del self._places[other]
        after = int(self._users[start:end].max())
        self._places[key] = slice(start, end)
        self._users[start:end] = user
        self._head = end
        return start, True, after
