"""The drain: results of a finished block to codes in the activation memory."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.numerics import PRE_BITS
from sigbit_hw.buffers import BankWrite, ParamMemory, TableMemory
from sigbit_hw.drain_walker import DrainWalker, OutputSlots, drain_layout
from sigbit_hw.interfaces import ParamWrite, TableWrite
from sigbit_hw.pipeline import delay
from sigbit_hw.requant import Requantizer


class Drain(wiring.Component):
    """Copies a block's results, post-processes ``post_lanes`` of them a cycle, writes their codes.

    An accumulator goes through requantizer and activation table; a maximum to the table as it is.

    Members
    -------
    ``i : In(stream(drain_layout))``
        The EXECs that drain, in order.
    ``start : In(1)``
        ``acc`` and ``maxima`` hold a block's results. At least the block's drain time apart.
    ``acc : In(signed(acc_bits)).array(pixels, oc_lanes)``, ``maxima : In(slot_bits).array(pixels)``
        Results.
    ``writes : Out(BankWrite).array(pixels)``
        Writes into the banks: the first :attr:`latency` cycles after ``start``.
    ``end : Out(1)``
        The last writes of an EXEC take place in this cycle.
    ``param_write : In(ParamWrite)``, ``table_write : In(TableWrite)``
        Writes into the parameter memory and the activation tables.

    A block takes ``config.drain_cycles(n_planes)`` cycles (``pool``: ``pixels * n_planes``).
    """

    latency = 1 + ParamMemory.read_latency + Requantizer.latency + TableMemory.read_latency + 1

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__({
            "i": In(stream.Signature(drain_layout(config))),
            "start": In(1),
            "acc": In(signed(config.acc_bits)).array(config.pixels, config.oc_lanes),
            "maxima": In(config.slot_bits).array(config.pixels),
            "writes": Out(BankWrite(config)).array(config.pixels),
            "end": Out(1),
            "param_write": In(ParamWrite(config)),
            "table_write": In(TableWrite(config)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.walker = walker = DrainWalker(config)
        m.submodules.slots = slots = OutputSlots(config)
        m.submodules.params = params = ParamMemory(config)
        m.submodules.tables = tables = TableMemory(config)
        connect(m, flipped(self.i), walker.i)
        connect(m, flipped(self.param_write), params.write)
        connect(m, flipped(self.table_write), tables.write)
        m.d.comb += [
            walker.start.eq(self.start),
            slots.move.eq(walker.move),
            params.group.eq(walker.param),
        ]

        # Shadow registers, of which the walker selects one group a cycle.
        results = []
        for p in range(config.pixels):
            shadow = Signal(config.slot_bits, name=f"maximum_{p}", reset_less=True)
            with m.If(self.start):
                m.d.sync += shadow.eq(self.maxima[p])
            results.append(shadow)
        maximum = Signal(config.slot_bits, reset_less=True)
        pixel = walker.entry[:ceil_log2(config.pixels)]
        with m.Switch(pixel):
            for p, shadow in enumerate(results):
                with m.Case(p):
                    m.d.sync += maximum.eq(shadow)
        index_time = ParamMemory.read_latency + Requantizer.latency
        maximum = delay(m, maximum, index_time - 1, "maximum")
        pool = delay(m, walker.pool, index_time, "pool")

        bits = config.act_format.bits
        for j in range(config.post_lanes):
            entries = []
            for p in range(config.pixels):
                for g in range(config.groups_per_block):
                    acc = Signal(signed(config.acc_bits), name=f"shadow_{p}_{g}_{j}",
                                 reset_less=True)
                    with m.If(self.start):
                        m.d.sync += acc.eq(self.acc[p][g * config.post_lanes + j])
                    entries.append(acc)
            selected = Signal(signed(config.acc_bits), name=f"selected_{j}", reset_less=True)
            with m.Switch(walker.entry):
                for k, acc in enumerate(entries):
                    with m.Case(k):
                        m.d.sync += selected.eq(acc)
            m.submodules[f"requant_{j}"] = requant = Requantizer(config.acc_bits)
            y: Signal = requant.y
            index = Signal(PRE_BITS, name=f"index_{j}")
            m.d.comb += [
                requant.acc.eq(delay(m, selected, ParamMemory.read_latency - 1, f"selected_{j}")),
                requant.param.eq(params.params[j]),
                index.eq(y),
                tables.index[j].eq(index),
            ]
            if j < config.ic_lanes:
                with m.If(pool):
                    m.d.comb += index.eq(maximum.word_select(j, bits))
        m.d.comb += tables.table.eq(delay(m, walker.table, index_time, "table"))

        # Codes meet their slots.
        wait = self.latency - 2 - DrainWalker.latency - slots.latency
        write = delay(m, slots.write, wait, "write", reset=True)
        where = [delay(m, slot, wait, f"slot_{k}") for k, slot in enumerate(slots.slots)]
        codes = [Cat(tables.codes[k * config.ic_lanes:(k + 1) * config.ic_lanes])
                 for k in range(config.drain_slots)]
        bank_bits = ceil_log2(config.pixels)
        for b, port in enumerate(self.writes):
            hits = [write[k] & (slot[:bank_bits] == b) for k, slot in enumerate(where)]
            m.d.sync += port.valid.eq(Cat(hits).any())
            word, slot_data = where[-1][bank_bits:], codes[-1]
            for hit, slot, code in list(zip(hits, where, codes, strict=True))[-2::-1]:
                word, slot_data = Mux(hit, slot[bank_bits:], word), Mux(hit, code, slot_data)
            m.d.sync += [port.word.eq(word), port.data.eq(slot_data)]
        m.d.comb += self.end.eq(delay(m, slots.end, wait + 1, "end", reset=True))
        return m
