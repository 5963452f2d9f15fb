"""An endpoint in Amaranth's simulator: requests in, answers out, behind a line that errs."""

import random
from collections.abc import Callable, Iterable

from amaranth.sim import Simulator

from sigbit_boards.link.endpoint import RECEIVE_BYTES, Endpoint
from sigbit_hw.arch import link

MEMORY_BYTES = 1 << 12
CLOCK_HZ = 1_000_000


class Bench:
    """An endpoint with memory and registers that answer after some cycles.

    ``writes`` are the writes that arrived, in order: ("memory" or "register", index, word).
    """

    def __init__(self, seed: int = 0, receive_bytes: int = RECEIVE_BYTES) -> None:
        self.dut = Endpoint(MEMORY_BYTES, CLOCK_HZ, receive_bytes)
        self.random = random.Random(seed)
        self.memory: dict[int, int] = {}
        self.registers: dict[int, int] = {}
        self.writes: list[tuple[str, int, int]] = []
        self.memory_ready_after = 1
        self.irq_after: int | None = None
        """Cycles from the write of a register until the interrupt."""

    def answers(
        self, *texts: bytes, idle: int = 600, stall: float = 0.0, pause: int = 0
    ) -> list[link.Frame | None]:
        """What comes back for bytes on the line, ``pause`` cycles between texts, until nothing does
        for ``idle`` cycles; ``stall`` is the chance that the line does not take a byte in a
        cycle."""
        found: list[link.Frame | None] = []
        sim = Simulator(self.dut)
        sim.add_clock(1 / CLOCK_HZ)
        sim.add_testbench(self._memory_is_ready, background=True)
        sim.add_testbench(self._send(texts, pause))
        sim.add_testbench(self._receive(found, idle, stall))
        sim.add_testbench(self._answer_memory, background=True)
        sim.add_testbench(self._answer_writes, background=True)
        sim.add_testbench(self._answer_reads, background=True)
        sim.run()
        return found

    async def _memory_is_ready(self, ctx) -> None:
        for _ in range(self.memory_ready_after):
            await ctx.tick()
        ctx.set(self.dut.memory_ready, 1)

    def _send(self, texts: Iterable[bytes], pause: int) -> Callable:
        async def process(ctx) -> None:
            for text in texts:
                for byte in text:
                    ctx.set(self.dut.i.payload, byte)
                    ctx.set(self.dut.i.valid, 1)
                    await ctx.tick()
                    ctx.set(self.dut.i.valid, 0)
                    await ctx.tick().repeat(self.random.randrange(1, 6))
                await ctx.tick().repeat(pause + 1)

        return process

    def _receive(self, found: list, idle: int, stall: float) -> Callable:
        async def process(ctx) -> None:
            reader, quiet = link.Reader(), 0
            while quiet < idle:
                ready = self.random.random() >= stall
                ctx.set(self.dut.o.ready, ready)
                _, _, valid, byte = await ctx.tick().sample(self.dut.o.valid, self.dut.o.payload)
                quiet = 0 if valid or ctx.get(self.dut.i.valid) else quiet + 1
                if valid and ready:
                    found.extend(reader.feed(bytes([byte])))

        return process

    async def _answer_memory(self, ctx) -> None:
        dut = self.dut
        while True:
            await ctx.tick()
            write, read = ctx.get(dut.memory_write), ctx.get(dut.memory_read)
            if write or read:
                await ctx.tick().repeat(self.random.randrange(1, 5))
                index = ctx.get(dut.memory_index)
                if write:
                    self._write("memory", self.memory, index, ctx.get(dut.memory_data))
                else:
                    ctx.set(dut.memory_word, self.memory.get(index, 0))
                ctx.set(dut.memory_done, 1)
                await ctx.tick()
                ctx.set(dut.memory_done, 0)

    async def _answer_writes(self, ctx) -> None:
        bus = self.dut.registers
        while True:
            await ctx.tick()
            if not (ctx.get(bus.awvalid) and ctx.get(bus.wvalid)):
                continue
            index, word = ctx.get(bus.awaddr) // 4, ctx.get(bus.wdata)
            ready = [bus.awready, bus.wready]
            self.random.shuffle(ready)
            for each in ready:
                await ctx.tick().repeat(self.random.randrange(1, 4))
                ctx.set(each, 1)
                await ctx.tick()
                ctx.set(each, 0)
            self._write("register", self.registers, index, word)
            await ctx.tick().repeat(self.random.randrange(1, 4))
            ctx.set(bus.bvalid, 1)
            await ctx.tick()
            ctx.set(bus.bvalid, 0)
            if self.irq_after is not None:
                await ctx.tick().repeat(self.irq_after)
                ctx.set(self.dut.irq, 1)

    async def _answer_reads(self, ctx) -> None:
        bus = self.dut.registers
        while True:
            await ctx.tick()
            if not ctx.get(bus.arvalid):
                continue
            ctx.set(bus.arready, 1)
            await ctx.tick()
            ctx.set(bus.arready, 0)
            await ctx.tick().repeat(self.random.randrange(1, 4))
            ctx.set(bus.rdata, self.registers.get(ctx.get(bus.araddr) // 4, 0))
            ctx.set(bus.rvalid, 1)
            await ctx.tick()
            ctx.set(bus.rvalid, 0)

    def _write(self, kind: str, held: dict[int, int], index: int, word: int) -> None:
        held[index] = word
        self.writes.append((kind, index, word))


def on_line(frames: Iterable[link.Frame]) -> bytes:
    """Frames as they are sent."""
    return b"".join(frame.to_line() for frame in frames)
