"""The register file: an AXI4-Lite slave generated from ``arch.regs.REGISTERS``."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch import regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.regs import Access
from sigbit_hw.ports import axi_lite_slave

_WORD_BYTES = 4
_INDEX_BITS = regs.ADDRESS_BITS - 2


def registers(config: ArchConfig) -> tuple[regs.Register, ...]:
    """The registers that an accelerator has: all but the bases of absent bus ports."""
    absent = {f"MEM_BASE{port}_{half}" for port in range(config.ports, regs.PORTS_MAX)
              for half in ("LO", "HI")}
    return tuple(r for r in regs.REGISTERS if r.name not in absent)


class Csr(wiring.Component):
    """Registers behind AXI4-Lite; one write and one read at a time.

    Byte strobes are honoured. Unmapped addresses and the bases of absent bus ports read 0, writes
    to them and to read-only registers do nothing; the response is always OKAY. A write takes effect
    three cycles after address and data have both been offered.

    Members
    -------
    aw…, w…, b…, ar…, r… : as in ``ports.axi_lite_slave``
    {register} : Out(32)
        Value of a read-write register; for a pulse register, the ones being written, for one cycle.
    {register} : In(32)
        Value of a read-only register (but for the constants); for a write-1-to-clear register, the
        bits to set.
    clear : In(1)
        Clears the write-1-to-clear registers.
    irq : Out(1)
    """

    def __init__(self, config: ArchConfig) -> None:
        self.registers = registers(config)
        self.constants = {
            "MAGIC": regs.MAGIC,
            "VERSION": regs.VERSION,
            "DIGEST_LO": int(config.digest[:8], 16),
            "DIGEST_HI": int(config.digest[8:16], 16),
        }
        outputs = {Access.RW, Access.PULSE}
        super().__init__({
            **axi_lite_slave(),
            **{r.name.lower(): (Out(32, init=regs.RW_RESET.get(r.name, 0)) if r.access in outputs
                                else In(32))
               for r in self.registers if r.name not in self.constants},
            "clear": In(1),
            "irq": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        status = {r.name: Signal(32, name=f"{r.name.lower()}_held")
                  for r in self.registers if r.access is Access.W1C}
        write_index, write_bits, write_data = self._write_channels(m)
        for register in self.registers:
            if register.name in self.constants or register.access is Access.RO:
                continue
            mine = write_index == register.offset // _WORD_BYTES
            bits = Mux(mine, write_bits, 0)
            port = getattr(self, register.name.lower())
            if register.access is Access.RW:
                m.d.sync += port.eq((port & ~bits) | (write_data & bits))
            elif register.access is Access.PULSE:
                m.d.sync += port.eq(write_data & bits)
            else:
                held = status[register.name]
                m.d.sync += held.eq(Mux(self.clear, 0, (held & ~(write_data & bits)) | port))
        m.d.sync += self.irq.eq((status["IRQ_STATUS"] & self.irq_enable).any())
        self._read_channels(m, status)
        return m

    def _write_channels(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """Returns the word index, the bits to write (0 without a write) and the data."""
        index = Signal(_INDEX_BITS)
        bits, word = Signal(32), Signal(32)
        accept = Signal()
        m.d.comb += accept.eq(self.awvalid & self.wvalid & ~self.awready & ~self.bvalid)
        m.d.sync += [
            self.awready.eq(accept),
            self.wready.eq(accept),
            bits.eq(0),
        ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [
                index.eq(self.awaddr[2:]),
                bits.eq(Cat(strobe.replicate(8) for strobe in self.wstrb)),
                word.eq(self.wdata),
                self.bvalid.eq(1),
            ]
        with m.Elif(self.bready):
            m.d.sync += self.bvalid.eq(0)
        return index, bits, word

    def _read_channels(self, m: Module, status: dict[str, Signal]) -> None:
        index = Signal(_INDEX_BITS)
        pending = Signal()
        value = Signal(32)
        with m.Switch(index):
            for register in self.registers:
                with m.Case(register.offset // _WORD_BYTES):
                    if register.name in self.constants:
                        m.d.comb += value.eq(self.constants[register.name])
                    elif register.access is Access.W1C:
                        m.d.comb += value.eq(status[register.name])
                    elif register.access is not Access.PULSE:
                        m.d.comb += value.eq(getattr(self, register.name.lower()))
        m.d.comb += self.arready.eq(~pending & ~self.rvalid)
        with m.If(self.arvalid & self.arready):
            m.d.sync += [index.eq(self.araddr[2:]), pending.eq(1)]
        with m.If(pending):
            m.d.sync += [pending.eq(0), self.rdata.eq(value), self.rvalid.eq(1)]
        with m.Elif(self.rready):
            m.d.sync += self.rvalid.eq(0)
