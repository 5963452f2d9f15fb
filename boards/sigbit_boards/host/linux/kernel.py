"""Files of the Linux kernel: attributes below /sys, devices below /dev."""

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sigbit.runtime import BoardError
from sigbit_hw.arch.regs import WORD_BYTES


class Words(Protocol):
    """Registers by their index; every access is a single 32-bit access."""

    def __getitem__(self, index: int) -> int:
        """Read one register."""

    def __setitem__(self, index: int, value: int) -> None:
        """Write one register."""


class Kernel:
    """The kernel's files below ``root``, by their paths without the first slash.

    All methods raise :class:`BoardError` for errors of the system.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def names(self, folder: str) -> list[str]:
        """Sorted names in a folder; empty if there is none."""
        try:
            return sorted(os.listdir(self.root / folder))
        except FileNotFoundError:
            return []

    def text(self, path: str) -> str:
        """The value of an attribute."""
        with told(self.root / path):
            return (self.root / path).read_text().strip()

    def number(self, path: str, default: int | None = None) -> int:
        """Value of an attribute that is a number; if there is no such attribute, ``default``, if
        given."""
        if default is not None and not (self.root / path).exists():
            return default
        text = self.text(path)
        try:
            return int(text, 0)
        except ValueError:
            raise BoardError(f"{self.root / path} must hold a number, not {text!r}") from None

    def put(self, path: str, value: int) -> None:
        """Set an attribute."""
        with told(self.root / path), (self.root / path).open("w") as file:
            file.write(str(value))

    def open(self, path: str, flags: int = 0) -> int:
        """Open a device exclusively for reading and writing; return its descriptor."""
        import fcntl  # `sigbit devices` looks for devices also where there is no such module

        with told(self.root / path):
            file = os.open(self.root / path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY | flags)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                os.close(file)
                raise
            return file

    def bytes(self, path: str, file: int, size: int, offset: int = 0) -> NDArray[np.uint8]:
        """``size`` bytes of an open device from ``offset`` on, a multiple of the page size, mapped
        as shared memory."""
        with told(self.root / path):
            return np.frombuffer(mmap.mmap(file, size, offset=offset), np.uint8)

    def words(self, path: str, file: int, size: int) -> Words:
        """``size`` bytes of an open device as registers."""
        words: NDArray[np.uint32] = self.bytes(path, file, size).view(f"<u{WORD_BYTES}")
        return words  # NumPy loads and stores an element of an aligned array in one access


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Convert errors of the operating system to messages for the user."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT:
            why = "there is no such file: is the device-tree overlay loaded, and its driver?"
        elif error.errno in (errno.EACCES, errno.EPERM):
            why = "you may not use it: run as root, or have a udev rule grant it to you"
        elif error.errno in (errno.EBUSY, errno.EAGAIN):
            why = "another program uses it"
        else:
            why = f"{error.strerror}: is the bitstream still loaded?"
        raise BoardError(f"{path}: {why}") from None
