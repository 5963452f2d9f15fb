"""Boards by name: the folders beside this module that have a module ``build``, whose bitstreams are
made here, or a module ``project``, whose bitstreams are made by the vendor's tools."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import sigbit_boards
from sigbit_hw.arch.config import ArchConfig
from sigbit_synthesis.pnr import Part, Routed
from sigbit_synthesis.target import Target


@dataclass(frozen=True)
class Built:
    """A board with an accelerator, placed, routed and packed.

    Parameters
    ----------
    clock_hz : float
        The accelerator's clock.
    baud : int
        Bits a second of the serial line.
    placements : tuple of Routed
        One for each seed.
    """

    clock_hz: float
    baud: int
    placements: tuple[Routed, ...]

    @property
    def fastest(self) -> Routed:
        """The placement whose clock could be the fastest."""
        return max(self.placements, key=lambda routed: routed.fmax_mhz)


@runtime_checkable
class Board(Protocol):
    """What there is to build for a board."""

    @property
    def name(self) -> str:
        """The name of its folder."""

    @property
    def target(self) -> Target:
        """The fabric of its part."""

    @property
    def part(self) -> Part:
        """The device on it."""

    @property
    def memory_bytes(self) -> int:
        """Memory for Programs and their data."""

    @property
    def loader(self) -> str:
        """What openFPGALoader calls it."""

    @property
    def bauds(self) -> tuple[int, ...]:
        """Bits a second that its serial line may have."""

    def clock(self, config: ArchConfig, clock: float) -> float:
        """The fastest clock, in Hertz, up to the one given, that it can make for an accelerator;
        ``ValueError`` if there is none, or if it cannot carry this accelerator."""

    def build(
        self,
        config: ArchConfig,
        clock: float,
        seeds: int = 1,
        *,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Built:
        """Place, route and pack, with ``seeds`` placements.

        Raises what :meth:`clock` raises.
        """


@runtime_checkable
class Project(Protocol):
    """A board for which a project of its vendor's tools can be written."""

    @property
    def name(self) -> str:
        """The name of its folder."""

    @property
    def part(self) -> str:
        """The device on it, by its ordering code."""

    @property
    def target(self) -> Target:
        """The fabric of its part."""

    @property
    def preset(self) -> str:
        """The accelerator that it is for, unless another is wanted."""

    def files(self, config: ArchConfig, clock_mhz: float, netlist: str) -> Mapping[str, str]:
        """Texts by their paths in the project, whose README names the SHA-256 ``netlist``;
        ``ValueError`` for a clock or an accelerator that the board cannot have."""


def names() -> tuple[str, ...]:
    """The names of all boards whose bitstreams are made here, in alphabetical order."""
    return _folders("build")


def projects() -> tuple[str, ...]:
    """The names of all boards for which projects are written, in alphabetical order."""
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
