"""The board of an accelerator, placed, routed and packed."""

from collections.abc import Callable
from pathlib import Path

from sigbit_boards.registry import Board
from sigbit_boards.ulx3s.board import (
    BAUD,
    SerialAccelerator,
    Ulx3sBoard,
    board_clock,
    constraints,
)
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.emit import convert
from sigbit_synthesis.emitted import gateware_key
from sigbit_synthesis.pnr import LFE5U_85F, Mapped, Routed, fastest, map_board
from sigbit_synthesis.target import Target
from sigbit_tools.cache import cached_folder

TOP = "sigbit_board"
"""Name of the board's top module."""


def place_and_route(
    config: ArchConfig,
    clock: float,
    seeds: int = 1,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Routed:
    """Place and route the board of ``config`` for ``clock`` Hertz, with up to ``seeds`` placements:
    the first that meets the clock, else the fastest.

    Parameters
    ----------
    progress : callable, optional
        Called with what is done, how many steps are done, and of how many.

    Raises :class:`~sigbit_tools.toolchain.ToolchainError` with the log's last lines if a tool
    fails, ``ValueError`` if the board cannot have this clock or this accelerator.
    """
    told = progress or (lambda *_: None)
    made = board_clock(config, clock)
    sources = [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]

    def emit(into: Path) -> None:
        board = Ulx3sBoard(SerialAccelerator(config, round(made / BAUD)), made)
        (into / "design.il").write_text(convert(board, TOP, Target.ECP5.fabric))

    key = gateware_key(config, f"{made}", *sources)
    folder = cached_folder(f"rtlil-board-{key}", emit)
    netlist = map_board((folder / "design.il").read_text(), TOP, told)
    return fastest(Mapped(netlist, constraints(), LFE5U_85F), made, seeds, told)


BOARD = Board("ulx3s", Target.ECP5, LFE5U_85F, board_clock, place_and_route)
