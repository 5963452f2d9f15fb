"""An accelerator on an ECP5 board that has a clock and a serial line: the ULX3S with LFE5U-85F.

The host reaches registers and memory by the serial line: ``W``, four bytes of address, four bytes
of data, all little-endian, is answered by ``K``; ``R`` and an address by four bytes of data.
Addresses with bit 31 set are bytes of the memory, which the accelerator sees from address 0 on; the
others are registers.

Sites, drives and pulls of pins are those of emard/ulx3s, ``doc/constraints/ulx3s_v20.lpf`` (boards
2.x and 3.0.x). Limits, phase and analog settings of the clock generator are those of prjtrellis,
``libtrellis/tools/ecppll.cpp``, which found them by asking Lattice's own tool.
"""

from amaranth.hdl import Cat, ClockDomain, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from sigbit_boards.ulx3s.axi_ram import AxiRam
from sigbit_boards.ulx3s.serial import SerialReceiver, SerialTransmitter
from sigbit_hw.arch import regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.ports import axi_master
from sigbit_hw.gateware.top import Accelerator

MEMORY_BYTES = 64 << 10
"""Memory beside the accelerator."""
OSCILLATOR = 25e6
"""Hertz of the board's clock."""
BAUD = 1_000_000
"""Bits a second on the serial line."""
WRITE, READ, DONE = b"WRK"
"""The serial line's commands, and the answer to a write."""
MEMORY_BIT = 31
"""Address bit that tells the memory from the registers."""
_LOCK_CYCLES = 64


class SerialAccelerator(wiring.Component):
    """An accelerator of one port with a memory, on a serial line.

    Parameters
    ----------
    config : ArchConfig
    divisor : int
        Cycles a bit of the serial line.
    memory_bytes : int
        A power of two.

    Members
    -------
    rx : In(1), tx : Out(1)
    irq : Out(1)
        The accelerator's interrupt.
    """

    def __init__(self, config: ArchConfig, divisor: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self.config, self.divisor, self.memory_bytes = config, divisor, memory_bytes
        super().__init__({"rx": In(1), "tx": Out(1, init=1), "irq": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.accelerator = accelerator = Accelerator(config)
        m.submodules.memory = memory = AxiRam(
            self.memory_bytes // config.bus_bytes, config.bus_bits
        )
        m.submodules.receiver = receiver = SerialReceiver(self.divisor)
        m.submodules.transmitter = transmitter = SerialTransmitter(self.divisor)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            self.irq.eq(accelerator.irq),
        ]
        for name, member in axi_master(config.bus_bits).items():
            ours, its = getattr(accelerator, f"m_axi_{name}"), getattr(memory.bus, name)
            m.d.comb += its.eq(ours) if member.flow is Out else ours.eq(its)

        command, address, word = Signal(8), Signal(32), Signal(32)
        left, to_memory = Signal(range(9)), address[MEMORY_BIT]
        axil = {
            name: getattr(accelerator, f"s_axil_{name}")
            for name in (
                "awaddr",
                "awvalid",
                "awready",
                "wdata",
                "wstrb",
                "wvalid",
                "wready",
                "bvalid",
                "bready",
                "araddr",
                "arvalid",
                "arready",
                "rdata",
                "rvalid",
                "rready",
            )
        }
        m.d.comb += [
            memory.host_index.eq(address[2:]),
            memory.host_data.eq(word),
            axil["awaddr"].eq(address[: regs.ADDRESS_BITS]),
            axil["araddr"].eq(address[: regs.ADDRESS_BITS]),
            axil["wdata"].eq(word),
            axil["wstrb"].eq(0b1111),
            axil["bready"].eq(1),
            axil["rready"].eq(1),
        ]
        for way in ("awvalid", "wvalid", "arvalid"):
            with m.If(axil[f"{way.removesuffix('valid')}ready"]):
                m.d.sync += axil[way].eq(0)

        with m.FSM():
            with m.State("COMMAND"):
                m.d.sync += [command.eq(receiver.data), left.eq(4)]
                with m.If(receiver.valid & (receiver.data == WRITE)):
                    m.d.sync += left.eq(8)
                    m.next = "COLLECT"
                with m.If(receiver.valid & (receiver.data == READ)):
                    m.next = "COLLECT"
            with m.State("COLLECT"):
                with m.If(receiver.valid):
                    m.d.sync += left.eq(left - 1)
                    with m.If((command == READ) | (left > 4)):
                        m.d.sync += address.eq(Cat(address[8:], receiver.data))
                    with m.Else():
                        m.d.sync += word.eq(Cat(word[8:], receiver.data))
                with m.If(left == 0):
                    m.next = "START"
            with m.State("START"):
                with m.If(~to_memory):
                    with m.If(command == WRITE):
                        m.d.sync += [axil["awvalid"].eq(1), axil["wvalid"].eq(1)]
                    with m.Else():
                        m.d.sync += axil["arvalid"].eq(1)
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += [
                    memory.host_write.eq(to_memory & (command == WRITE)),
                    memory.host_read.eq(to_memory & (command == READ)),
                ]
                m.d.sync += left.eq(4)
                with m.If(memory.host_done | axil["bvalid"] | axil["rvalid"]):
                    with m.If(to_memory):
                        m.d.sync += word.eq(memory.host_word)
                    with m.Else():
                        m.d.sync += word.eq(axil["rdata"])
                    with m.If(command == WRITE):
                        m.d.sync += [word.eq(DONE), left.eq(1)]
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [transmitter.i.valid.eq(left != 0), transmitter.i.payload.eq(word[:8])]
                with m.If(left == 0):
                    m.next = "COMMAND"
                with m.Elif(transmitter.i.ready):
                    m.d.sync += [left.eq(left - 1), word.eq(word >> 8)]
        return m


class Ulx3sBoard(wiring.Component):
    """The whole part: clock generator and what it clocks.

    There is no reset. Registers begin with the values that configuration gives them, and nothing
    is clocked before the clock generator has been locked for a while: a net to every register
    would be the slowest of all.

    Parameters
    ----------
    core : Component
        With members ``rx``, ``tx`` and ``irq`` as :class:`SerialAccelerator` has them.
    clock : float
        Hertz of its clock, as :func:`board_clock` gives it.

    Members
    -------
    clk25 : In(1), rx : In(1), tx : Out(1), irq : Out(1)
        Pins of :data:`PINS`.
    """

    def __init__(self, core: wiring.Component, clock: float) -> None:
        self.core = core
        self.reference, self.feedback, self.output = pll_dividers(clock)
        super().__init__({"clk25": In(1), "rx": In(1), "tx": Out(1, init=1), "irq": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.oscillator = oscillator = ClockDomain(reset_less=True)
        m.domains.made = made = ClockDomain(reset_less=True)
        m.domains.sync = gated = ClockDomain(reset_less=True)
        locked, steady = Signal(), Signal()
        count, lasting, runs = Signal(range(_LOCK_CYCLES)), Signal(), Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC",
            p_OUTDIVIDER_MUXD="DIVD",
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=self.reference,
            p_CLKFB_DIV=self.feedback,
            p_CLKOP_DIV=self.output,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_CPHASE=self.output // 2,
            p_CLKOP_FPHASE=0,
            i_CLKI=self.clk25,
            i_CLKFB=made.clk,
            i_RST=0,
            i_STDBY=0,
            i_PHASESEL0=0,
            i_PHASESEL1=0,
            i_PHASEDIR=1,
            i_PHASESTEP=1,
            i_PHASELOADREG=1,
            i_PLLWAKESYNC=0,
            i_ENCLKOP=0,
            o_CLKOP=made.clk,
            o_LOCK=locked,
        )
        m.d.comb += oscillator.clk.eq(self.clk25)
        m.submodules.steady = FFSynchronizer(locked, steady, o_domain="oscillator")
        m.d.oscillator += [
            count.eq(count + 1),
            lasting.eq(lasting | (count == _LOCK_CYCLES - 1)),
        ]
        with m.If(~steady):
            m.d.oscillator += [count.eq(0), lasting.eq(0)]
        # Two registers are too few for tools to give this clock a network before the gate.
        m.submodules.runs = FFSynchronizer(lasting, runs, o_domain="made")
        m.submodules.gate = Instance("DCCA", i_CLKI=made.clk, i_CE=runs, o_CLKO=gated.clk)
        m.submodules.serial = core = self.core
        m.d.comb += [core.rx.eq(self.rx), self.tx.eq(core.tx), self.irq.eq(core.irq)]
        return m


PINS = {
    "clk25": ("G2", "PULLMODE=NONE"),
    "rx": ("M1", "PULLMODE=UP"),
    "tx": ("L4", "PULLMODE=UP DRIVE=4"),
    "irq": ("B2", "PULLMODE=NONE DRIVE=4"),
}
"""Balls of the CABGA381 package on the ULX3S, and what else their buffers need: oscillator, serial
line (``ftdi_txd`` and ``ftdi_rxd`` on the board), first LED."""


def constraints() -> str:
    """The board's pins, as nextpnr and the vendor's tools read them."""
    lines = [f'LOCATE COMP "{name}" SITE "{site}";' for name, (site, _) in PINS.items()]
    lines += [f'IOBUF PORT "{name}" IO_TYPE=LVCMOS33 {more};' for name, (_, more) in PINS.items()]
    return "\n".join([*lines, f'FREQUENCY PORT "clk25" {OSCILLATOR / 1e6:g} MHZ;', ""])


def board_clock(config: ArchConfig, clock: float) -> float:
    """The fastest clock up to ``clock`` Hertz that the board can make.

    ``ValueError`` if there is none, or if the board cannot have this accelerator.
    """
    if config.ports != 1:
        raise ValueError(f"the board has one memory port, {config.name} needs {config.ports}")
    reference, feedback, _ = pll_dividers(clock)
    return OSCILLATOR * feedback / reference


def pll_dividers(clock: float) -> tuple[int, int, int]:
    """Dividers of reference, feedback and output for the fastest clock up to ``clock`` Hertz.

    ``ValueError`` if there is none: the oscillator of 400 to 800 MHz has dividers of 1 to 128, the
    phase detector wants at least 3.125 MHz.
    """
    found = [
        (OSCILLATOR * feedback / reference, -reference, feedback)
        for reference in range(1, 9)
        for feedback in range(1, 81)
        if 10e6 <= OSCILLATOR * feedback / reference <= min(clock, 400e6)
    ]
    if not found:
        raise ValueError(f"the board can make clocks of 10 to 400 MHz, not {clock / 1e6:g} MHz")
    made, reference, feedback = max(found)
    return -reference, feedback, round(600e6 / made)
