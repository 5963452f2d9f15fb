"""Steps of a driver on a board, and the transports that execute them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sigbit.runtime import BoardError, Check


class SilenceError(BoardError):
    """No answer has ever arrived."""


@dataclass(frozen=True)
class WriteMemory:
    """Write ``data`` to memory from byte ``address`` on, a multiple of 4; up to three bytes after
    it become 0."""

    address: int
    data: bytes


@dataclass(frozen=True)
class ReadMemory:
    """Return ``size`` bytes of memory from byte ``address`` on, a multiple of 4."""

    address: int
    size: int


@dataclass(frozen=True)
class WriteRegisters:
    """Write words to registers from ``offset`` on."""

    offset: int
    words: tuple[int, ...]


@dataclass(frozen=True)
class ReadRegisters:
    """Return ``count`` registers from ``offset`` on, as little-endian words."""

    offset: int
    count: int


@dataclass(frozen=True)
class Await:
    """Wait a short time, up to ``seconds``, for the accelerator's interrupt; return ``b"\\x01"`` if
    it is there, else ``b"\\x00"``."""

    seconds: float


Step = WriteMemory | ReadMemory | WriteRegisters | ReadRegisters | Await


class Transport(Protocol):
    """Access to the registers and the memory of a board."""

    @property
    def name(self) -> str:
        """Display name, such as the name of a port."""

    @property
    def memory_bytes(self) -> int:
        """Size of the memory for Programs, which starts at address 0."""

    def bases(self, address: int) -> list[int]:
        """Bus addresses at which the accelerator's ports see the memory from ``address`` on."""

    def carry_out(self, steps: Sequence[Step], check: Check) -> list[bytes]:
        """Return the result of each step in order; ``b""`` for a step that writes.

        The effect is that of executing them one after the other. Raises :class:`BoardError` if the
        board does not answer, and any exception of ``check``: it is then unknown which steps were
        executed, but the next call finds the board in a defined state.
        """

    def close(self) -> None:
        """Close the board."""
