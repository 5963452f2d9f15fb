"""Boards by name: the folders beside this module that have a module ``build``, whose bitstreams are
made by open tools, or a module ``project``, whose bitstreams are made by the vendor's tools."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import sigbit_boards
from sigbit_hw.arch.config import ArchConfig
from sigbit_sim.memory import MemoryTiming
from sigbit_synthesis.pnr import Part, Routed
from sigbit_synthesis.target import Target


@dataclass(frozen=True)
class Built:
    """A board with an accelerator, placed, routed and packed.

    Parameters
    ----------
    clock_hz : float
        Frequency of the accelerator's clock.
    baud : int
        Bit rate of the serial line in bits per second.
    placements : tuple of Routed
        One for each seed.
    memory_hz : float, optional
        Frequency of the clock of an external memory, if there is one.
    """

    clock_hz: float
    baud: int
    placements: tuple[Routed, ...]
    memory_hz: float | None = None

    @property
    def fastest(self) -> Routed:
        """The placement with the highest possible clock frequencies."""
        return max(self.placements, key=self._margin)

    def _margin(self, routed: Routed) -> float:
        """The smallest ratio of a clock's maximum frequency to its frequency."""
        margins = [routed.fmax_mhz / self.clock_hz]
        if self.memory_hz is not None and routed.memory_mhz is not None:
            margins.append(routed.memory_mhz / self.memory_hz)
        return min(margins)


@runtime_checkable
class Board(Protocol):
    """Interface of a board that can be built."""

    @property
    def name(self) -> str:
        """Name of its folder."""

    @property
    def target(self) -> Target:
        """Fabric of its part."""

    @property
    def part(self) -> Part:
        """Device on the board."""

    @property
    def memory_bytes(self) -> int:
        """Memory for Programs and their data, in bytes."""

    @property
    def loader(self) -> str:
        """Name of the board in openFPGALoader."""

    @property
    def bauds(self) -> tuple[int, ...]:
        """Supported bit rates of its serial line in bits per second."""

    def with_sdram(self, phase: float) -> "Board":
        """This board with its SDRAM as memory for Programs; the clock at the SDRAM's pin comes
        ``phase`` degrees after its controller's. Raises ``ValueError`` if it has none, or if there
        is no such phase."""

    def clock(self, config: ArchConfig, clock: float) -> float:
        """The fastest clock, in Hertz, up to the given one, that the board can generate for an
        accelerator. Raises ``ValueError`` if there is none, or if the board cannot carry this
        accelerator."""

    def memory_timing(self, config: ArchConfig, clock: float) -> MemoryTiming:
        """An estimate of its memory for an accelerator at a clock returned by :meth:`clock`."""

    def build(
        self,
        config: ArchConfig,
        clock: float,
        seeds: int = 1,
        *,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Built:
        """Place, route and pack, with ``seeds`` placements.

        Raises the same exceptions as :meth:`clock`.
        """

    def with_phase(self, routed: Routed, clock: float, phase: float) -> bytes:
        """The bitstream of a placement with another phase of the clock at the SDRAM's pin."""


@runtime_checkable
class Project(Protocol):
    """Interface of a board for which a project of its vendor's tools can be written."""

    @property
    def name(self) -> str:
        """Name of its folder."""

    @property
    def part(self) -> str:
        """Device on the board, by its ordering code."""

    @property
    def target(self) -> Target:
        """Fabric of its part."""

    @property
    def preset(self) -> str:
        """Default accelerator."""

    def files(self, config: ArchConfig, clock_mhz: float, netlist: str) -> Mapping[str, str]:
        """Files of the project by their paths; its README names the SHA-256 ``netlist``. Raises
        ``ValueError`` for a clock or an accelerator that the board does not support."""


def names() -> tuple[str, ...]:
    """Names of all boards whose bitstreams are made by open tools, in alphabetical order."""
    return _folders("build")


def projects() -> tuple[str, ...]:
    """Names of all boards for which projects are written, in alphabetical order."""
    return _folders("project")


def load(name: str) -> Board:
    """Return the board ``name``: ``BOARD`` of the module ``build`` in its folder.

    Raises ``ValueError`` if there is none of that name.
    """
    if name in projects():
        raise ValueError(
            f"{name} is built and loaded by its vendor's tools: `sigbit build {name} -o DIR` "
            "writes a project for them"
        )
    board = _member(name, names(), "build.BOARD")
    if not isinstance(board, Board) or board.name != name:
        raise TypeError(f"sigbit_boards.{name}.build.BOARD must be a Board named {name!r}")
    return board


def project(name: str) -> Project:
    """Return the project of board ``name``: ``PROJECT`` of the module ``project`` in its folder.

    Raises ``ValueError`` if there is none of that name.
    """
    found = _member(name, projects(), "project.PROJECT")
    if not isinstance(found, Project) or found.name != name:
        raise TypeError(f"sigbit_boards.{name}.project.PROJECT must be a Project named {name!r}")
    return found


def _folders(module: str) -> tuple[str, ...]:
    folders = [Path(path) for path in sigbit_boards.__path__]
    return tuple(sorted({p.parent.name for f in folders for p in f.glob(f"*/{module}.py")}))


def _member(name: str, known: tuple[str, ...], path: str) -> Any:
    if name not in known:
        raise ValueError(f"no board {name!r}: give one of {', '.join(names() + projects())}")
    module, member = path.split(".")
    return getattr(importlib.import_module(f"{sigbit_boards.__name__}.{name}.{module}"), member)
