"""Allocation in a memory that is filled round and round, in the order of use."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
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
        self._entries: list[Entry] = []

    def place(self, key: bytes, size: int, user: int) -> tuple[int, bool, int]:
        """Place ``size`` items for tile ``user``: (first item, whether they must be loaded, last
        tile that used this part before or -1)."""
        for i, entry in enumerate(self._entries):
            if entry.key == key:
                self._entries[i] = Entry(key, entry.start, size, user)
                return entry.start, False, -1
        start = self._head if self._head + size <= self._size else 0
        evicted = [e for e in self._entries if e.start < start + size and start < e.start + e.size]
        self._entries = [e for e in self._entries if e not in evicted]
        self._entries.append(Entry(key, start, size, user))
        self._head = start + size
        return start, True, max((e.user for e in evicted), default=-1)
