"""Serial lines of this machine."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import serial

from sigbit.runtime import BoardError


class Line(Protocol):
    """Byte stream to and from a board."""

    @property
    def name(self) -> str:
        """Display name."""

    @property
    def baud(self) -> int:
        """Bit rate in bits per second."""

    def write(self, data: bytes) -> None:
        """Send bytes. Raises :class:`BoardError` if the line is gone."""

    def read(self, timeout: float) -> bytes:
        """Return received bytes, at least one if any arrive within ``timeout`` seconds. Raises
        :class:`BoardError` if the line is gone."""

    def close(self) -> None:
        """Close the line."""


class SerialLine:
    """A serial port: eight bits, no parity, one stop bit.

    Raises :class:`BoardError` if it cannot be opened.
    """

    def __init__(self, port: str, baud: int) -> None:
        self.name, self.baud = port, baud
        with self._told():
            self._port = serial.Serial(port, baud, exclusive=os.name == "posix" or None)
            self._port.reset_input_buffer()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        with self._told():
            self._port.write(data)

    def read(self, timeout: float) -> bytes:
        """Return received bytes, at least one if any arrive within ``timeout`` seconds."""
        with self._told():
            self._port.timeout = timeout
            first: bytes = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""

    def close(self) -> None:
        """Close the line."""
        self._port.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Convert errors of the operating system to messages for the user."""
        try:
            yield
        except (OSError, serial.SerialException, TypeError) as error:  # TypeError: already closed
            number = getattr(error, "errno", None)
            if number == errno.ENOENT:
                why = "there is no such port: is the board connected? `sigbit devices` lists ports"
            elif number == errno.EACCES:
                why = "you may not use it: on Linux, join the group `dialout` and log in again"
            elif number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
                why = "another program uses it"
            else:
                why = f"the line is gone ({error}): was the board unplugged?"
            raise BoardError(f"{self.name}: {why}") from None
