"""Boards with an ECP5, a clock and a serial line, and their builds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from amaranth.vendor import LatticeECP5Platform

import sigbit_boards
from sigbit_boards.ecp5 import pins
from sigbit_boards.ecp5.pll import check_phase, made_clock, memory_clock, with_phase
from sigbit_boards.ecp5.top import Ecp5Top
from sigbit_boards.memory.axi_ram import AxiRam
from sigbit_boards.memory.controller import controller
from sigbit_boards.memory.sdram import Sdram
from sigbit_boards.registry import Built
from sigbit_boards.system import LEDS, SerialAccelerator, require_one_port
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.emit import convert
from sigbit_sim.memory import MemoryTiming
from sigbit_synthesis.emitted import gateware_key
from sigbit_synthesis.pnr import (
    CONFIG,
    Mapped,
    Part,
    Routed,
    map_board,
    placements,
    repacked,
)
from sigbit_synthesis.target import Target
from sigbit_tools.cache import cached_folder

TOP = "sigbit_board"
"""Name of the top module."""
BAUDS = (3_000_000, 2_000_000, 1_000_000)
"""Supported bit rates of the serial line in bits per second; the first one that the clock can
generate is used."""
_SDRAM_PINS = {
    **{name: name for name in ("clk", "a", "ba", "dq")},
    "cke": "clk_en",
    "cs_n": "cs",
    "ras_n": "ras",
    "cas_n": "cas",
    "we_n": "we",
    "dm": "dqm",
}
"""Pins of an SDRAM, and their names in amaranth-boards."""
_ON_CHIP = MemoryTiming(latency=2)
_SDRAM_LATENCY, _SDRAM_BYTES = 25, Fraction(19, 10)
"""Cycles to an SDRAM's first data, and bytes per cycle of its clock, refresh included: as in the
simulated top, see results/sdram.json."""
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
    on_chip_bytes : int
        Size of the on-chip memory beside the accelerator.
    loader : str
        Name of the board in openFPGALoader.
    pulls : tuple
        Attributes of the serial line's pins that the platform description lacks.
    sdram : bool
        The board has an SDRAM of 16 bits, 32 MiB.
    phase : float, optional
        Degrees by which the clock at the SDRAM's pin comes after its controller's; without it, the
        memory is on-chip.
    """

    name: str
    part: Part
    platform: type[LatticeECP5Platform]
    on_chip_bytes: int
    loader: str
    pulls: tuple[tuple[str, str], ...] = ()
    sdram: bool = False
    phase: float | None = None

    target = Target.ECP5
    bauds = BAUDS

    @property
    def memory_bytes(self) -> int:
        """Memory for Programs and their data, in bytes."""
        return self.on_chip_bytes if self.phase is None else Sdram.size

    def with_sdram(self, phase: float) -> "Ecp5Board":
        """This board with its SDRAM as memory; see :class:`sigbit_boards.registry.Board`."""
        if not self.sdram:
            raise ValueError(f"{self.name} has no SDRAM for Programs: its memory is on-chip")
        check_phase(phase)
        return replace(self, phase=phase)

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
        oscillator = pins.oscillator(self.platform)
        if self.phase is None:
            memory = AxiRam(self.on_chip_bytes // config.bus_bytes, config.bus_bits)
            core = SerialAccelerator(config, round(clock), divisor, memory)
            return Ecp5Top(core, oscillator, clock)
        sdram = Sdram(config.bus_bits, self.memory_clock(clock))
        core = SerialAccelerator(config, round(clock), divisor, sdram)
        return Ecp5Top(core, oscillator, clock, sdram, self.phase)

    def memory_clock(self, clock: float) -> float:
        """Frequency of the SDRAM's clock beside one returned by :meth:`clock`."""
        return memory_clock(pins.oscillator(self.platform), clock)

    def memory_timing(self, config: ArchConfig, clock: float) -> MemoryTiming:
        """An estimate of the memory; see :class:`sigbit_boards.registry.Board`."""
        if self.phase is None:
            return _ON_CHIP
        beats = _SDRAM_BYTES * Fraction(self.memory_clock(clock) / clock) / config.bus_bytes
        return MemoryTiming(_SDRAM_LATENCY, min(beats, Fraction(1)).limit_denominator(1000))

    def constraints(self) -> str:
        """Pins and the frequency of the board's own clock."""
        wanted = [
            pins.Wanted("clock", self.platform.default_clk),
            pins.Wanted("rx", "uart", part="rx", extra=self.pulls),
            pins.Wanted("tx", "uart", part="tx", extra=self.pulls),
            *(pins.Wanted(f"leds[{k}]", "led", k) for k in range(LEDS)),
        ]
        if self.phase is not None:
            wanted += [pins.Wanted(f"sdram_{k}", "sdram", part=v) for k, v in _SDRAM_PINS.items()]
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
        memory = None if self.phase is None else self.memory_clock(made)
        routed = tuple(placements(design, made, seeds, told))
        return Built(made, self.line(made)[1], routed, memory)

    def with_phase(self, routed: Routed, clock: float, phase: float) -> bytes:
        """The bitstream with another phase; see :class:`sigbit_boards.registry.Board`."""
        config = (routed.bitstream.parent / CONFIG).read_text()
        return repacked(with_phase(config, pins.oscillator(self.platform), clock, phase), self.part)


def emitted(board: Ecp5Board, config: ArchConfig, clock: float) -> str:
    """RTLIL of ``board`` with an accelerator, from the cache if it has been emitted before; an
    SDRAM's controller included."""
    root = Path(sigbit_boards.__file__).parent
    sources = [
        path.read_text() for path in sorted(root.rglob("*.py")) if "driver" not in path.parts
    ]

    def emit(into: Path) -> None:
        text = convert(board.top(config, clock), TOP, board.target.fabric)
        (into / "design.il").write_text(text)

    key = gateware_key(config, f"{clock}", board.name, str(board.phase), *sources)
    text = (cached_folder(f"rtlil-board-{key}", emit) / "design.il").read_text()
    return text if board.phase is None else text + controller(board.memory_clock(clock))
