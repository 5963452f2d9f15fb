"""The accelerator around a compute double, on Amaranth's simulator, driven through its register
file."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from amaranth.sim import Simulator
from numpy.typing import NDArray

from sigbit_hw.arch import isa, launch, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware import ports
from sigbit_hw.gateware.top import Accelerator
from sigbit_sim.verification.axi_memory import AxiMemory
from sigbit_sim.verification.compute_double import ComputeDouble

BASES = (0x12_3456_7000, 0x5_0000_0000, 0xFF_FFF0_0000, 0x1000)
"""Bus addresses of the ports' parts of the DMA window, up to the highest possible one."""
BASE = BASES[0]


@dataclass
class Machine:
    """One accelerator with its memories, one per port.

    ``memory`` is the DMA window; the bus sees ``margin`` guard bytes on both sides of it, over all
    ports together. ``window`` is the content of the memories as the program sees it.
    """

    config: ArchConfig
    memory: NDArray[np.uint8]
    rng: np.random.Generator
    latency: tuple[int, int] = (1, 1)
    stall: float = 0.0
    margin: int = 4096
    events: list[tuple[int, str, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.compute = ComputeDouble(self.config)
        self.dut = Accelerator(self.config, compute=self.compute, traced=True)
        self.store = np.full(self.memory.size + 2 * self.margin, 0xA5, np.uint8)
        self.window = self.store[self.margin : self.margin + self.memory.size]
        self.window[:] = self.memory
        parts = self.store.reshape(-1, self.config.ports, self.config.port_bytes)
        self.buses = [
            AxiMemory(
                self.dut,
                parts[:, k],
                self.rng,
                prefix=prefix,
                latency=self.latency,
                base=BASES[k] - self.margin // self.config.ports,
                stall=self.stall,
            )
            for k, prefix in enumerate(ports.axi_prefixes(self.config))
        ]

    @property
    def bus(self) -> AxiMemory:
        """The first port's memory."""
        return self.buses[0]

    def simulate(
        self,
        test: Callable[[Any], Awaitable[None]],
        *beside: Callable[[Any], Awaitable[None]],
        limit: int = 50_000,
    ) -> None:
        """Run ``test(ctx)`` together with the processes ``beside`` it; fail if it takes more than
        ``limit`` cycles."""
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-8)

        async def watch(ctx: Any) -> None:
            cycles = 0
            async for _ in ctx.tick():
                cycles += 1
                assert cycles < limit, f"the test did not end within {limit} cycles"

        async def stall(ctx: Any) -> None:
            while self.stall:
                await ctx.tick()
                ctx.set(self.compute.stall_write, self.rng.random() < self.stall)
                ctx.set(self.compute.stall_read, self.rng.random() < self.stall)

        for process in (*(bus.run for bus in self.buses), stall, self._trace, watch, *beside):
            simulator.add_testbench(process, background=True)
        simulator.add_testbench(test)
        simulator.run()

    async def _trace(self, ctx: Any) -> None:
        keys = [(e, n) for e in ("start", "retire") for n in ("load", "compute", "store")]
        signals = [getattr(self.dut, f"trace_{e}_{n}{s}") for e, n in keys for s in ("", "_index")]
        cycle = 0
        async for _, _, *values in ctx.tick().sample(*signals):
            cycle += 1
            for (event, engine), valid, index in zip(keys, values[::2], values[1::2], strict=True):
                if valid:
                    self.events.append((cycle, event, engine, index))

    async def write(self, ctx: Any, name: str | int, value: int, strobe: int = 15) -> None:
        """Write a register by name or byte offset."""
        dut = self.dut
        ctx.set(dut.s_axil_awaddr, regs.OFFSET[name] if isinstance(name, str) else name)
        ctx.set(dut.s_axil_wdata, value)
        ctx.set(dut.s_axil_wstrb, strobe)
        for signal in (dut.s_axil_awvalid, dut.s_axil_wvalid, dut.s_axil_bready):
            ctx.set(signal, 1)
        await ctx.tick().until(dut.s_axil_awready & dut.s_axil_wready)
        ctx.set(dut.s_axil_awvalid, 0)
        ctx.set(dut.s_axil_wvalid, 0)
        (resp,) = await ctx.tick().sample(dut.s_axil_bresp).until(dut.s_axil_bvalid)
        assert resp == 0
        ctx.set(dut.s_axil_bready, 0)

    async def read(self, ctx: Any, name: str | int) -> int:
        """Read a register by name or byte offset."""
        dut = self.dut
        ctx.set(dut.s_axil_araddr, regs.OFFSET[name] if isinstance(name, str) else name)
        ctx.set(dut.s_axil_arvalid, 1)
        ctx.set(dut.s_axil_rready, 1)
        await ctx.tick().until(dut.s_axil_arready)
        ctx.set(dut.s_axil_arvalid, 0)
        value, resp = (
            await ctx.tick().sample(dut.s_axil_rdata, dut.s_axil_rresp).until(dut.s_axil_rvalid)
        )
        assert resp == 0
        ctx.set(dut.s_axil_rready, 0)
        return int(value)

    async def start(
        self,
        ctx: Any,
        program: list[isa.Instr] | NDArray[np.uint8],
        *,
        offset: int = 0,
        **registers: int,
    ) -> None:
        """Place the program, set the registers (``registers`` overrides their values), and
        start."""
        code = isa.pack(program) if isinstance(program, list) else program
        self.window[offset : offset + code.size] = code
        values = launch.set_up(
            BASES[: self.config.ports],
            memory_bytes=self.window.size,
            write_window=(0, self.window.size),
            program_offset=offset,
            instructions=code.size // isa.WORD_BYTES,
            watchdog=5000,
        )
        values |= {**registers, **launch.START}
        for name, value in values.items():
            await self.write(ctx, name, value)

    async def finish(self, ctx: Any) -> tuple[int, int, int]:
        """Wait for the interrupt; return (STATUS without bus idle, CAUSE, CAUSE_INDEX)."""
        await ctx.tick().until(self.dut.irq)
        status = await self.read(ctx, "STATUS") & ~regs.STATUS_BUS_IDLE
        return status, await self.read(ctx, "CAUSE"), await self.read(ctx, "CAUSE_INDEX")

    async def reset(self, ctx: Any) -> None:
        """Make a soft reset, then wait until the bus is idle."""
        await self.write(ctx, "CONTROL", regs.CONTROL_SOFT_RESET)
        while not await self.read(ctx, "STATUS") & regs.STATUS_BUS_IDLE:
            pass

    async def run(
        self, ctx: Any, program: list[isa.Instr] | NDArray[np.uint8], **registers: int
    ) -> tuple[int, int, int]:
        """Call :meth:`start` and :meth:`finish`."""
        await self.start(ctx, program, **registers)
        return await self.finish(ctx)
