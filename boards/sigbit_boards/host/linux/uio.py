"""A UIO device: the accelerator's registers and its interrupt.

After an interrupt the kernel masks its line. Writing a word of 1 unmasks it; reading a word, the
number of interrupts so far, waits for the next one.
"""

import os
import select
import time

from sigbit.runtime import BoardError
from sigbit_boards.host.linux.kernel import Kernel, told
from sigbit_hw.arch import regs
from sigbit_hw.arch.regs import OFFSET, WORD_BYTES

_CLASS = "sys/class/uio"
_UNMASK = (1).to_bytes(WORD_BYTES, "little")


def uio_names(kernel: Kernel) -> dict[str, str]:
    """Names of all UIO devices by file name (``uio0``); numbers change with the order in which
    drivers are bound."""
    return {node: kernel.text(f"{_CLASS}/{node}/name") for node in kernel.names(_CLASS)}


class Uio:
    """The open UIO device with the name ``name``.

    Raises :class:`BoardError` if there is none, or several, or another program uses it.
    """

    def __init__(self, kernel: Kernel, name: str) -> None:
        names = uio_names(kernel)
        nodes = [node for node, its in names.items() if its == name]
        if len(nodes) != 1:
            there = ", ".join(sorted(set(names.values()))) or "none"
            count = "several UIO devices are" if nodes else "no UIO device is"
            raise BoardError(
                f"{count} called {name}; there are: {there}. The property `linux,uio-name` of the "
                f"device tree names one"
            )
        (node,) = nodes
        first_map = f"{_CLASS}/{node}/maps/map0"
        size = kernel.number(f"{first_map}/size")
        offset = kernel.number(f"{first_map}/offset", 0)
        if size < 1 << regs.ADDRESS_BITS:
            raise BoardError(
                f"{name}: its registers have {size} bytes, an accelerator's "
                f"{1 << regs.ADDRESS_BITS}: mend `reg` in the device tree"
            )
        path = f"dev/{node}"
        self._path = kernel.root / path
        self._file = kernel.open(path)
        try:
            self._words = kernel.words(path, self._file, offset + size)
        except BaseException:
            os.close(self._file)
            raise
        self._first = offset // WORD_BYTES

    def read(self, offset: int) -> int:
        """The value of a register."""
        return int(self._words[self._first + offset // WORD_BYTES])

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        self._words[self._first + offset // WORD_BYTES] = value

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for an enabled interrupt; return whether there is one. An earlier
        interrupt that the kernel has counted is ignored."""
        end = time.monotonic() + seconds
        while not (pending := self._pending()) and (left := end - time.monotonic()) > 0:
            with told(self._path):
                os.write(self._file, _UNMASK)
                if select.select([self._file], [], [], left)[0]:
                    os.read(self._file, WORD_BYTES)
        return pending

    def _pending(self) -> bool:
        return bool(self.read(OFFSET["IRQ_STATUS"]) & self.read(OFFSET["IRQ_ENABLE"]))

    def close(self) -> None:
        """Close the device."""
        os.close(self._file)
