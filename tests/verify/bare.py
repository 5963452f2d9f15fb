"""A run of the RTL without its driver's loop: started, stopped where a test wants, its window
looked at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch import images, launch, regs
from sigbit_hw.arch.program import Program
from sigbit_hw.arch.regs import OFFSET, Cause
from sigbit_sim.rtl.device import BASES, RtlDevice
from sigbit_sim.rtl.native.model import Stop

WATCHDOG = 2000
"""Cycles without progress after which the accelerator reports WATCHDOG."""
NEVER = 1 << 40
"""Cycles without progress that do not end a run here."""


@dataclass(frozen=True)
class Run:
    """A run that has been started on ``device`` with the DMA window ``before``; STORE may write the
    bytes ``writable`` of it."""

    device: RtlDevice
    program: Program
    before: NDArray[np.uint8]
    writable: tuple[int, int]
    parts: list[NDArray[np.uint8]]

    def clock(self, cycles: int) -> bool:
        """Go on for ``cycles``, or until the interrupt; True if that came."""
        return self.device.model.run(cycles, NEVER) is Stop.IRQ

    def cause(self) -> Cause:
        """The cause, after the interrupt; NONE if the run is done. Acknowledges the interrupt."""
        model = self.device.model
        pending = model.read(OFFSET["IRQ_STATUS"])
        model.write(OFFSET["IRQ_STATUS"], pending)
        found = Cause(model.read(OFFSET["CAUSE"]))
        assert (found is Cause.NONE) == (pending == regs.IRQ_DONE), f"{found!r} and {pending:#x}"
        return found

    def window(self) -> NDArray[np.uint8]:
        """The DMA window as it is now; raises ``AssertionError`` if STORE has written elsewhere."""
        joined = images.join_ports(self.parts, self.program.config)
        after = joined[: self.program.memory_bytes]
        low, high = self.writable
        changed = np.flatnonzero(after != self.before)
        outside = changed[(changed < low) | (changed >= high)]
        assert not len(outside), f"written outside the window: byte 0x{outside[0]:x}"
        assert not joined[self.program.memory_bytes :].any(), "written behind the window"
        return after


def start(
    device: RtlDevice, program: Program, window: NDArray[np.uint8], *, limit: int, **registers: int
) -> Run:
    """Start ``program`` on an accelerator that is idle, with a CYCLE_LIMIT and further
    ``registers`` of other values than the Program's."""
    config, model = program.config, device.model
    beats = images.beats(program.memory_bytes, config)
    padded = np.pad(window, (0, beats * config.bus_bytes - window.size))
    parts = [part.copy() for part in images.split_ports(padded, config)]
    bases = BASES[: config.ports]
    model.connect(parts, bases)
    values = launch.set_up_program(program, bases, watchdog=WATCHDOG, cycle_limit=limit)
    values |= registers
    model.begin(log=False)
    for name, value in {**values, **launch.START}.items():
        model.write(OFFSET[name], value)
    writable = values["WRITE_LO"], min(values["WRITE_HI"], values["MEM_SIZE"])
    return Run(device, program, window.copy(), writable, parts)
