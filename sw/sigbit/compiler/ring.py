"""Allocation in a memory that is filled round and round, in the order of use."""

from dataclasses import dataclass


@dataclass
class _Entry:
    """``size`` items from ``start`` on hold the constants called ``key``; tile ``user`` reads them
    last."""

    key: bytes
    start: int
    size: int
    user: int


class Ring:
    """Places constants one behind the other, from the start again when the end is reached."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._head = 0
        self._entries: dict[bytes, _Entry] = {}

    def place(self, key: bytes, size: int, user: int) -> tuple[int, bool, int]:
        """Place ``size`` items for tile ``user``: (first item, whether they must be loaded, last
        tile that used this part before or -1)."""
        held = self._entries.get(key)
        if held:
            held.user = user
            return held.start, False, -1
        start = self._head if self._head + size <= self._size else 0
        evicted = [
            e for e in self._entries.values() if e.start < start + size and start < e.start + e.size
        ]
        for entry in evicted:
            del self._entries[entry.key]
        self._entries[key] = _Entry(key, start, size, user)
        self._head = start + size
        return start, True, max((e.user for e in evicted), default=-1)
