"""A kernel's files in a folder: UIO, u-dma-buf, /dev/mem; and the module ``pyxrt``.

What cannot be a file is a method: registers, which act when they are written, and synchronising a
buffer. The processor's cache and the memory are apart: what is not synchronised is stale.
"""

import os
import pty
import select
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from boards.fake_registers import ADDRESS, Accelerator, lines
from sigbit_boards.host.linux.kernel import Kernel, Words
from sigbit_hw.arch.regs import WORD_BYTES

NAME = "sigbit"
MEMORY_BYTES = 64 << 10


class FakeKernel(Kernel):
    """The files of an accelerator called :data:`NAME` with memory of :data:`MEMORY_BYTES`.

    ``synchronised`` are the synchronisations: the file that was written, offset, size.
    """

    def __init__(self, root: Path, make: Callable[[np.ndarray], Accelerator]) -> None:
        super().__init__(root)
        rng = np.random.default_rng(1)
        self.memory = rng.integers(0, 256, MEMORY_BYTES, np.uint8)
        self.cache = self.memory[::-1].copy()
        self.synchronised: list[tuple[str, int, int]] = []
        self.accelerator = make(self.memory)
        self.there = True
        self._lock = threading.Lock()
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        self._attributes("sys/class/uio/uio0", name="another")
        self._attributes("sys/class/uio/uio3", name=NAME)
        self._attributes("sys/class/uio/uio3/maps/map0", size="0x10000", offset="0x0")
        self._attributes(
            f"sys/class/u-dma-buf/{NAME}", phys_addr=f"{ADDRESS:#x}", size=str(MEMORY_BYTES)
        )
        (root / "dev").mkdir()
        (root / "dev/uio3").symlink_to(os.ttyname(self._theirs))
        self.cache.tofile(root / "dev" / NAME)
        self.cache = np.memmap(root / "dev" / NAME, np.uint8, "r+")

    def _attributes(self, folder: str, **values: str) -> None:
        path = self.root / folder
        path.mkdir(parents=True)
        for name, value in values.items():
            (path / name).write_text(f"{value}\n")

    def words(self, path: str, file: int, size: int) -> Words:
        assert (path, size) == ("dev/uio3", 0x10000)
        return _Registers(self.accelerator, self._lock)

    def open(self, path: str, flags: int = 0) -> int:
        if not self.there:
            path += ".gone"
        return super().open(path, flags)

    def put(self, path: str, value: int) -> None:
        super().put(path, value)
        folder, name = path.rsplit("/", 1)
        if name in ("sync_for_device", "sync_for_cpu"):
            offset, size, direction = (
                self.number(f"{folder}/sync_{each}") for each in ("offset", "size", "direction")
            )
            assert (direction, value) == ({"sync_for_device": 1, "sync_for_cpu": 2}[name], 1)
            self.synchronise(name, self.cache, offset, size)

    def synchronise(self, name: str, cache: np.ndarray, offset: int, size: int) -> None:
        """Bring memory or cache up to date, by lines."""
        assert 0 <= offset < offset + size <= MEMORY_BYTES
        self.synchronised.append((name, offset, size))
        with self._lock:
            part = lines(offset, size)
            if name == "sync_for_device":
                self.memory[part] = cache[part]
            else:
                cache[part] = self.memory[part]

    # Other providers

    def reserved(self) -> str:
        """Make ``/dev/mem`` of the memory, which is then uncached; how a device's name says so."""
        path = self.root / "dev/mem"
        with path.open("wb") as file:
            file.truncate(ADDRESS + MEMORY_BYTES)  # sparse
        self.accelerator.memory = np.memmap(path, np.uint8, "r+", ADDRESS)
        return f"{NAME},reserved={ADDRESS:#x}+{MEMORY_BYTES:#x}"

    def xrt(self) -> str:
        """Put a module ``pyxrt`` in place; how a device's name says so."""
        kernel = self

        class Bo:
            flags = SimpleNamespace(normal=0, cacheable=1)

            def __init__(self, device: object, size: int, flags: int, group: int) -> None:
                if size > MEMORY_BYTES:
                    raise RuntimeError("failed to allocate")
                assert (device, size, flags, group) == ("device 0", MEMORY_BYTES, 1, 0)

            def map(self) -> memoryview:
                return memoryview(kernel.cache)

            def address(self) -> int:
                return ADDRESS

            def sync(self, direction: str, size: int, offset: int) -> None:
                kernel.synchronise(direction, kernel.cache, offset, size)

        sys.modules["pyxrt"] = SimpleNamespace(  # type: ignore[assignment]
            bo=Bo,
            device=lambda index: f"device {index}",
            xclBOSyncDirection=SimpleNamespace(
                XCL_BO_SYNC_BO_TO_DEVICE="sync_for_device",
                XCL_BO_SYNC_BO_FROM_DEVICE="sync_for_cpu",
            ),
        )
        return f"{NAME},xrt={MEMORY_BYTES:#x}"

    # Interrupts

    @contextmanager
    def running(self) -> Iterator["FakeKernel"]:
        """The accelerator goes on while the driver waits for its interrupt."""
        stop = threading.Event()
        thread = threading.Thread(target=self._interrupts, args=(stop,))
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()
            os.close(self._ours)
            os.close(self._theirs)
            sys.modules.pop("pyxrt", None)

    def _interrupts(self, stop: threading.Event) -> None:
        unmasked, count = False, 0
        while not stop.is_set():
            if select.select([self._ours], [], [], 0 if unmasked else 0.01)[0]:
                data = os.read(self._ours, 1 << 10)
                assert data == (1).to_bytes(WORD_BYTES, "little") * (len(data) // WORD_BYTES)
                unmasked = True
            if not unmasked:
                continue
            with self._lock:
                self.accelerator.advance()
                irq = self.accelerator.irq
            if irq:
                unmasked, count = False, count + 1
                os.write(self._ours, count.to_bytes(WORD_BYTES, "little"))
            else:
                time.sleep(0)


class _Registers:
    """Registers that act."""

    def __init__(self, accelerator: Accelerator, lock: threading.Lock) -> None:
        self._accelerator, self._lock = accelerator, lock

    def __getitem__(self, index: int) -> int:
        with self._lock:
            return self._accelerator.read(index * WORD_BYTES)

    def __setitem__(self, index: int, value: int) -> None:
        with self._lock:
            self._accelerator.write(index * WORD_BYTES, value)
