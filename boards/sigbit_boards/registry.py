"""Boards by name: the folders beside this module."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import sigbit_boards
from sigbit_hw.arch.config import ArchConfig
from sigbit_synthesis.pnr import Part, Routed
from sigbit_synthesis.target import Target


class PlaceAndRoute(Protocol):
    """Place, route and pack an accelerator's board."""

    def __call__(
        self,
        config: ArchConfig,
        clock: float,
        seeds: int = 1,
        *,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Routed:
        """Return the first of ``seeds`` placements that meets ``clock`` Hertz, else the fastest.

        Raises what :attr:`Board.clock` raises.
        """


@dataclass(frozen=True)
class Board:
    """What there is to build for a board.

    Parameters
    ----------
    name : str
        The name of its folder.
    target : Target
        The fabric of its part.
    part : Part
        The device on it.
    clock : callable
        The fastest clock, in Hertz, up to the one given, that it can make for an accelerator;
        ``ValueError`` if there is none, or if it cannot carry this accelerator.
    place_and_route : PlaceAndRoute
        How an accelerator gets onto it.
    """

    name: str
    target: Target
    part: Part
    clock: Callable[[ArchConfig, float], float]
    place_and_route: PlaceAndRoute


def names() -> tuple[str, ...]:
    """The names of all boards, in alphabetical order."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(sigbit_boards.__path__) if m.ispkg))


def load(name: str) -> Board:
    """Return the board ``name``: ``BOARD`` of the module ``build`` in its folder.

    Raises ``ValueError`` if there is none of that name.
    """
    if name not in names():
        raise ValueError(f"no board {name!r}: give one of {', '.join(names())}")
    board = importlib.import_module(f"{sigbit_boards.__name__}.{name}.build").BOARD
    if not isinstance(board, Board) or board.name != name:
        raise TypeError(f"sigbit_boards.{name}.build.BOARD must be a Board named {name!r}")
    return board
