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


Access = Callable[[Program, Place], None]
"""Accesses the memory of a Program at its place."""


class Residents:
    """Programs in a memory of ``size`` bytes, by their digest, each aligned to ``page``; the most
    recently used ones stay."""

    def __init__(self, size: int, page: int = bus.PAGE_BYTES) -> None:
        self.size, self._page = size, page
        self._programs: dict[str, Program] = {}
        self._places: dict[str, Place] = {}  # the most recently used one at the end

    def place(self, program: Program, write: Access, leave: Access) -> Place:
        """Return the place of ``program``; ``write`` is called to write it there if it is not
        resident, and ``leave`` before the place of another one is taken for it.

        Raises :class:`ProgramError` if it is larger than the memory.
        """
        found = self._places.get(program.digest)
        if found is None:
            found = self._make_room(program, leave)
            write(program, found)
        self.forget(program)
        self._places[program.digest], self._programs[program.digest] = found, program
        return found

    def find(self, program: Program) -> Place | None:
        """Return the place of ``program`` if it is resident."""
        return self._places.get(program.digest)

    @property
    def digests(self) -> set[str]:
        """Digests of all residents."""
        return set(self._places)

    def forget(self, program: Program) -> None:
        """Forget one resident: the content of its place is unknown."""
        self._places.pop(program.digest, None)
        self._programs.pop(program.digest, None)

    def clear(self) -> None:
        """Forget all residents: the content of the memory is unknown."""
        self._places.clear()
        self._programs.clear()

    def _make_room(self, program: Program, leave: Access) -> Place:
        need = program.memory_bytes
        if need > self.size:
            raise ProgramError(
                f"{program.name} needs {need:,} bytes of memory, the board has {self.size:,}: "
                f"compile it for fewer images per run, or use a board with more memory"
            )
        while (base := self._gap(need)) is None:
            digest = next(iter(self._places))
            leave(self._programs[digest], self._places[digest])
            self.forget(self._programs[digest])
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
