"""Initialisation of an SDRAM, and its test at start."""

import random
from itertools import pairwise

import pytest
from amaranth.hdl import DomainRenamer

from boards.native import Controller, clocked
from sigbit_boards.memory.sdram import DOMAIN
from sigbit_boards.memory.startup import (
    BLOCK_STEP,
    POWER_UP,
    RUN,
    TESTED,
    Command,
    Csr,
    Initialiser,
    MemoryTest,
)

LOW = RUN.bit_length() - 1
PLACES = [k % RUN + ((k // RUN * BLOCK_STEP) % (1 << 24 - LOW) << LOW) for k in range(TESTED)]


class Faulty(Controller):
    """A memory with faults: bits that are stuck at 0, and address bits that do not count."""

    def __init__(self, port, stuck: int = 0, deaf: int = 0, seed: int = 1) -> None:
        super().__init__(port, random.Random(seed), 0.2)
        self.stuck, self.deaf = stuck, deaf

    def place(self, address: int) -> int:
        return address & ~self.deaf

    def kept(self, word: int) -> int:
        return word & ~self.stuck


def outcome(**faults: int) -> tuple[int, int]:
    """Wrong words and lines."""
    dut = MemoryTest()
    memory = Faulty(dut.port, **faults)
    simulator = clocked(DomainRenamer(DOMAIN)(dut), 10)
    found = []

    async def test(ctx) -> None:
        await ctx.tick(DOMAIN).repeat(20)
        assert not memory.commands
        ctx.set(dut.start, 1)
        for _ in range(60_000):
            await ctx.tick(DOMAIN)
            if ctx.get(dut.done):
                break
        assert ctx.get(dut.done)
        found.append((ctx.get(dut.wrong), ctx.get(dut.lines)))

    simulator.add_testbench(memory.run, background=True)
    simulator.add_testbench(test)
    simulator.run()
    assert memory.commands == 4 * TESTED
    assert set(memory.words) == {memory.place(place) for place in PLACES}
    return found[0]


def test_a_good_memory_passes() -> None:
    assert outcome() == (0, 0)


def test_words_are_all_over_the_memory() -> None:
    """Every address bit is 0 and 1, and no word is tested twice."""
    assert len(set(PLACES)) == TESTED
    for bit in range(24):
        assert 0.3 < sum(place >> bit & 1 for place in PLACES) / TESTED < 0.7


def test_the_words_of_others_do_not_count() -> None:
    """The port tells of every word of the memory, whoever asked for it."""
    dut = MemoryTest()
    memory = Faulty(dut.port)
    simulator = clocked(DomainRenamer(DOMAIN)(dut), 10)
    kept: list[tuple[int, int, int]] = []

    async def test(ctx) -> None:
        ctx.set(dut.start, 1)
        await ctx.tick(DOMAIN).until(dut.done)
        memory.over = True
        await ctx.tick(DOMAIN)
        for written in (1, 0):
            ctx.set(dut.port.take, written)
            ctx.set(dut.port.came, not written)
            await ctx.tick(DOMAIN).repeat(TESTED + 2)
            kept.append((ctx.get(dut.done), ctx.get(dut.wrong), ctx.get(dut.lines)))

    simulator.add_testbench(memory.run, background=True)
    simulator.add_testbench(test)
    simulator.run()
    assert kept == [(1, 0, 0)] * 2


@pytest.mark.parametrize("line", [0, 15])
def test_a_stuck_data_line_is_named(line: int) -> None:
    wrong, lines = outcome(stuck=1 << line)
    assert wrong == TESTED  # every bit is 1 once, plain or inverted
    assert lines == 1 << line


@pytest.mark.parametrize("bit", [1, 9, 23])
def test_an_address_line_that_does_nothing_is_found(bit: int) -> None:
    wrong, _ = outcome(deaf=1 << bit)
    assert (wrong > 0) == (len({place & ~(1 << bit) for place in PLACES}) < TESTED)
    if bit < LOW:
        assert wrong > TESTED // 2


@pytest.mark.parametrize("hertz", [1e6, 3.3e6])
def test_initialisation(hertz: float) -> None:
    """Commands in their order, the first one when the clock has run for long enough."""
    dut = Initialiser(hertz)
    simulator = clocked(dut, 10)
    writes: list[tuple[int, int, int]] = []

    async def answer(ctx) -> None:
        rng, now, waits = random.Random(1), 0, 0
        while not ctx.get(dut.done):
            await ctx.tick()
            now += 1
            ctx.set(dut.ack, 0)
            if ctx.get(dut.strobe) and not waits:
                waits = rng.randrange(1, 4)
            elif waits:
                waits -= 1
                if not waits:
                    writes.append((now, 4 * ctx.get(dut.address), ctx.get(dut.data)))
                    ctx.set(dut.ack, 1)
                    await ctx.tick()
                    now += 1
                    ctx.set(dut.ack, 0)

    simulator.add_testbench(answer)
    simulator.run()
    issued: list[tuple[int, int, int]] = []
    registers: dict[int, int] = {}
    for now, address, data in writes:
        registers[address] = data
        if address == Csr.ISSUE:
            issued.append((now, registers[Csr.COMMAND], registers[Csr.ADDRESS]))
    assert [command for _, command, _ in issued] == [
        Command.PRECHARGE,
        *[Command.REFRESH] * 8,
        Command.LOAD_MODE,
    ]
    assert (issued[0][2], issued[-1][2]) == (0x400, 0x20)
    enabled = next(now for now, address, _ in writes if address == Csr.CONTROL)
    assert issued[0][0] - enabled >= POWER_UP * hertz
    gaps = [b[0] - a[0] for a, b in pairwise(issued)]
    assert min(gaps) > 30
    assert [(a, d) for _, a, d in writes[-2:]] == [(Csr.CONTROL, 0xF), (Csr.INIT_DONE, 1)]
