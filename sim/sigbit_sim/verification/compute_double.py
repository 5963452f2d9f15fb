"""Double of the compute engine for tests of memory and control: memories without arithmetic."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Opcode
from sigbit_hw.arch.numerics import TABLE_ENTRIES
from sigbit_hw.arch.timing import READ_LATENCY
from sigbit_hw.gateware.interfaces import (
    ActRead,
    ActTrace,
    ActWrite,
    InstructionStream,
    ParamWrite,
    Retire,
    TableWrite,
    WeightWrite,
    instruction_layout,
)
from sigbit_hw.gateware.parts.pipeline import delay


class ComputeDouble(wiring.Component):
    """Component with the ports of ``ComputeEngine``; an ``EXEC`` takes ``run`` cycles in which the
    array counts as fed.

    ``stall_write`` and ``stall_read`` (undriven signals, for the testbench) stall slot writes,
    including accepted ones, and slot reads; elements of a read that were not requested are ones.
    The memories' contents are ``acts``, ``weights`` (parts of a word are consecutive), ``params``
    and ``tables``.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        self.parts = config.weight_word_bits // config.bus_bits
        self.acts = memory.MemoryData(shape=config.slot_bits, depth=config.act_slots, init=[])
        self.weights = memory.MemoryData(
            shape=config.bus_bits, depth=config.weight_words * self.parts, init=[]
        )
        self.params = memory.MemoryData(
            shape=64, depth=config.param_groups * config.param_lanes, init=[]
        )
        self.tables = memory.MemoryData(
            shape=config.act_format.bits, depth=config.tables * TABLE_ENTRIES, init=[]
        )
        self.stall_write, self.stall_read = Signal(), Signal()
        super().__init__(
            {
                "i": In(InstructionStream),
                "retire": Out(Retire()),
                "setup_retired": Out(1),
                "act_write": In(ActWrite(config)),
                "act_read": In(ActRead(config)),
                "weight_write": In(WeightWrite(config)),
                "param_write": In(ParamWrite(config)),
                "table_write": In(TableWrite(config)),
                "trace": Out(ActTrace(config)),
                "busy": Out(1),
                "feeding": Out(1),
                "stalled": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._run(m)
        self._memories(m)
        return m

    def _run(self, m: Module) -> None:
        layout = instruction_layout(Opcode.EXEC)
        execute = data.View(layout, self.i.p.word[: layout.size])
        left = Signal(20)
        m.d.comb += [
            self.busy.eq(left != 0),
            self.feeding.eq(left > 1),
            self.stalled.eq(left == 1),
            self.i.ready.eq(left == 0),
        ]
        m.d.sync += [self.setup_retired.eq(0), self.retire.valid.eq(left == 1)]
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Elif(self.i.valid):
            with m.If(execute.opcode == Opcode.EXEC):
                m.d.sync += [
                    left.eq(execute.run + 4),
                    self.retire.signal.eq(execute.signal),
                    self.retire.index.eq(self.i.p.index),
                ]
            with m.Else():
                m.d.sync += self.setup_retired.eq(1)

    def _memories(self, m: Module) -> None:
        m.submodules.acts = acts = memory.Memory(self.acts)
        m.submodules.weights = weights = memory.Memory(self.weights)
        m.submodules.params = params = memory.Memory(self.params)
        m.submodules.tables = tables = memory.Memory(self.tables)
        slots, request = self.act_write.stream, self.act_read.request
        writes = [acts.write_port() for _ in range(self.config.slots_per_move)]
        reads = [acts.read_port() for _ in range(self.config.slots_per_move)]
        held, held_valid, valid = Signal.like(slots.p), Signal(), Signal(READ_LATENCY)
        for k, write in enumerate(writes):
            m.d.comb += [
                write.en.eq(held_valid & ~self.stall_write & (held.count > k)),
                write.addr.eq(held.slot + k),
                write.data.eq(held.data[k]),
            ]
        with m.If(slots.ready):
            m.d.sync += [held_valid.eq(slots.valid), held.eq(slots.p)]
        m.d.comb += [
            self.act_write.busy.eq(held_valid),
            slots.ready.eq(~held_valid | ~self.stall_write),
            request.ready.eq(~self.stall_read),
            self.act_read.valid.eq(valid[-1]),
        ]
        for lane, read in enumerate(reads):
            place = (lane - request.p.lane)[: len(request.p.lane)]
            m.d.comb += read.addr.eq(request.p.slot + place)
            given = Mux(delay(m, place < request.p.count, 1, f"asked_{lane}"), read.data, ~0)
            m.d.comb += self.act_read.data.slots[lane].eq(
                delay(m, given, READ_LATENCY - 1, f"read_{lane}")
            )
        m.d.sync += valid.eq((valid << 1) | (request.valid & request.ready))
        for b in range(self.config.pixels):
            bank = getattr(self.trace, f"bank_{b}")
            for write in writes:
                with m.If(write.en & (write.addr % self.config.pixels == b)):
                    m.d.comb += [
                        bank.valid.eq(1),
                        bank.word.eq(write.addr // self.config.pixels),
                        bank.data.eq(write.data),
                    ]
        for mem, source, address, value in (
            (
                weights,
                self.weight_write,
                self.weight_write.word * self.parts + self.weight_write.part,
                self.weight_write.data,
            ),
            (
                params,
                self.param_write,
                self.param_write.group * self.config.param_lanes + self.param_write.lane,
                self.param_write.item,
            ),
            (
                tables,
                self.table_write,
                self.table_write.table * TABLE_ENTRIES + self.table_write.entry,
                self.table_write.code,
            ),
        ):
            port = mem.write_port()
            m.d.comb += [port.en.eq(source.valid), port.addr.eq(address), port.data.eq(value)]
