"""An accelerator with a memory on a serial line: a complete board except its clock and pins."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_boards.link.endpoint import Endpoint
from sigbit_boards.link.uart import SerialReceiver, SerialTransmitter
from sigbit_boards.memory.axi_ram import AxiRam
from sigbit_boards.memory.sdram import Sdram
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.ports import axi_master
from sigbit_hw.gateware.top import Accelerator

_VISIBLE_HZ = 10
"""Maximum number of events per second that an LED shows."""
LEDS = 5
"""Number of LEDs that :class:`SerialAccelerator` drives."""


def require_one_port(config: ArchConfig) -> None:
    """Raise ``ValueError`` for an accelerator that needs more memory ports."""
    if config.ports != 1:
        raise ValueError(f"the board has one memory port, {config.name} needs {config.ports}")


class SerialAccelerator(wiring.Component):
    """An accelerator with one port and a memory, accessed through the serial link.

    The accelerator sees the memory from address 0 on.

    Parameters
    ----------
    config : ArchConfig
    clock_hz : int
        Frequency of its clock.
    divisor : int
        Cycles per bit of the serial line.
    memory : AxiRam or Sdram

    Members
    -------
    rx : In(1), tx : Out(1)
    leds : Out(LEDS)
        Clocked (blinks), a session is open, a request was answered, one was damaged, the
        accelerator has an interrupt.
    """

    def __init__(
        self, config: ArchConfig, clock_hz: int, divisor: int, memory: AxiRam | Sdram
    ) -> None:
        require_one_port(config)
        self.config, self.clock_hz = config, clock_hz
        self.divisor, self.memory = divisor, memory
        super().__init__({"rx": In(1), "tx": Out(1, init=1), "leds": Out(LEDS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, access = self.config, self.memory.access
        m.submodules.accelerator = accelerator = Accelerator(config)
        m.submodules.memory = memory = self.memory
        m.submodules.link = link = Endpoint(memory.size, self.clock_hz)
        m.submodules.receiver = receiver = SerialReceiver(self.divisor)
        m.submodules.transmitter = transmitter = SerialTransmitter(self.divisor)
        wiring.connect(m, link.o, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            link.i.payload.eq(receiver.data),
            link.i.valid.eq(receiver.valid),
            link.irq.eq(accelerator.irq),
            access.host_index.eq(link.memory_index),
            access.host_write.eq(link.memory_write),
            access.host_read.eq(link.memory_read),
            access.host_data.eq(link.memory_data),
            link.memory_done.eq(access.host_done),
            link.memory_word.eq(access.host_word),
            link.memory_ready.eq(memory.ready),
            link.memory_fault.eq(memory.fault),
            accelerator.s_axil_wstrb.eq(0b1111),
            accelerator.s_axil_bready.eq(1),
            accelerator.s_axil_rready.eq(1),
        ]
        for name, member in link.registers.signature.members.items():
            its, ours = getattr(accelerator, f"s_axil_{name}"), getattr(link.registers, name)
            m.d.comb += its.eq(ours) if member.flow is Out else ours.eq(its)
        for name, member in axi_master(config.bus_bits).items():
            ours, its = getattr(accelerator, f"m_axi_{name}"), getattr(access.bus, name)
            m.d.comb += its.eq(ours) if member.flow is Out else ours.eq(its)
        self._light(m, link, accelerator.irq)
        return m

    def _light(self, m: Module, link: Endpoint, irq: Signal) -> None:
        """Light an LED after its event until the next tick."""
        period = self.clock_hz // _VISIBLE_HZ
        count, tick = Signal(range(period)), Signal()
        answered, damaged = Signal(), Signal()
        m.d.sync += [count.eq(count + 1), tick.eq(count == period - 2)]
        with m.If(tick):
            m.d.sync += [count.eq(0), self.leds[0].eq(~self.leds[0])]
            m.d.sync += [self.leds[2].eq(answered), self.leds[3].eq(damaged)]
            m.d.sync += [answered.eq(0), damaged.eq(0)]
        with m.If(link.answers):
            m.d.sync += answered.eq(1)
        with m.If(link.damaged):
            m.d.sync += damaged.eq(1)
        m.d.sync += [self.leds[1].eq(link.opened), self.leds[4].eq(irq)]
