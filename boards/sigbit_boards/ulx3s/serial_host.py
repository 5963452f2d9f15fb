"""The host's side of :class:`~sigbit_boards.ulx3s.board.SerialAccelerator`: runs Programs on it."""

import time
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sigbit_boards.ulx3s.board import DONE, MEMORY_BIT, READ, WRITE
from sigbit_hw.arch import launch, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_hw.arch.scrub import scrub_program

_MEMORY = 1 << MEMORY_BIT
_WORD = regs.WORD_BYTES


class BoardError(Exception):
    """The board does not answer, or the accelerator on it stopped with an error."""


class Line(Protocol):
    """A serial line, for instance of pyserial: 8 bits, no parity, one stop bit."""

    def write(self, data: bytes, /) -> object:
        """Send bytes."""

    def read(self, size: int, /) -> bytes:
        """Wait for ``size`` bytes; fewer when the line's timeout is over."""


class SerialHost:
    """Registers and memory of an accelerator at the other end of ``line``.

    Raises :class:`BoardError` if no accelerator answers.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        magic = self.read(regs.OFFSET["MAGIC"])
        if magic != regs.MAGIC:
            raise BoardError(f"no accelerator answers on the serial line: magic {magic:#010x}")

    def write(self, address: int, word: int) -> None:
        """Write a 32-bit word."""
        data = address.to_bytes(_WORD, "little") + int(word).to_bytes(_WORD, "little")
        self._line.write(bytes([WRITE]) + data)
        if (answer := self._line.read(1)) != bytes([DONE]):
            raise BoardError(f"a write to {address:#010x} was answered by {answer!r}")

    def read(self, address: int) -> int:
        """Read a 32-bit word."""
        self._line.write(bytes([READ]) + address.to_bytes(_WORD, "little"))
        answer = self._line.read(_WORD)
        if len(answer) != _WORD:
            raise BoardError(f"a read of {address:#010x} was answered by {len(answer)} bytes of 4")
        return int.from_bytes(answer, "little")

    @property
    def config(self) -> ArchConfig:
        """What the accelerator says that it is; :class:`BoardError` if it cannot."""
        try:
            return launch.discover(lambda name: self.read(regs.OFFSET[name]))
        except ValueError as error:
            raise BoardError(str(error)) from None

    def scrub(self, timeout: float = 60.0) -> None:
        """Clear memories and registers of the accelerator between two owners. What the first one's
        Program left beyond the window of the next in the board's memory, no Program can reach."""
        config = self.config
        program = scrub_program(config)
        self.run(program, program.memory(), timeout)
        self._set({"CONTROL": regs.CONTROL_SOFT_RESET, **launch.blank(config)})

    def run(self, program: Program, window: NDArray[np.uint8], timeout: float = 60.0) -> None:
        """Reset the accelerator and run a Program on its DMA window, whose writable part is updated
        in place.

        Raises :class:`BoardError` if it was compiled for another accelerator, on an error of the
        accelerator, or after ``timeout`` seconds.
        """
        for name, value in launch.identity(program.config).items():
            if (found := self.read(regs.OFFSET[name])) != value:
                raise BoardError(
                    f"the accelerator is not {program.config.name}, which {program.name} was "
                    f"compiled for: its {name} is {found:#010x}, not {value:#010x}"
                )
        padded = np.pad(window, (0, -window.size % _WORD)).view("<u4")
        for index, word in enumerate(padded):
            self.write(_MEMORY | _WORD * index, word)
        bases = [0] * program.config.ports
        end = time.monotonic() + timeout
        self._set({"CONTROL": regs.CONTROL_SOFT_RESET})
        while not self.read(regs.OFFSET["STATUS"]) & regs.STATUS_BUS_IDLE:
            if time.monotonic() > end:
                raise BoardError(f"the accelerator's bus did not become idle within {timeout:g} s")
        self._set({**launch.set_up_program(program, bases), **launch.START})
        while not (pending := self.read(regs.OFFSET["IRQ_STATUS"])):
            if time.monotonic() > end:
                raise BoardError(f"the accelerator did not finish within {timeout:g} s")
        self._set({"IRQ_STATUS": pending})
        if pending & regs.IRQ_REFUSED:
            raise BoardError("the accelerator refused to be started; does another host use it?")
        if pending & regs.IRQ_ERROR:
            cause = regs.Cause(self.read(regs.OFFSET["CAUSE"]))
            raise BoardError(f"the accelerator stopped: {regs.CAUSE_DOC[cause]}")
        low, high = program.write_window
        first = low // _WORD
        for index in range(first, -(-high // _WORD)):
            padded[index] = self.read(_MEMORY | _WORD * index)
        window[:] = padded.view(np.uint8)[: window.size]

    def _set(self, registers: Mapping[str, int]) -> None:
        for name, value in registers.items():
            self.write(regs.OFFSET[name], value)
