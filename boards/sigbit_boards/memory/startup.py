"""Initialisation and test of an SDRAM, before anything else uses it."""

from dataclasses import dataclass
from enum import IntEnum
from math import ceil

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_boards.memory.controller import DQ_ADDRESS_BITS, DQ_BITS
from sigbit_boards.memory.native import NativePort

POWER_UP = 200e-6
"""Seconds for which the SDRAM's clock must run before its first command."""
_SETTLE = 32
"""Cycles after every command: more than any of them takes."""
_REFRESHES = 8
_MODE = 0x20
"""Mode register: bursts of one word, CAS latency 2."""
_ALL_BANKS = 0x400
_ENABLE = 0b1110
"""CKE, and the pins for termination and reset that other memories have."""
_HARDWARE = 0b1111


class Csr(IntEnum):
    """Registers of LiteDRAM that initialise an SDRAM, by byte address."""

    INIT_DONE = 0x000
    CONTROL = 0x800
    COMMAND = 0x804
    ISSUE = 0x808
    ADDRESS = 0x80C
    BANK = 0x810


class Command(IntEnum):
    """Pins of a command, active high, as register ``COMMAND`` has them: CS, WE, CAS, RAS."""

    PRECHARGE = 0b1011
    REFRESH = 0b1101
    LOAD_MODE = 0b1111


@dataclass(frozen=True)
class Write:
    """A register write, and cycles to wait after it."""

    register: Csr
    value: int
    wait: int = 0


def initialisation(hertz: float) -> list[Write]:
    """Writes that initialise an SDRAM whose clock has ``hertz``, by commands in the order of the
    parts' data sheets."""

    def command(command: Command, address: int) -> list[Write]:
        return [
            Write(Csr.ADDRESS, address),
            Write(Csr.COMMAND, command),
            Write(Csr.ISSUE, 1, _SETTLE),
        ]

    return [
        Write(Csr.BANK, 0),
        Write(Csr.CONTROL, _ENABLE, ceil(POWER_UP * hertz)),
        *command(Command.PRECHARGE, _ALL_BANKS),
        *(write for _ in range(_REFRESHES) for write in command(Command.REFRESH, 0)),
        *command(Command.LOAD_MODE, _MODE),
        Write(Csr.CONTROL, _HARDWARE),
        Write(Csr.INIT_DONE, 1),
    ]


class Initialiser(wiring.Component):
    """Carries out :func:`initialisation` by a Wishbone master.

    Members
    -------
    address : Out, data : Out, strobe : Out(1), ack : In(1)
        The master, which only writes.
    done : Out(1)
    """

    def __init__(self, hertz: float) -> None:
        self.writes = initialisation(hertz)
        super().__init__(
            {
                "address": Out(30),
                "data": Out(32),
                "strobe": Out(1, init=1),
                "ack": In(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = Signal(range(len(self.writes)))
        wait = Signal(range(max(write.wait for write in self.writes) + 1))
        with m.Switch(step):
            for k, write in enumerate(self.writes):
                with m.Case(k):
                    m.d.comb += [self.address.eq(write.register // 4), self.data.eq(write.value)]
                    with m.If(self.strobe & self.ack):
                        m.d.sync += wait.eq(write.wait)
        with m.If(self.strobe & self.ack):
            m.d.sync += self.strobe.eq(0)
        with m.Elif(~self.strobe & ~self.done):
            with m.If(wait != 0):
                m.d.sync += wait.eq(wait - 1)
            with m.Elif(step == len(self.writes) - 1):
                m.d.sync += self.done.eq(1)
            with m.Else():
                m.d.sync += [step.eq(step + 1), self.strobe.eq(1)]
        return m


TESTED = 4096
"""Words that :class:`MemoryTest` tests, twice."""
RUN = 8
"""Words in a row, of which each run begins anywhere."""
BLOCK_STEP = 0x0C_9E37
"""Odd, so that runs begin in distinct places of all rows, banks and columns."""
WORD_STEP = 0x9E37
"""Odd, so that all words are distinct."""


class MemoryTest(wiring.Component):
    """Writes words all over the memory, reads them back, and does it again with all bits inverted.

    Members
    -------
    start : In(1)
        Held.
    port : Out(NativePort)
        Others may use the same memory once the test is done.
    done : Out(1)
    wrong : Out
        Number of wrong words.
    lines : Out
        Data lines that were wrong in any of them.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "port": Out(NativePort()),
                "done": Out(1),
                "wrong": Out(range(2 * TESTED + 1)),
                "lines": Out(DQ_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        port, low = self.port, RUN.bit_length() - 1
        reads, inverted = Signal(), Signal()
        asked, moved = Signal(range(TESTED + 1)), Signal(range(TESTED + 1))
        block, word = Signal(DQ_ADDRESS_BITS - low), Signal(DQ_BITS)
        wanted, found, looks = Signal(DQ_BITS), Signal(DQ_BITS), Signal()
        m.d.comb += [
            port.valid.eq(self.start & ~self.done & (asked != TESTED)),
            port.write.eq(~reads),
            port.address.eq(Cat(asked[:low], block)),
            port.data.eq(wanted),
            port.mask.eq(0b11),
            wanted.eq(word ^ inverted.replicate(DQ_BITS)),
        ]
        with m.If(port.valid & port.ready):
            m.d.sync += asked.eq(asked + 1)
            with m.If(asked[:low] == RUN - 1):
                m.d.sync += block.eq(block + BLOCK_STEP)
        with m.If(Mux(reads, port.came, port.take) & ~self.done):
            m.d.sync += [moved.eq(moved + 1), word.eq(word + WORD_STEP)]
        with m.If(moved == TESTED):
            m.d.sync += [reads.eq(~reads), asked.eq(0), moved.eq(0), block.eq(0), word.eq(0)]
            with m.If(reads):
                m.d.sync += [inverted.eq(1), self.done.eq(inverted)]
        m.d.sync += [looks.eq(reads & port.came), found.eq(port.word ^ wanted)]
        with m.If(looks & found.any()):
            m.d.sync += [self.wrong.eq(self.wrong + 1), self.lines.eq(self.lines | found)]
        return m
