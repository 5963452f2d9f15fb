"""The fake board with an accelerator: a start has the interpreter run what lies in memory."""

from collections.abc import Iterable

import numpy as np

from boards.fake_board import WORD, FakeBoard
from sigbit.runtime import DeviceError, unlimited
from sigbit_hw.arch import launch, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.link import Frame, Operation
from sigbit_hw.arch.program import Program
from sigbit_hw.arch.regs import OFFSET
from sigbit_sim.interp.device import _Machine

COUNTS = {"CYCLES": 1000, "RETIRED": 7}


class FakeAccelerator(FakeBoard):
    """Runs those of ``programs`` whose instructions it finds in its memory."""

    def __init__(self, config: ArchConfig, programs: Iterable[Program], memory_bytes: int) -> None:
        super().__init__(memory_bytes)
        self.programs = list(programs)
        self.starts = 0
        self.waits = 0
        """Requests that wait for the interrupt in vain after every start."""
        for name, value in launch.identity(config).items():
            self.set(name, value)
        self.set("STATUS", regs.STATUS_BUS_IDLE)

    def set(self, name: str, value: int) -> None:
        self.registers[OFFSET[name]] = value.to_bytes(WORD, "little")

    def get(self, name: str) -> int:
        return int.from_bytes(self.registers.get(OFFSET[name], bytes(WORD)), "little")

    def _carry_out(self, asked: Frame) -> bytes:
        if asked.operation is Operation.AWAIT and self.left > 0:
            self.left -= 1
            return bytes(WORD)
        answer = super()._carry_out(asked)
        if asked.operation is Operation.WRITE_REGISTERS and asked.address == OFFSET["CONTROL"]:
            control = self.get("CONTROL")
            if control & regs.CONTROL_SOFT_RESET:
                self.irq = False
                self.set("IRQ_STATUS", 0)
            elif control & regs.CONTROL_START:
                self._start()
        return answer

    left = 0

    def _start(self) -> None:
        self.starts += 1
        self.left = self.waits
        base = self.get("MEM_BASE0_LO")
        at = base + self.get("PROGRAM_OFFSET")
        for program in self.programs:
            code = program.instructions.tobytes()
            if self.memory[at : at + len(code)] == code:
                break
        else:
            raise AssertionError("a start of no known Program")
        assert self.get("MEM_SIZE") == program.memory_bytes
        window = np.frombuffer(
            bytes(self.memory[base : base + program.memory_bytes]), np.uint8
        ).copy()
        for name, value in COUNTS.items():
            self.set(name, value)
        self.irq = True
        try:
            _Machine(program, window, False, lambda *_: None).run(unlimited)
        except DeviceError as error:
            self.set("IRQ_STATUS", regs.IRQ_ERROR)
            self.set("CAUSE", error.cause)
            self.set("CAUSE_INDEX", error.index)
        else:
            self.set("IRQ_STATUS", regs.IRQ_DONE)
            self.memory[base : base + program.memory_bytes] = window.tobytes()
