"""Accelerators by their registers, with memory at a bus address: by interpreter and by RTL."""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from sigbit.runtime import DeviceError, unlimited
from sigbit_hw.arch import images, launch, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_hw.arch.regs import OFFSET, Cause
from sigbit_sim.interp.device import _Machine
from sigbit_sim.rtl.native.build import library
from sigbit_sim.rtl.native.model import Model, ModelError, Stop

COUNTS = {"CYCLES": 1000, "RETIRED": 7}
ADDRESS = 0x8_7000_0000
"""Above 4 GiB."""


class Accelerator(Protocol):
    """Registers, an interrupt, and a memory that it sees from :data:`ADDRESS` on."""

    memory: np.ndarray

    def read(self, offset: int) -> int: ...

    def write(self, offset: int, value: int) -> None: ...

    def advance(self) -> None:
        """Go on for a while."""

    @property
    def irq(self) -> bool: ...


class InterpAccelerator:
    """Runs those of ``programs`` whose instructions it finds in its memory."""

    def __init__(
        self, config: ArchConfig, programs: Iterable[Program], memory: np.ndarray, waits: int = 3
    ) -> None:
        self.config, self.programs, self.memory, self.waits = config, list(programs), memory, waits
        self.values = dict.fromkeys(OFFSET, 0) | launch.identity(config)
        self.values["STATUS"] = regs.STATUS_BUS_IDLE
        self.starts = 0
        self._left: int | None = None
        self._stopped = False
        self._names = {offset: name for name, offset in OFFSET.items()}

    def read(self, offset: int) -> int:
        return self.values[self._names[offset]]

    def write(self, offset: int, value: int) -> None:
        name = self._names[offset]
        if name == "IRQ_STATUS":
            self.values[name] &= ~value
        elif name != "CONTROL":
            self.values[name] = value
        elif value & regs.CONTROL_SOFT_RESET:
            self.values["IRQ_STATUS"], self._left, self._stopped = 0, None, False
        elif value & regs.CONTROL_START and (self._stopped or self._left is not None):
            self.values["IRQ_STATUS"] |= regs.IRQ_REFUSED
        elif value & regs.CONTROL_START:
            self.values["IRQ_STATUS"], self._left = 0, self.waits
            self.starts += 1

    @property
    def irq(self) -> bool:
        return bool(self.values["IRQ_STATUS"] & self.values["IRQ_ENABLE"])

    def advance(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._left = None
                self._run()

    def _stop(self, cause: Cause, index: int) -> None:
        self._stopped = True
        self.values.update(IRQ_STATUS=regs.IRQ_ERROR, CAUSE=cause, CAUSE_INDEX=index)

    def _run(self) -> None:
        values, size = self.values, self.values["MEM_SIZE"]
        parts = []
        for port in range(self.config.ports):
            low, high = (values[name] for name in regs.base_names(port))
            first = (high << regs.WORD_BITS | low) - ADDRESS
            parts.append(self.memory[first : first + size // self.config.ports])
        window = images.join_ports(parts, self.config)
        at = values["PROGRAM_OFFSET"]
        for program in self.programs:
            code = program.instructions
            if np.array_equal(window[at : at + code.size], code):
                break
        else:
            self._stop(Cause.ILLEGAL, 0)
            return
        assert size == program.memory_bytes
        values.update(COUNTS)
        try:
            _Machine(program, window, False, lambda *_: None).run(unlimited)
        except DeviceError as error:
            self._stop(error.cause, error.index)
            return
        values["IRQ_STATUS"] = regs.IRQ_DONE
        for part, data in zip(parts, images.split_ports(window, self.config), strict=True):
            part[:] = data


class RtlAccelerator:
    """The accelerator's Verilog, cycle by cycle."""

    CYCLES = 1 << 12

    def __init__(self, config: ArchConfig, memory: np.ndarray) -> None:
        self.memory = memory
        self.irq = False
        self._model = Model(library(config), config)
        self._model.connect([memory] * config.ports, [ADDRESS] * config.ports)

    def read(self, offset: int) -> int:
        return self._model.read(offset)

    def write(self, offset: int, value: int) -> None:
        self._model.write(offset, value)
        self.irq = False  # until it is seen again

    def advance(self) -> None:
        stop = self._model.run(self.CYCLES, 1 << 30)
        if stop is Stop.ASSERTION or self._model.violations:
            raise ModelError(f"{stop}: {self._model.violations}")
        self.irq = stop is Stop.IRQ


LINE = 64
"""Bytes of a line of the processor's cache."""


def lines(offset: int, size: int) -> slice:
    """The lines that hold so many bytes from ``offset`` on."""
    return slice(offset // LINE * LINE, -(-(offset + size) // LINE) * LINE)
