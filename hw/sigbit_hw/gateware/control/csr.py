"""The register file: an AXI4-Lite slave generated from ``arch.regs.REGISTERS``."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from sigbit_hw.arch import launch, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.regs import WORD_BYTES, Access
from sigbit_hw.gateware.ports import axi_lite_slave

_INDEX_BITS = regs.ADDRESS_BITS - exact_log2(WORD_BYTES)
_GROUP = 8
"""Registers selected in one cycle of a read."""


def registers(config: ArchConfig) -> tuple[regs.Register, ...]:
    """Registers that an accelerator has: all except the bases of absent bus ports."""
    absent = {
        name for port in range(config.ports, regs.PORTS_MAX) for name in regs.base_names(port)
    }
    return tuple(r for r in regs.REGISTERS if r.name not in absent)


class Csr(wiring.Component):
    """Registers behind AXI4-Lite; one write and one read at a time.

    Byte strobes are honoured. Unmapped addresses and the bases of absent bus ports read 0, writes
    to them and to read-only registers do nothing; the response is always OKAY. A write takes effect
    three cycles after address and data have both been offered; on the interrupt line one cycle
    later, when it is answered; the next write is accepted when the answer has been taken. A read
    returns the value of the second cycle after its address was offered.

    Members
    -------
    aw…, w…, b…, ar…, r… : as in ``ports.axi_lite_slave``
    {register} : Out(32)
        Value of a register that software owns; for a pulse register, the ones being written, for
        one cycle.
    {register} : In(32)
        Value of a read-only register (except the constants); for a write-1-to-clear register, the
        bits to set.
    clear : In(32)
        Bits to clear in write-1-to-clear registers, unless they are to be set.
    locked : In(1), refused : Out(1)
        The accelerator is not idle: registers of ``Access.SETUP`` keep their values; a write to
        such a register is refused.
    irq : Out(1)
    """

    def __init__(self, config: ArchConfig) -> None:
        self.registers = registers(config)
        self.constants = launch.identity(config) | launch.capabilities(config)
        outputs = {*regs.OWNED, Access.PULSE}
        super().__init__(
            {
                **axi_lite_slave(),
                **{
                    r.name.lower(): (
                        Out(32, init=regs.RW_RESET.get(r.name, 0))
                        if r.access in outputs
                        else In(32)
                    )
                    for r in self.registers
                    if r.name not in self.constants
                },
                "clear": In(32),
                "locked": In(1),
                "refused": Out(1),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        status = {
            r.name: Signal(r.mask.bit_length(), name=f"{r.name.lower()}_held")
            for r in self.registers
            if r.access is Access.W1C
        }
        write_index, strobes, write_data = self._write_channels(m)
        refusals = []
        for register in self.registers:
            if register.name in self.constants or register.access is Access.RO:
                continue
            port = getattr(self, register.name.lower())
            mine = Signal(4, name=f"writes_{register.name.lower()}")  # bytes
            m.d.comb += mine.eq(Mux(write_index == register.offset // WORD_BYTES, strobes, 0))
            if register.access in regs.OWNED:
                if register.access is Access.SETUP:
                    refusals.append(mine.any() & self.locked)
                    mine = Mux(self.locked, 0, mine)
                for k in range(WORD_BYTES):
                    byte = register.mask >> 8 * k & 0xFF
                    with m.If(mine[k]):
                        m.d.sync += port.word_select(k, 8).eq(write_data.word_select(k, 8) & byte)
                continue
            ones = Mux(mine[0], write_data[: register.mask.bit_length()], 0)
            if register.access is Access.PULSE:
                m.d.sync += port.eq(ones)
            else:
                held = status[register.name]
                m.d.sync += held.eq((held & ~ones & ~self.clear) | port)
        m.d.comb += self.refused.eq(Cat(refusals).any())
        m.d.sync += self.irq.eq((status["IRQ_STATUS"] & self.irq_enable).any())
        self._read_channels(m, status)
        return m

    def _write_channels(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """Return the word index, the bytes to write (0 without a write) and the data.

        An accepted write passes three stages: its bytes, the register, the interrupt line.
        """
        index = Signal(_INDEX_BITS)
        strobes, word = Signal(WORD_BYTES), Signal(8 * WORD_BYTES)
        accept = Signal()
        steps = Signal(2)
        pending = self.awready | steps.any() | self.bvalid
        m.d.comb += accept.eq(self.awvalid & self.wvalid & ~pending)
        m.d.sync += [
            self.awready.eq(accept),
            self.wready.eq(accept),
            strobes.eq(0),
            steps.eq(Cat(self.awready, steps[0])),
        ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [
                index.eq(self.awaddr[2:]),
                strobes.eq(self.wstrb),
                word.eq(self.wdata),
            ]
        with m.If(steps[1]):
            m.d.sync += self.bvalid.eq(1)
        with m.Elif(self.bready):
            m.d.sync += self.bvalid.eq(0)
        return index, strobes, word

    def _read_channels(self, m: Module, status: dict[str, Signal]) -> None:
        """Select the value in two cycles: within its group of registers, then among the groups."""
        index = Signal(_INDEX_BITS)
        pending, chosen = Signal(), Signal()
        groups: dict[int, dict[int, regs.Register]] = {}
        for register in self.registers:
            if register.access is Access.PULSE:
                continue
            group, place = divmod(register.offset // WORD_BYTES, _GROUP)
            groups.setdefault(group, {})[place] = register
        rdata = Signal(32)
        for group, members in groups.items():
            value = Signal(32, name=f"group_{group}")
            m.d.sync += value.eq(0)
            with m.Switch(index[: exact_log2(_GROUP)]):
                for place, register in members.items():
                    name = register.name
                    with m.Case(place):
                        m.d.sync += value.eq(
                            self.constants[name]
                            if name in self.constants
                            else status[name]
                            if name in status
                            else getattr(self, name.lower())[: register.mask.bit_length()]
                        )
            with m.If(index[exact_log2(_GROUP) :] == group):
                m.d.comb += rdata.eq(value)
        m.d.comb += self.arready.eq(~pending & ~chosen & ~self.rvalid)
        m.d.sync += chosen.eq(pending)
        with m.If(self.arvalid & self.arready):
            m.d.sync += [index.eq(self.araddr[2:]), pending.eq(1)]
        with m.If(pending):
            m.d.sync += pending.eq(0)
        with m.If(chosen):
            m.d.sync += [self.rdata.eq(rdata), self.rvalid.eq(1)]
        with m.Elif(self.rready):
            m.d.sync += self.rvalid.eq(0)
