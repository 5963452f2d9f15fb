"""The accelerator under cocotb: registers, memory, and a scoreboard of every write-back."""

import random
from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster
from numpy.typing import NDArray

from sigbit.runtime import LayerCollector, unpack_outputs, window_of
from sigbit_hw.arch import images, launch, regs
from sigbit_hw.arch.isa import Engine
from sigbit_hw.arch.program import Program
from sigbit_hw.arch.regs import OFFSET
from sigbit_hw.gateware import ports
from sigbit_sim.interp.device import Interp
from sigbit_sim.verification.cocotb_memory import CocotbMemory, pauses
from sigbit_sim.verification.cocotb_run import config_of_run

BASES = (0x12_4000_0000, 0x3_0000_0000, 0xFF_0000_0000, 0x8000_0000)
"""Bus addresses of the ports' parts of the DMA window."""
PERIOD_NS = 10
LIMIT_US = 2000
"""Longest wait for an interrupt."""

Codes = NDArray[np.uint8]
Ints = NDArray[np.int64]


class Scoreboard:
    """Expected write-backs of the interpreter, in order, compared with those of the RTL."""

    def __init__(self) -> None:
        self.compared = 0
        self.expected: deque[tuple[int, Ints, Codes]] = deque()

    def expect(self, index: int, slots: Ints, codes: Codes) -> None:
        """Expect that the EXEC at ``index`` leaves these codes in these slots."""
        self.expected.append((index, slots.copy(), codes.copy()))

    def retired(self, index: int, shadow: Codes) -> None:
        """Compare after the retirement of ``index``; ``shadow`` holds the codes of every slot."""
        if not self.expected or self.expected[0][0] != index:
            return
        _, slots, codes = self.expected.popleft()
        np.testing.assert_array_equal(shadow[slots], codes, f"EXEC at {index}")
        self.compared += codes.size

    def finish(self) -> None:
        """Check that nothing is outstanding and that something was compared."""
        assert not self.expected, f"EXEC at {[e[0] for e in self.expected]} did not retire in order"
        assert self.compared > 0, "no codes were compared"


class Bench:
    """One accelerator with clock, register master and one memory per port.

    ``stall`` and ``delay`` are those of the memories; the register bus pauses as often.
    """

    def __init__(self, dut: Any, *, stall: float = 0.0, delay: int = 0) -> None:
        self.dut = dut
        self.config = config_of_run()
        seed = random.getrandbits(64)  # cocotb has seeded it for this test
        self.rng = np.random.default_rng(seed)
        self.scoreboard = Scoreboard()
        self._random = random.Random(seed)
        self._stall, self._delay = stall, delay
        self._collector: LayerCollector | None = None
        self._shadow = np.zeros((self.config.act_slots, self.config.ic_lanes), np.uint8)

    async def start(self) -> None:
        """Clock and reset the device, and connect everything."""
        dut = self.dut
        Clock(dut.clk, PERIOD_NS, unit="ns").start()
        dut.rst.value = 1
        self.memories = [
            CocotbMemory(
                dut,
                prefix.removesuffix("_"),
                BASES[port],
                self._random,
                stall=self._stall,
                delay=self._delay,
            )
            for port, prefix in enumerate(ports.axi_prefixes(self.config))
        ]
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk)
        if self._stall:
            write, read = self.registers.write_if, self.registers.read_if
            for channel in (
                write.aw_channel,
                write.w_channel,
                write.b_channel,
                read.ar_channel,
                read.r_channel,
            ):
                channel.set_pause_generator(pauses(self._random, self._stall))
        await ClockCycles(dut.clk, 4)
        dut.rst.value = 0
        await ClockCycles(dut.clk, 2)
        cocotb.start_soon(self._watch())

    async def write(self, register: str | int, value: int) -> None:
        """Write a register, by name or byte offset."""
        offset = OFFSET[register] if isinstance(register, str) else register
        await self.registers.write_dword(offset, value)

    async def write_bytes(self, register: str, first: int, data: bytes) -> None:
        """Write individual bytes of a register: only their strobes are set."""
        response = await self.registers.write(OFFSET[register] + first, data)
        assert response.resp == 0

    async def read(self, register: str | int) -> int:
        """Read a register, by name or byte offset."""
        offset = OFFSET[register] if isinstance(register, str) else register
        return int(await self.registers.read_dword(offset))

    async def load(
        self,
        program: Program,
        inputs: dict[str, Ints],
        *,
        irq: int = launch.INTERRUPTS,
        watchdog: int = 5000,
    ) -> None:
        """Place program and inputs in memory and write the registers that describe them."""
        window = window_of(program, inputs, 0)
        window = np.pad(window, (0, -window.size % self.config.bus_bytes))
        for memory, data in zip(
            self.memories, images.split_ports(window, self.config), strict=True
        ):
            memory.data = bytearray(data.tobytes())
        bases = BASES[: self.config.ports]
        values = launch.set_up_program(program, bases, watchdog=watchdog, interrupts=irq)
        for name, value in values.items():
            await self.write(name, value)

    def window(self, program: Program) -> NDArray[np.uint8]:
        """Current content of the DMA window in the memories."""
        parts = [np.frombuffer(bytes(memory.data), np.uint8) for memory in self.memories]
        return images.join_ports(parts, self.config)[: program.memory_bytes]

    async def begin(self) -> None:
        """Write the start bit."""
        for name, value in launch.START.items():
            await self.write(name, value)

    async def interrupt(self) -> int:
        """Wait for the interrupt, acknowledge it and return its bits."""
        if not self.dut.irq.value:
            await with_timeout(RisingEdge(self.dut.irq), LIMIT_US, "us")
        pending = await self.read("IRQ_STATUS")
        await self.write("IRQ_STATUS", pending)
        return pending

    async def layers(self, program: Program, inputs: dict[str, Ints]) -> dict[str, Ints]:
        """Run a network, checked; return every layer's stored integers ``[N, C, H, W]``."""
        self._collector = LayerCollector(program)
        await self.run_checked(program, inputs)
        return self._collector.layers()

    async def run_checked(self, program: Program, inputs: dict[str, Ints]) -> None:
        """Run a legal program and check that every write-back and output equals the
        interpreter's."""
        expected = Interp(self.config, on_exec=self.scoreboard.expect).run(program, inputs)
        compared = self.scoreboard.compared
        await self.load(program, inputs)
        await self.begin()
        assert await self.interrupt() == regs.IRQ_DONE
        got = unpack_outputs(program, self.window(program))
        assert got.keys() == expected.outputs.keys()
        for name, value in got.items():
            np.testing.assert_array_equal(value, expected.outputs[name], name)
            self.scoreboard.compared += value.size
        assert not self.scoreboard.expected
        assert self.scoreboard.compared > compared
        assert not any(memory.outside for memory in self.memories)

    async def soft_reset(self) -> None:
        """Reset, and wait until the bus is idle."""
        await self.write("CONTROL", regs.CONTROL_SOFT_RESET)
        for _ in range(1000):
            if await self.read("STATUS") & regs.STATUS_BUS_IDLE:
                return
        raise AssertionError("the bus did not become idle after a soft reset")

    async def _watch(self) -> None:
        """Follow the trace ports: shadow memory, retirements."""
        dut, config = self.dut, self.config
        banks = [
            tuple(getattr(dut, f"trace_act_{b}_{name}") for name in ("valid", "word", "data"))
            for b in range(config.pixels)
        ]
        name = Engine.COMPUTE.name.lower()
        retire, index = (getattr(dut, f"trace_retire_{name}{suffix}") for suffix in ("", "_index"))
        while True:
            await RisingEdge(dut.clk)
            for bank, (valid, word, data) in enumerate(banks):
                if valid.value:
                    slot = word.value.to_unsigned() * config.pixels + bank
                    raw = data.value.to_unsigned().to_bytes(config.slot_bytes, "little")
                    self._shadow[slot] = images.unpack_lanes(
                        np.frombuffer(raw, np.uint8), config.act_format.lane_bits
                    )
            if retire.value:
                number = index.value.to_unsigned()
                self.scoreboard.retired(number, self._shadow)
                if self._collector and number in self._collector.execs:
                    slots = self._collector.slots_of(number)
                    self._collector.add(number, self._shadow[slots])
