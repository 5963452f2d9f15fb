"""Steps of a driver, executed on registers and memory of this machine."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sigbit.runtime import Check
from sigbit_boards.host.linux.buffers import Buffer
from sigbit_boards.host.linux.uio import Uio
from sigbit_boards.host.steps import (
    Await,
    ReadMemory,
    ReadRegisters,
    Step,
    WriteMemory,
    WriteRegisters,
)
from sigbit_hw.arch import bus
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.regs import WORD_BYTES

_PIECE = 1 << 20
"""Bytes between two checks for an interruption; a multiple of every beat."""


class LinuxBoard:
    """An accelerator of the machine on which this code runs.

    Every port has its own part of the buffer. The first bytes of every beat lie in the first port's
    part, the next ones in the second's, and so on; addresses and sizes are multiples of a beat, as
    all in a Program are.

    Parameters
    ----------
    name : str
    uio : Uio
        Registers and interrupt.
    buffer : Buffer
    config : ArchConfig
        Determines the ports.
    """

    def __init__(self, name: str, uio: Uio, buffer: Buffer, config: ArchConfig) -> None:
        self.name = name
        self._uio, self._buffer = uio, buffer
        self._ports, self._port_bytes, self._beat = (
            config.ports,
            config.port_bytes,
            config.bus_bytes,
        )
        self._part = buffer.size // config.ports // bus.PAGE_BYTES * bus.PAGE_BYTES

    @property
    def memory_bytes(self) -> int:
        """Memory for Programs, over all ports together."""
        return self._ports * self._part

    def bases(self, address: int) -> list[int]:
        """Bus addresses at which the ports see the memory from ``address`` on."""
        first = self._buffer.address + address // self._ports
        return [first + port * self._part for port in range(self._ports)]

    def carry_out(self, steps: Sequence[Step], check: Check) -> list[bytes]:
        """Return the result of each step; see :class:`~sigbit_boards.host.steps.Transport`."""
        return [self._carry_out(step, check) for step in steps]

    def close(self) -> None:
        """Close registers and memory."""
        self._uio.close()
        self._buffer.close()

    def _carry_out(self, step: Step, check: Check) -> bytes:
        check()
        match step:
            case WriteRegisters(offset, words):
                for i, word in enumerate(words):
                    self._uio.write(offset + i * WORD_BYTES, word)
            case ReadRegisters(offset, count):
                values = (self._uio.read(offset + i * WORD_BYTES) for i in range(count))
                return b"".join(value.to_bytes(WORD_BYTES, "little") for value in values)
            case Await(seconds):
                return bytes([self._uio.wait(seconds)])
            case WriteMemory(address, data):
                array = np.frombuffer(data, np.uint8)
                for at in range(0, array.size, _PIECE):
                    check()
                    self._write(address + at, array[at : at + _PIECE])
            case ReadMemory(address, size):
                pieces = []
                for at in range(0, size, _PIECE):
                    check()
                    pieces.append(self._read(address + at, min(size - at, _PIECE)))
                return b"".join(pieces)
        return b""

    def _write(self, address: int, data: NDArray[np.uint8]) -> None:
        offset, size = self._part_of(address, data.size)
        lanes = data.reshape(-1, self._ports, self._port_bytes)
        for port in range(self._ports):
            part = np.ascontiguousarray(lanes[:, port]).reshape(size)
            self._buffer.write(port * self._part + offset, part)

    def _read(self, address: int, size: int) -> bytes:
        offset, count = self._part_of(address, size)
        lanes = np.empty((size // self._beat, self._ports, self._port_bytes), np.uint8)
        for port in range(self._ports):
            part = self._buffer.read(port * self._part + offset, count)
            lanes[:, port] = part.reshape(-1, self._port_bytes)
        return lanes.tobytes()

    def _part_of(self, address: int, size: int) -> tuple[int, int]:
        """Position and length, within the part of each port, of ``size`` bytes from ``address``
        on."""
        if address % self._beat or size % self._beat:
            raise ValueError(
                f"addresses and sizes must be multiples of {self._beat}, not {address} and {size}"
            )
        return address // self._ports, size // self._ports
