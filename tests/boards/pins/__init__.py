"""A board's whole top in Verilator, its serial line a pseudo-terminal."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sigbit_boards.ecp5.board import TOP
from sigbit_boards.ecp5.pll import memory_clock
from sigbit_boards.ecp5.top import Ecp5Top
from sigbit_boards.memory.axi_ram import AxiRam
from sigbit_boards.memory.controller import controller
from sigbit_boards.memory.sdram import Sdram
from sigbit_boards.system import SerialAccelerator
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.emit import convert
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import find_verilator, synth_tool, verilator_env, verilator_version

_HERE = Path(__file__).parent
_SOURCES = ("main.cpp", "cells.v")
_HEADERS = ("sdram.h",)
_STARTED = 4096
"""Cycles after which the part's clocks run."""
_TO_VERILOG = (
    "read_rtlil board.il; proc -nomux -norom; memory_collect; write_verilog -norename board.v"
)


@dataclass(frozen=True)
class Setting:
    """A top: accelerator, clocks in Hertz, cycles a bit of its line, and bytes of on-chip memory,
    or the phase of an SDRAM's clock in degrees."""

    config: ArchConfig
    oscillator: float
    clock: float
    divisor: int
    memory_bytes: int = 0
    phase: float | None = None

    def text(self) -> str:
        """Its RTLIL."""
        config = self.config
        if self.phase is None:
            memory = AxiRam(self.memory_bytes // config.bus_bytes, config.bus_bits)
            core = SerialAccelerator(config, round(self.clock), self.divisor, memory)
            return convert(Ecp5Top(core, self.oscillator, self.clock), TOP, Fabric.GENERIC)
        sdram = Sdram(config.bus_bits, self.memory_clock)
        core = SerialAccelerator(config, round(self.clock), self.divisor, sdram)
        top = Ecp5Top(core, self.oscillator, self.clock, sdram, self.phase)
        return convert(top, TOP, Fabric.GENERIC) + controller(self.memory_clock)

    @property
    def memory_clock(self) -> float:
        return memory_clock(self.oscillator, self.clock)


def simulator(setting: Setting) -> Path:
    """The program, from the cache if it was built before."""
    text, has_sdram = setting.text(), setting.phase is not None
    sources = [(_HERE / name).read_text() for name in (*_SOURCES, *_HEADERS, "__init__.py")]
    key = key_of(text, str(has_sdram), *sources, repr(verilator_version()))
    folder = cached_folder(f"board-pins-{key}", lambda into: _build(text, has_sdram, into))
    return folder / "board"


def _build(text: str, has_sdram: bool, folder: Path) -> None:
    (folder / "board.il").write_text(text)
    subprocess.run(
        [synth_tool("yosys"), "-q", "-p", _TO_VERILOG], cwd=folder, check=True, capture_output=True
    )
    command = [str(find_verilator().command), "--cc", "--exe", "--build", "--top-module", TOP]
    command += ["--prefix", "Vboard", "-Wno-fatal", "-Wno-lint", "-O3", "--no-timing"]
    command += ["--x-assign", "fast", "--x-initial", "fast", "--no-assert"]
    flags = f"-std=c++20 -I{_HERE}{' -DSDRAM' if has_sdram else ''}"
    command += [
        "--pins-inout-enables",
        "-CFLAGS",
        flags,
        "--Mdir",
        "obj",
        "-o",
        str(folder / "board"),
    ]
    command += ["board.v", *(str(_HERE / name) for name in reversed(_SOURCES))]
    done = subprocess.run(
        command, cwd=folder, env=verilator_env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@dataclass(frozen=True)
class Clock:
    """Cycles of the accelerator's clock, bytes sent to and from the board, and of an SDRAM the
    cycles of its clock and the words read and written, so far."""

    cycles: int
    sent: int
    came: int
    memory_cycles: int = 0
    read: int = 0
    written: int = 0


class Pins:
    """A running board; ``port`` is its serial line. Data of an SDRAM take ``flight`` picoseconds
    to the part."""

    def __init__(self, setting: Setting, seed: int = 1, flight: int = 0) -> None:
        self.setting = setting
        self._process = subprocess.Popen(
            [
                simulator(setting),
                *map(str, (setting.oscillator, setting.divisor, seed, flight)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._unplugged = False
        assert self._process.stdout is not None
        self.port = self._process.stdout.readline().strip()
        while self.tell().cycles < _STARTED:  # nothing is received before
            pass

    def tell(self, text: str = "cycles") -> Clock:
        """Give the board's surroundings an order; return where it stands."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        return Clock(*map(int, self._process.stdout.readline().split()))

    def unplug(self) -> None:
        """The line is gone, and the board without power. Raises ``AssertionError`` if the
        simulation has ended by itself, which a violation of a memory's timing does."""
        ended = self._process.poll()
        self._process.kill()
        _, told = self._process.communicate()
        assert ended is None or self._unplugged, told
        self._unplugged = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.unplug()
