"""What a driver does with a board, in order, and who does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sigbit.runtime import BoardError, Check


class SilenceError(BoardError):
    """Nothing has ever answered."""


@dataclass(frozen=True)
class WriteMemory:
    """Put ``data`` into memory, from byte ``address`` on, a multiple of 4; up to three bytes behind
    it become 0."""

    address: int
    data: bytes


@dataclass(frozen=True)
class ReadMemory:
    """Give ``size`` bytes of memory from byte ``address`` on, a multiple of 4."""

    address: int
    size: int


@dataclass(frozen=True)
class WriteRegisters:
    """Write words to registers from ``offset`` on."""

    offset: int
    words: tuple[int, ...]


@dataclass(frozen=True)
class ReadRegisters:
    """Give ``count`` registers from ``offset`` on, as little-endian words."""

    offset: int
    count: int


@dataclass(frozen=True)
class Await:
    """Wait for the accelerator's interrupt, up to so many seconds, and not long; give ``b"\\x01"``
    or ``b"\\x00"``: whether it is there."""

    seconds: float


Step = WriteMemory | ReadMemory | WriteRegisters | ReadRegisters | Await


class Transport(Protocol):
    """A way to the registers and the memory of a board."""

    @property
    def name(self) -> str:
        """What people call it, such as the name of a port."""

    @property
    def memory_bytes(self) -> int:
        """Memory for Programs, from address 0 on."""

    def bases(self, address: int) -> list[int]:
        """Bus addresses at which the accelerator's ports see what lies from ``address`` on."""

    def carry_out(self, steps: Sequence[Step], check: Check) -> list[bytes]:
        """What each step gives, in their order; ``b""`` for one that writes.

        The effect is that of carrying them out one after the other. :class:`BoardError` if the
        board does not answer, and whatever ``check`` raises: it is then unknown which steps were
        carried out, and the next call finds the board in a sound state all the same.
        """

    def close(self) -> None:
        """Let the board go."""
