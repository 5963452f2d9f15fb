"""The memories of the compute engine: activations, weights, parameters, activation tables."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import ceil_log2

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.numerics import PRE_BITS, TABLE_ENTRIES
from sigbit_hw.arch.timing import READ_LATENCY
from sigbit_hw.gateware.compute.requant import neutral_param, param_layout
from sigbit_hw.gateware.fabric.leaf import ULTRA_RAM
from sigbit_hw.gateware.interfaces import (
    ActRead,
    ActTrace,
    ActWrite,
    ParamWrite,
    TableWrite,
    WeightWrite,
)
from sigbit_hw.gateware.parts.pipeline import choose, delay


class BankWrite(Signature):
    """A write into one bank of the activation memory; always accepted."""

    def __init__(self, config: ArchConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "word": Out(ceil_log2(config.act_slots // config.pixels)),
                "data": Out(config.slot_bits),
            }
        )


class ActMemory(wiring.Component):
    """Activation memory: slot s is in bank ``s % pixels``, word ``s // pixels``.

    Each bank has two ports. Port A serves the operands. Port B serves the drain first, then
    transfers of slots, one per cycle: a write (LOAD, FILL) if there is one, else a read (STORE). A
    transfer is first registered; its slots are written or read together in the next cycle in which
    the drain uses none of their banks.

    Members
    -------
    ``words : In(word).array(pixels)``, ``slots : Out(slot_bits).array(pixels)``
        Port A: slots of the words addressed 2 cycles ago, bank by bank.
    ``drain : In(BankWrite).array(pixels)``
        The drain's writes.
    ``write : In(ActWrite)``
        Ready unless the previous transfer waits for the drain: at best one transfer per cycle.
    ``read : In(ActRead)``
        Ready with ``write`` if that has nothing to transfer; data are valid ``READ_LATENCY`` cycles
        after the banks were read.
    ``trace : Out(ActTrace)``
        All writes, in the cycle in which they take place.

    With ``ultra_ram`` the banks are UltraRAM on UltraScale+; other fabrics do not differ.

    A read of a word that is written in the same cycle returns the old slot here, and an undefined
    value in a fabric's memories: programs do not request it.
    """

    read_latency = 2

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        self.banks = [
            memory.MemoryData(
                shape=config.slot_bits, init=[], depth=config.act_slots // config.pixels
            )
            for _ in range(config.pixels)
        ]
        super().__init__(
            {
                "words": In(ceil_log2(config.act_slots // config.pixels)).array(config.pixels),
                "slots": Out(config.slot_bits).array(config.pixels),
                "drain": In(BankWrite(config)).array(config.pixels),
                "write": In(ActWrite(config)),
                "read": In(ActRead(config)),
                "trace": Out(ActTrace(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pixels, width = self.config.pixels, self.config.slots_per_move
        bank_bits, width_bits = ceil_log2(pixels), ceil_log2(width)
        write, request = self.write.stream, self.read.request
        drained = Cat(port.valid for port in self.drain)
        start = Mux(write.valid, write.p.slot, request.p.slot)
        count = Mux(write.valid, write.p.count, request.p.count)
        first = start[:bank_bits]

        # The transfer on its way to its banks. Slots to be written are rotated by an even number,
        # so that bank b takes slot (b - odd) % width.
        banks, writing, reading = Signal(pixels), Signal(), Signal()
        next_word = Signal(pixels, reset_less=True)
        near, far = (
            Signal(ceil_log2(self.config.act_slots) - bank_bits, name=name, reset_less=True)
            for name in ("near", "far")
        )
        odd = Signal(reset_less=True)
        slots = [
            Signal(self.config.slot_bits, name=f"slot_{k}", reset_less=True) for k in range(width)
        ]
        first_bank = Signal(bank_bits, reset_less=True)
        turn = Signal(width_bits, reset_less=True)
        blocked = Signal()
        m.d.comb += [
            blocked.eq((banks & drained).any()),
            write.ready.eq(~blocked),
            self.write.busy.eq(writing),
            request.ready.eq(~blocked & ~write.valid),
        ]
        with m.If(~blocked):
            m.d.sync += [
                banks.eq(
                    Cat(
                        (write.valid | request.valid) & ((b - first)[:bank_bits] < count)
                        for b in range(pixels)
                    )
                ),
                writing.eq(write.valid),
                reading.eq(request.valid & ~write.valid),
                next_word.eq(Cat(b < first for b in range(pixels))),
                near.eq(start[bank_bits:]),
                far.eq(start[bank_bits:] + 1),
                odd.eq(write.p.slot[0]),
                *(
                    slot.eq(
                        choose(
                            write.p.slot[1:],
                            [write.p.data[(k - r) % width] for r in range(0, width, 2)],
                        )
                    )
                    for k, slot in enumerate(slots)
                ),
                first_bank.eq(request.p.slot),
                turn.eq(request.p.slot - request.p.lane),
            ]

        stored = []
        attrs = ULTRA_RAM if self.config.ultra_ram else {}
        for b, init in enumerate(self.banks):
            m.submodules[f"bank_{b}"] = bank = memory.Memory(init, attrs=attrs)
            port_a, port_b, writer = bank.read_port(), bank.read_port(), bank.write_port()
            drain, trace = self.drain[b], getattr(self.trace, f"bank_{b}")
            word_b = Signal(len(drain.word), name=f"word_b_{b}")
            writer.addr = port_b.addr
            m.d.comb += [
                port_a.addr.eq(self.words[b]),
                word_b.eq(Mux(drain.valid, drain.word, Mux(next_word[b], far, near))),
                port_b.addr.eq(word_b),
                writer.data.eq(
                    Mux(drain.valid, drain.data, Mux(odd, slots[(b - 1) % width], slots[b % width]))
                ),
                writer.en.eq(drain.valid | (banks[b] & writing & ~blocked)),
                port_b.en.eq(banks[b] & reading & ~blocked),
                trace.valid.eq(writer.en),
                trace.word.eq(writer.addr),
                trace.data.eq(writer.data),
            ]
            m.d.comb += self.slots[b].eq(delay(m, port_a.data, 1, f"slot_a_{b}"))
            stored.append(delay(m, port_b.data, 1, f"slot_b_{b}"))
        self._give(m, stored, first_bank, turn, reading & ~blocked)
        return m

    def _give(
        self, m: Module, stored: list[Value], first_bank: Signal, turn: Signal, read: Value
    ) -> None:
        """Select the slots read from the banks: of the ``width`` neighbours from ``first_bank`` on,
        those of equal number modulo ``width``, then rotated by ``turn``."""
        width = self.config.slots_per_move
        low, high = first_bank[: len(turn)], first_bank[len(turn) :]
        neighbours = []
        for k in range(width):
            group = Signal(len(high), name=f"group_{k}")
            m.d.comb += group.eq(high + (k < low))
            chosen = delay(m, group, READ_LATENCY - 1, f"group_{k}")
            neighbours.append(choose(chosen, stored[k::width]))
        turned = delay(m, turn, READ_LATENCY - 1, "turn")
        m.d.comb += self.read.valid.eq(delay(m, read, READ_LATENCY, "read_valid", reset=True))
        m.d.sync += [
            self.read.data.slots[lane].eq(
                choose(turned, [neighbours[(lane + r) % width] for r in range(width)])
            )
            for lane in range(width)
        ]


class WeightMemory(wiring.Component):
    """Weight memory, built from memories as wide as the bus.

    Members
    -------
    ``write : In(WeightWrite)``
        One bus beat per cycle.
    ``word : In(word)``, ``weights : Out(weight_word_bits)``
        The word addressed :attr:`read_latency` cycles ago; the last register is for the fan-out to
        all pixels.
    """

    read_latency = 3

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        self.parts = [
            memory.MemoryData(shape=config.bus_bits, depth=config.weight_words, init=[])
            for _ in range(config.weight_word_bits // config.bus_bits)
        ]
        super().__init__(
            {
                "write": In(WeightWrite(config)),
                "word": In(ceil_log2(config.weight_words)),
                "weights": Out(config.weight_word_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for k, init in enumerate(self.parts):
            m.submodules[f"part_{k}"] = part = memory.Memory(init)
            writer, reader = part.write_port(), part.read_port()
            m.d.comb += [
                writer.addr.eq(self.write.word),
                writer.data.eq(self.write.data),
                writer.en.eq(self.write.valid & (self.write.part == k)),
                reader.addr.eq(self.word),
                self.weights.word_select(k, len(reader.data)).eq(
                    delay(m, reader.data, self.read_latency - 1, f"part_{k}")
                ),
            ]
        return m


class ParamMemory(wiring.Component):
    """Parameter memory in ``param_lanes`` lanes; it stores the bits of an item that the requantizer
    uses.

    Members
    -------
    ``write : In(ParamWrite)``
        One item per cycle.
    ``group : In(group)``, ``neutral : In(1)``, ``params : Out(param_layout).array(param_lanes)``
        The group addressed 2 cycles ago; or, if ``neutral``, parameters with which a requantizer
        returns its input.
    """

    read_latency = 2

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        layout = param_layout(config.params)
        self.lanes = [
            memory.MemoryData(shape=layout.size, depth=config.param_groups, init=[])
            for _ in range(config.param_lanes)
        ]
        super().__init__(
            {
                "write": In(ParamWrite(config)),
                "group": In(ceil_log2(config.param_groups)),
                "neutral": In(1),
                "params": Out(layout).array(config.param_lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layout, nothing = param_layout(self.config.params), neutral_param(self.config.params)
        item = self.write.item[: layout.size]
        neutral = delay(m, self.neutral, 1, "neutral")
        for k, init in enumerate(self.lanes):
            m.submodules[f"lane_{k}"] = lane = memory.Memory(init)
            writer, reader = lane.write_port(), lane.read_port()
            param = Signal(layout, name=f"param_{k}", reset_less=True)
            m.d.comb += [
                writer.addr.eq(self.write.group),
                writer.data.eq(item),
                writer.en.eq(self.write.valid & (self.write.lane == k)),
                reader.addr.eq(self.group),
                self.params[k].eq(param),
            ]
            m.d.sync += param.as_value().eq(Mux(neutral, nothing, reader.data))
        return m


class TableMemory(wiring.Component):
    """Activation tables, a copy for each of ``post_lanes`` lanes.

    Members
    -------
    ``write : In(TableWrite)``
        One entry per cycle, into all copies.
    ``table : In(table)``, ``index : In(8).array(post_lanes)``
    ``codes : Out(bits).array(post_lanes)``
        Each lane's entry addressed 2 cycles ago.
    """

    read_latency = 2

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        bits = config.act_format.bits
        self.lanes = [
            memory.MemoryData(shape=bits, depth=config.tables * TABLE_ENTRIES, init=[])
            for _ in range(config.post_lanes)
        ]
        super().__init__(
            {
                "write": In(TableWrite(config)),
                "table": In(ceil_log2(config.tables)),
                "index": In(PRE_BITS).array(config.post_lanes),
                "codes": Out(bits).array(config.post_lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for k, init in enumerate(self.lanes):
            m.submodules[f"lane_{k}"] = lane = memory.Memory(init)
            writer, reader = lane.write_port(), lane.read_port()
            m.d.comb += [
                writer.addr.eq(Cat(self.write.entry, self.write.table)),
                writer.data.eq(self.write.code),
                writer.en.eq(self.write.valid),
                reader.addr.eq(Cat(self.index[k], self.table)),
                self.codes[k].eq(delay(m, reader.data, 1, f"code_{k}")),
            ]
        return m
