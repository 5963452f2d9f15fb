"""A memory on cocotbext-axi's slaves: random pauses and delays, error responses, hangs."""

import random
from collections.abc import Iterator
from typing import Any

from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiBus, AxiSlaveRead, AxiSlaveWrite

from sigbit_hw.arch.bus import Response
from sigbit_sim.verification.faults import BusFault


def pauses(generator: random.Random, chance: float) -> Iterator[bool]:
    """Pause flags of a channel, cycle by cycle."""
    while True:
        yield generator.random() < chance


class CocotbMemory:
    """Memory of the bytes ``data`` from bus address ``base`` on.

    Parameters
    ----------
    dut : Any
        Simulator handle with the port ``{prefix}_*`` and ``clk``.
    generator : random.Random
        Source of all randomness.
    stall : float
        Probability that a channel pauses in a cycle.
    delay : int
        Maximum number of cycles by which one in eight beats is additionally delayed.
    """

    def __init__(
        self,
        dut: Any,
        prefix: str,
        base: int,
        generator: random.Random,
        *,
        stall: float = 0.0,
        delay: int = 0,
    ) -> None:
        self.base = base
        self.data = bytearray()
        self.faults: tuple[BusFault, ...] = ()
        self.outside: list[int] = []
        self._clock = dut.clk
        self._random = generator
        self._stall, self._delay = stall, delay
        bus = AxiBus.from_prefix(dut, prefix)
        self._read = _Reader(self, bus.read, dut.clk)
        self._write = _Writer(self, bus.write, dut.clk)
        self._channels = {
            "AR": self._read.ar_channel,
            "R": self._read.r_channel,
            "AW": self._write.aw_channel,
            "W": self._write.w_channel,
            "B": self._write.b_channel,
        }
        self.hang(())

    def hang(self, channels: tuple[str, ...]) -> None:
        """Stop these channels (no READY, no new VALID); all others continue."""
        for name, channel in self._channels.items():
            channel.clear_pause_generator()
            channel.pause = name in channels
            if name not in channels and self._stall:
                channel.set_pause_generator(pauses(self._random, self._stall))

    async def access(self, address: int, size: int, write: bool) -> Response:
        """Possibly delay an access; return its response."""
        if self._delay and self._random.random() < 1 / 8:
            await ClockCycles(self._clock, self._random.randint(1, self._delay))
        offset = address - self.base
        if not 0 <= offset <= len(self.data) - size:
            self.outside.append(address)
            return Response.DECERR
        hits = (
            f.response
            for f in self.faults
            if f.write == write and offset <= f.last and offset + size > f.first
        )
        return next(hits, Response.OKAY)


class _Reader(AxiSlaveRead):
    """Serves reads; the response of the last access goes out with its beat."""

    def __init__(self, memory: CocotbMemory, bus: Any, clock: Any) -> None:
        self._memory = memory
        self._response = Response.OKAY
        super().__init__(bus, clock)
        send = self.r_channel.send

        async def respond(beat: Any) -> None:
            beat.rresp = self._response
            await send(beat)

        self.r_channel.send = respond

    async def _read(self, address: int, length: int) -> bytes:
        memory = self._memory
        self._response = await memory.access(address, length, write=False)
        offset = address - memory.base
        return bytes(length) if self._response else bytes(memory.data[offset : offset + length])


class _Writer(AxiSlaveWrite):
    """Takes writes; the worst response of a burst is its answer."""

    def __init__(self, memory: CocotbMemory, bus: Any, clock: Any) -> None:
        self._memory = memory
        self._response = Response.OKAY
        super().__init__(bus, clock)
        send = self.b_channel.send

        async def respond(answer: Any) -> None:
            answer.bresp, self._response = self._response, Response.OKAY
            await send(answer)

        self.b_channel.send = respond

    async def _write(self, address: int, data: bytes) -> None:
        memory = self._memory
        response = await memory.access(address, len(data), write=True)
        self._response = max(self._response, response)
        if response == Response.OKAY:
            offset = address - memory.base
            memory.data[offset : offset + len(data)] = data
