"""Placement of Programs in a board's memory, and their eviction when another one needs room."""

from collections.abc import Callable
from dataclasses import dataclass

from sigbit_hw.arch import bus
from sigbit_hw.arch.program import Program, ProgramError


@dataclass(frozen=True)
class Place:
    """A Program's DMA window: bytes of memory from ``base`` on."""

    base: int
    size: int


class Residents:
    """Programs in a memory of ``size`` bytes, by their digest, each aligned to ``page``; the most
    recently used ones stay."""

    def __init__(self, size: int, page: int = bus.PAGE_BYTES) -> None:
        self.size, self._page = size, page
        self._places: dict[str, Place] = {}  # the most recently used one at the end

    def place(self, program: Program, write: Callable[[Place], None]) -> Place:
        """Return the place of ``program``; ``write`` is called to write it there if it is not
        resident.

        Raises :class:`ProgramError` if it is larger than the memory.
        """
        found = self._places.pop(program.digest, None)
        if found is None:
            found = self._make_room(program)
            write(found)
        self._places[program.digest] = found
        return found

    def clear(self) -> None:
        """Forget all residents: the content of the memory is unknown."""
        self._places.clear()

    def _make_room(self, program: Program) -> Place:
        need = program.memory_bytes
        if need > self.size:
            raise ProgramError(
                f"{program.name} needs {need:,} bytes of memory, the board has {self.size:,}: "
                f"compile it for fewer images per run, or use a board with more memory"
            )
        while (base := self._gap(need)) is None:
            del self._places[next(iter(self._places))]
        return Place(base, need)

    def _gap(self, need: int) -> int | None:
        """The first address of a free gap of this size."""
        base = 0
        for place in sorted(self._places.values(), key=lambda place: place.base):
            if base + need <= place.base:
                return base
            end = place.base + place.size
            base = -(-end // self._page) * self._page
        return base if base + need <= self.size else None
