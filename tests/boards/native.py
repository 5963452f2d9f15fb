"""The controller's side of the port for words, and simulations with two clocks."""

import random
from collections import deque

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from sigbit_boards.memory.sdram import DOMAIN


def clocked(dut, period: int) -> Simulator:
    """A simulator of ``dut`` with both clocks, the memory's with ``period`` ns."""
    m = Module()
    m.submodules.dut = dut
    for name in ("sync", DOMAIN):
        m.domains += ClockDomain(name, reset_less=True)
    simulator = Simulator(m)
    simulator.add_clock(10e-9)
    simulator.add_clock(period * 1e-9, domain=DOMAIN)
    return simulator


class Controller:
    """The memory's side of the port, as LiteDRAM behaves: commands wait, data do not."""

    LATENCY = {True: 3, False: 6}
    """Fewest cycles from a command to its data, for writes and reads."""

    def __init__(self, port, rng: random.Random, stall: float) -> None:
        self.port, self.rng, self.stall = port, rng, stall
        self.words: dict[int, int] = {}
        self.commands = 0
        self.over = False
        """It drives the port no longer."""
        self.first = self.last = 0
        """Cycles of the first and the last command."""

    async def run(self, ctx) -> None:
        port, due, now, late = self.port, deque(), 0, 0
        ticks = ctx.tick(DOMAIN).sample(port.valid, port.write, port.address, port.data, port.mask)
        taking: int | None = None
        ready = 0
        async for _, _, valid, write, address, data, mask in ticks:
            now += 1
            if self.over:
                break
            if taking is not None:
                self._write(self.place(taking), data, mask)
            if valid and ready:
                self.commands += 1
                self.first, self.last = self.first or now, now
                late = max(late + 1, now + self.LATENCY[bool(write)] + self._delay())
                due.append((late, write, address))
            taking, came = None, 0
            if due and due[0][0] <= now:
                _, write, address = due.popleft()
                if write:
                    taking = address
                else:
                    came = 1
                    ctx.set(port.word, self.kept(self.words.get(self.place(address), 0)))
            if not came:
                ctx.set(port.word, self.rng.randrange(1 << 16))
            ctx.set(port.take, taking is not None)
            ctx.set(port.came, came)
            ready = self.rng.random() >= self.stall
            ctx.set(port.ready, ready)

    def _delay(self) -> int:
        return self.rng.randrange(30) if self.rng.random() < self.stall / 4 else 0

    def _write(self, address: int, data: int, mask: int) -> None:
        old = self.words.get(address, 0)
        keep = (0 if mask & 1 else 0x00FF) | (0 if mask & 2 else 0xFF00)
        self.words[address] = (old & keep) | (data & ~keep & 0xFFFF)

    def place(self, address: int) -> int:
        """Where a word lies; for memories with faults."""
        return address

    def kept(self, word: int) -> int:
        """What is read of a word; for memories with faults."""
        return word
