"""The drain: results of a finished block to codes in the activation memory."""

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.numerics import PRE_BITS
from sigbit_hw.buffers import BankWrite, ParamMemory, TableMemory
from sigbit_hw.drain_slots import OutputSlots, PixelSteps
from sigbit_hw.drain_walker import DrainWalker, drain_layout
from sigbit_hw.interfaces import ParamWrite, TableWrite
from sigbit_hw.pipeline import choose, delay
from sigbit_hw.requant import Requantizer


class Drain(wiring.Component):
    """Copies a block's results, post-processes ``post_lanes`` of them a cycle, writes their codes.

    Lane ``d * param_lanes + j`` takes channel j of a parameter group, of pixel d of a group of
    ``drain_pixels``. An accumulator goes through requantizer and activation table; a maximum to the
    table as it is.

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

    A block takes ``config.drain_cycles(n_planes)`` cycles, a maximum ``pixels // drain_pixels *
    n_planes``. No two of the slots that a cycle writes are in one bank.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        self.steps, self.slots = PixelSteps(config), OutputSlots(config)
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

    @property
    def _code_time(self) -> int:
        """Cycles from ``start`` to codes."""
        return 1 + ParamMemory.read_latency + Requantizer.latency + TableMemory.read_latency

    @property
    def _bank_time(self) -> int:
        """Cycles from ``start`` to the banks of the slots."""
        return 1 + self.steps.latency + self.slots.latency + 2

    @property
    def latency(self) -> int:
        """Cycles from ``start`` to a block's first writes."""
        return max(self._code_time, self._bank_time) + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.walker = walker = DrainWalker(config)
        m.submodules.steps = steps = self.steps
        m.submodules.slots = slots = self.slots
        m.submodules.params = params = ParamMemory(config)
        m.submodules.tables = tables = TableMemory(config)
        connect(m, flipped(self.i), walker.i)
        connect(m, flipped(self.param_write), params.write)
        connect(m, flipped(self.table_write), tables.write)
        m.d.comb += [
            walker.start.eq(self.start),
            steps.group.eq(walker.group),
            slots.move.eq(steps.move),
            params.group.eq(walker.param),
        ]

        index_time = ParamMemory.read_latency + Requantizer.latency
        maxima = self._maxima(m, walker.entry)
        pool = delay(m, walker.pool, index_time, "pool")
        m.d.comb += tables.table.eq(delay(m, walker.table, index_time, "table"))
        for d in range(config.drain_pixels):
            maximum = delay(m, maxima[d], index_time - 1, f"maximum_{d}")
            for j in range(config.param_lanes):
                lane = d * config.param_lanes + j
                m.submodules[f"requant_{lane}"] = requant = Requantizer(config.acc_bits)
                selected = self._selected(m, walker.entry, d, j)
                y: Signal = requant.y
                index = Signal(PRE_BITS, name=f"index_{lane}")
                m.d.comb += [
                    requant.acc.eq(selected),
                    requant.param.eq(params.params[j]),
                    index.eq(y),
                    tables.index[lane].eq(index),
                ]
                if j < config.ic_lanes:
                    with m.If(pool):
                        m.d.comb += index.eq(maximum.word_select(j, config.act_format.lane_bits))
        padding = Const(0, config.act_format.lane_bits - config.act_format.bits)
        self._write(m, Cat(Cat(code, padding) for code in tables.codes))
        return m

    def _maxima(self, m: Module, entry: Value) -> list[Signal]:
        """Shadow registers of the maxima, and of each pixel of a group the one selected."""
        config = self.config
        shadows = [Signal(config.slot_bits, name=f"maximum_{p}", reset_less=True)
                   for p in range(config.pixels)]
        with m.If(self.start):
            m.d.sync += [shadow.eq(self.maxima[p]) for p, shadow in enumerate(shadows)]
        selected = []
        for d in range(config.drain_pixels):
            maximum = Signal(config.slot_bits, name=f"selected_maximum_{d}", reset_less=True)
            m.d.sync += maximum.eq(choose(entry, shadows[d::config.drain_pixels]))
            selected.append(maximum)
        return selected

    def _selected(self, m: Module, entry: Value, d: int, j: int) -> Signal:
        """Shadow registers of the accumulators that lane (d, j) takes, and the one selected, when
        its parameters arrive."""
        config = self.config
        entries = []
        for p in range(d, config.pixels, config.drain_pixels):
            for g in range(config.groups_per_block):
                acc = Signal(signed(config.acc_bits), name=f"shadow_{p}_{g}_{j}", reset_less=True)
                with m.If(self.start):
                    m.d.sync += acc.eq(self.acc[p][g * config.param_lanes + j])
                entries.append(acc)
        selected = Signal(signed(config.acc_bits), name=f"selected_{d}_{j}", reset_less=True)
        m.d.sync += selected.eq(choose(entry, entries))
        return delay(m, selected, ParamMemory.read_latency - 1, f"selected_{d}_{j}")

    def _write(self, m: Module, codes: Value) -> None:
        """Brings slots, and codes of all lanes, to their banks, and aligns them."""
        config, slots = self.config, self.slots
        bank_bits, count = ceil_log2(config.pixels), len(slots.slots)
        wait = self.latency - 1 - self._bank_time
        write = delay(m, slots.write, wait, "write", reset=True)
        where = [delay(m, slot, wait, f"slot_{k}") for k, slot in enumerate(slots.slots)]
        words = [delay(m, slot[bank_bits:], 2, f"word_{k}") for k, slot in enumerate(where)]
        codes = delay(m, codes, self.latency - 1 - self._code_time, "codes")
        data = [codes.word_select(k, config.slot_bits) for k in range(count)]
        for b, port in enumerate(self.writes):
            hits = Signal(count, name=f"hits_{b}")
            source = Signal(range(count), name=f"source_{b}", reset_less=True)
            m.d.sync += [
                hits.eq(Cat(write[k] & (slot[:bank_bits] == b) for k, slot in enumerate(where))),
                source.eq(Cat(Cat(hits[k] for k in range(count) if k >> i & 1).any()
                              for i in range(len(source)))),
                port.valid.eq(delay(m, hits.any(), 1, f"hit_{b}", reset=True)),
                port.word.eq(choose(source, words)),
                port.data.eq(choose(source, data)),
            ]
        m.d.comb += self.end.eq(delay(m, slots.end, wait + 3, "end", reset=True))
