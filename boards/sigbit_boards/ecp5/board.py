"""Boards with an ECP5, a clock and a serial line, and their builds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.vendor import LatticeECP5Platform

import sigbit_boards
from sigbit_boards.ecp5 import pins
from sigbit_boards.ecp5.pll import made_clock
from sigbit_boards.ecp5.top import Ecp5Top
from sigbit_boards.registry import Built
from sigbit_boards.system import LEDS, SerialAccelerator, require_one_port
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.emit import convert
from sigbit_synthesis.emitted import gateware_key
from sigbit_synthesis.pnr import Mapped, Part, map_board, placements
from sigbit_synthesis.target import Target
from sigbit_tools.cache import cached_folder

TOP = "sigbit_board"
"""Name of the top module."""
BAUDS = (3_000_000, 2_000_000, 1_000_000)
"""Supported bit rates of the serial line in bits per second; the first one that the clock can
generate is used."""
_BAUD_ERROR = 0.015
_DIVISOR_MIN = 8


@dataclass(frozen=True)
class Ecp5Board:
    """A board; implements :class:`sigbit_boards.registry.Board`.

    Parameters
    ----------
    name : str
        The name of its folder.
    part : Part
    platform : type
        Its description in amaranth-boards.
    memory_bytes : int
        Size of the on-chip memory beside the accelerator.
    loader : str
        Name of the board in openFPGALoader.
    pulls : tuple
        Attributes of the serial line's pins that the platform description lacks.
    """

    name: str
    part: Part
    platform: type[LatticeECP5Platform]
    memory_bytes: int
    loader: str
    pulls: tuple[tuple[str, str], ...] = ()

    target = Target.ECP5
    bauds = BAUDS

    def clock(self, config: ArchConfig, clock: float) -> float:
        """The fastest clock, up to ``clock`` Hertz, that the board can generate for an accelerator.
        Raises ``ValueError`` if there is none, or if the board cannot carry this accelerator."""
        made = made_clock(pins.oscillator(self.platform), clock)
        self.line(made)
        require_one_port(config)
        return made

    def line(self, clock: float) -> tuple[int, int]:
        """Cycles per bit of the serial line, and bits per second, at a clock of ``clock`` Hertz."""
        for baud in BAUDS:
            divisor = round(clock / baud)
            if divisor >= _DIVISOR_MIN and abs(clock / divisor / baud - 1) <= _BAUD_ERROR:
                return divisor, baud
        raise ValueError(
            f"a clock of {clock / 1e6:g} MHz cannot drive a serial line of "
            f"{' or '.join(f'{baud:,}' for baud in BAUDS)} bits per second: use another clock"
        )

    def top(self, config: ArchConfig, clock: float) -> Ecp5Top:
        """The top module for a clock returned by :meth:`clock`."""
        divisor, _ = self.line(clock)
        core = SerialAccelerator(config, round(clock), divisor, self.memory_bytes)
        return Ecp5Top(core, pins.oscillator(self.platform), clock)

    def constraints(self) -> str:
        """Pins and the frequency of the board's own clock."""
        wanted = [
            pins.Wanted("clock", self.platform.default_clk),
            pins.Wanted("rx", "uart", part="rx", extra=self.pulls),
            pins.Wanted("tx", "uart", part="tx", extra=self.pulls),
            *(pins.Wanted(f"leds[{k}]", "led", k) for k in range(LEDS)),
        ]
        hertz = pins.oscillator(self.platform)
        return pins.constraints(pins.pins(self.platform, wanted), "clock", hertz)

    def build(
        self,
        config: ArchConfig,
        clock: float,
        seeds: int = 1,
        *,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Built:
        """Place, route and pack with ``seeds`` placements.

        Raises :class:`~sigbit_tools.toolchain.ToolchainError` with the log's last lines if a tool
        fails, ``ValueError`` as :meth:`clock` does.
        """
        told = progress or (lambda *_: None)
        made = self.clock(config, clock)
        text = emitted(self, config, made)
        netlist = map_board(text, TOP, told)
        design = Mapped(netlist, self.constraints(), self.part)
        return Built(made, self.line(made)[1], tuple(placements(design, made, seeds, told)))


def emitted(board: Ecp5Board, config: ArchConfig, clock: float) -> str:
    """RTLIL of ``board`` with an accelerator, from the cache if it has been emitted before."""
    root = Path(sigbit_boards.__file__).parent
    sources = [
        path.read_text() for path in sorted(root.rglob("*.py")) if "driver" not in path.parts
    ]

    def emit(into: Path) -> None:
        text = convert(board.top(config, clock), TOP, board.target.fabric)
        (into / "design.il").write_text(text)

    key = gateware_key(config, f"{clock}", board.name, *sources)
    return (cached_folder(f"rtlil-board-{key}", emit) / "design.il").read_text()
