"""Memory shared by the processor and the accelerator, from three providers.

Ports of the accelerator are not coherent with the processor's caches. A cached buffer is therefore
synchronised: after a write to memory, and before a read from it, each time for exactly the bytes
that are accessed.
"""

import importlib
import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sigbit.runtime import BoardError
from sigbit_boards.host.linux.kernel import Kernel

_CLASSES = ("sys/class/u-dma-buf", "sys/class/udmabuf")
"""Folders of the module u-dma-buf, and of its versions before 4.0."""
_TO_DEVICE, _FROM_DEVICE = 1, 2
_WORD = 8


class Buffer(Protocol):
    """``size`` contiguous bytes from bus address ``address`` on; they are written and read in whole
    words of 8 bytes."""

    @property
    def address(self) -> int:
        """Bus address of the buffer for the accelerator."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    def write(self, offset: int, data: NDArray[np.uint8]) -> None:
        """Write ``data`` so that the accelerator sees it."""

    def read(self, offset: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of ``size`` bytes as the accelerator left them."""

    def close(self) -> None:
        """Close the buffer."""


class UDmaBuf:
    """A cached buffer of the kernel module u-dma-buf with the name ``name``."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        folders = [f"{c}/{name}" for c in _CLASSES if name in kernel.names(c)]
        if not folders:
            there = ", ".join(n for c in _CLASSES for n in kernel.names(c)) or "none"
            raise BoardError(
                f"no u-dma-buf is called {name}; there are: {there}. The property `device-name` of "
                f"the device tree names one; it needs the kernel module u-dma-buf"
            )
        self._kernel, self._folder = kernel, folders[0]
        if kernel.number(f"{self._folder}/dma_coherent", 0):
            raise BoardError(
                f"u-dma-buf {name} is coherent, the accelerator's transfers are not: take "
                f"`dma-coherent` out of the device tree"
            )
        self.address = kernel.number(f"{self._folder}/phys_addr")
        self.size = kernel.number(f"{self._folder}/size")
        path = f"dev/{name}"
        self._file = kernel.open(path)
        try:
            self._memory = kernel.bytes(path, self._file, self.size)
        except BaseException:
            os.close(self._file)
            raise

    def write(self, offset: int, data: NDArray[np.uint8]) -> None:
        """Write ``data`` so that the accelerator sees it."""
        self._memory[offset : offset + data.size] = data
        self._synchronise(offset, data.size, _TO_DEVICE, "sync_for_device")

    def read(self, offset: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of ``size`` bytes as the accelerator left them."""
        self._synchronise(offset, size, _FROM_DEVICE, "sync_for_cpu")
        return self._memory[offset : offset + size].copy()

    def _synchronise(self, offset: int, size: int, direction: int, act: str) -> None:
        for attribute, value in (
            ("sync_offset", offset),
            ("sync_size", size),
            ("sync_direction", direction),
            (act, 1),
        ):
            self._kernel.put(f"{self._folder}/{attribute}", value)

    def close(self) -> None:
        """Close the buffer."""
        os.close(self._file)


class XrtBuffer:
    """A cached XRT buffer of ``size`` bytes.

    It corresponds to PYNQ's ``allocate``, but uses XRT's own module: PYNQ needs NumPy 1, and
    synchronises a whole buffer whenever a part of it is accessed.
    """

    def __init__(self, size: int) -> None:
        try:
            xrt: Any = importlib.import_module("pyxrt")
        except ImportError:
            raise BoardError(
                "there is no module pyxrt here: install XRT for this Python, as PYNQ's image has "
                "it, or use memory of u-dma-buf"
            ) from None
        try:
            self._device = xrt.device(0)
            self._buffer = xrt.bo(self._device, size, xrt.bo.flags.cacheable, 0)
            self._memory = np.frombuffer(self._buffer.map(), np.uint8, size)
        except (RuntimeError, MemoryError) as error:
            raise BoardError(
                f"XRT cannot allocate {size:,} bytes ({error}): is there a zocl node in the device "
                f"tree? Or ask for fewer, or give the kernel a larger CMA area (bootarg cma=)"
            ) from None
        direction = xrt.xclBOSyncDirection
        self._to_device = direction.XCL_BO_SYNC_BO_TO_DEVICE
        self._from_device = direction.XCL_BO_SYNC_BO_FROM_DEVICE
        self.address, self.size = int(self._buffer.address()), size

    def write(self, offset: int, data: NDArray[np.uint8]) -> None:
        """Write ``data`` so that the accelerator sees it."""
        self._memory[offset : offset + data.size] = data
        self._synchronise(self._to_device, data.size, offset)

    def read(self, offset: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of ``size`` bytes as the accelerator left them."""
        self._synchronise(self._from_device, size, offset)
        return self._memory[offset : offset + size].copy()

    def _synchronise(self, direction: object, size: int, offset: int) -> None:
        try:
            self._buffer.sync(direction, size, offset)
        except RuntimeError as error:
            raise BoardError(f"XRT cannot synchronise memory: {error}") from None

    def close(self) -> None:
        """Close the buffer."""
        del self._memory, self._buffer, self._device


class ReservedMemory:
    """``size`` bytes of uncached memory from ``address`` on that the kernel does not use
    (``reserved-memory`` with ``no-map``).

    It is mapped as device memory: accesses happen in order, and must be aligned. It is therefore
    copied in aligned words, alternate words at a time: for contiguous words NumPy calls ``memcpy``,
    which may use other accesses.
    """

    def __init__(self, kernel: Kernel, address: int, size: int) -> None:
        self.address, self.size = address, size
        self._file = kernel.open("dev/mem", os.O_SYNC)
        try:
            memory = kernel.bytes("dev/mem", self._file, size, address)
        except BaseException:
            os.close(self._file)
            raise
        self._words = memory.view(np.uint64)

    def write(self, offset: int, data: NDArray[np.uint8]) -> None:
        """Write ``data`` so that the accelerator sees it."""
        words, to = data.view(np.uint64), self._part(offset, data.size)
        to[::2], to[1::2] = words[::2], words[1::2]

    def read(self, offset: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of ``size`` bytes as the accelerator left them."""
        source = self._part(offset, size)
        words = np.empty(source.size, np.uint64)
        words[::2], words[1::2] = source[::2], source[1::2]
        return words.view(np.uint8)

    def _part(self, offset: int, size: int) -> NDArray[np.uint64]:
        return self._words[offset // _WORD : (offset + size) // _WORD]

    def close(self) -> None:
        """Close the buffer."""
        os.close(self._file)
