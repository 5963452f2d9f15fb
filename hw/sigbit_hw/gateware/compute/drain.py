"""The drain: converts the results of a finished block to codes in the activation memory."""

from collections.abc import Sequence
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.compute.buffers import BankWrite, ParamMemory, TableMemory
from sigbit_hw.gateware.compute.drain_slots import OutputSlots, PixelSteps
from sigbit_hw.gateware.compute.drain_walker import DrainWalker, drain_layout
from sigbit_hw.gateware.compute.requant import Requantizer, Steps
from sigbit_hw.gateware.interfaces import ParamWrite, TableWrite
from sigbit_hw.gateware.parts.pipeline import choose, delay


class Drain(wiring.Component):
    """Copies a block's results, post-processes ``post_lanes`` of them per cycle, and writes their
    codes.

    Lane ``d * param_lanes + j`` takes channel j of a parameter group, of pixel d of a group of
    ``drain_pixels``. Accumulators go through requantizer and activation table. So do maxima, with
    parameters that leave them as they are.

    Members
    -------
    ``i : In(stream(drain_layout))``
        The EXECs that drain, in order.
    ``start : In(1)``
        In the next cycle ``acc`` and ``maxima`` hold a block's results. At least the block's drain
        time apart.
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
        self.requantizers = [
            Requantizer(config.params, config.result_bits) for _ in range(config.post_lanes)
        ]
        super().__init__(
            {
                "i": In(stream.Signature(drain_layout(config))),
                "start": In(1),
                "acc": In(signed(config.acc_bits)).array(config.pixels, config.oc_lanes),
                "maxima": In(config.slot_bits).array(config.pixels),
                "writes": Out(BankWrite(config)).array(config.pixels),
                "end": Out(1),
                "param_write": In(ParamWrite(config)),
                "table_write": In(TableWrite(config)),
            }
        )

    @property
    def _code_time(self) -> int:
        """Cycles from ``start`` to the codes."""
        return 1 + self._index_time + TableMemory.read_latency

    @property
    def _index_time(self) -> int:
        """Cycles from an entry to its table index."""
        return ParamMemory.read_latency + self.requantizers[0].latency

    @property
    def _bank_time(self) -> int:
        """Cycles from ``start`` to the banks of the slots."""
        return DrainWalker.latency + self.steps.latency + self.slots.latency + 2

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
            params.neutral.eq(walker.pool),
            tables.table.eq(delay(m, walker.table, self._index_time, "table")),
        ]

        shows = Signal()
        m.d.sync += shows.eq(self.start)
        divisors = []
        for j, param in enumerate(params.params):
            m.submodules[f"steps_{j}"] = line = Steps(config.params, config.result_bits)
            m.d.comb += line.param.eq(param)
            divisors.append(line)
        for d in range(config.drain_pixels):
            maximum = self._maximum(m, shows, walker.pool_entry, d)
            for j, line in enumerate(divisors):
                lane = d * config.param_lanes + j
                m.submodules[f"requant_{lane}"] = requant = self.requantizers[lane]
                value = self._accumulator(m, shows, walker.entry, d, j)
                if j < config.ic_lanes:
                    value |= maximum[j]
                m.d.comb += [
                    requant.acc.eq(value),
                    requant.base.eq(params.params[j].base),
                    requant.steps.eq(line.steps),
                    requant.tie.eq(line.tie),
                    tables.index[lane].eq(requant.y),
                ]
        padding = Const(0, config.act_format.lane_bits - config.act_format.bits)
        self._write(m, Cat(Cat(code, padding) for code in tables.codes))
        return m

    def _chosen(
        self, m: Module, shows: Signal, results: Sequence[Value], entry: Value, name: str
    ) -> Value:
        """Copy ``results`` to shadow registers if ``shows``, and return the one whose bit is set in
        ``entry`` one cycle later, 0 for none.

        A register's reset takes no LUT, so each copy goes through a register that is 0 unless it
        is selected; the rest of the multiplexer is an OR in the adder that follows.
        """
        gated = []
        for k, result in enumerate(results):
            shadow, gate = (
                Signal(len(result), name=f"{kind}_{name}_{k}", reset_less=True)
                for kind in ("shadow", "gate")
            )
            with m.If(shows):
                m.d.sync += shadow.eq(result)
            m.d.sync += gate.eq(Mux(entry[k], shadow, 0))
            gated.append(gate)
        return reduce(or_, gated)

    def _maximum(self, m: Module, shows: Signal, entry: Value, d: int) -> list[Value]:
        """Maxima of pixel d of a group in the form that the requantizers take, aligned with their
        parameters."""
        config = self.config
        slot = self._chosen(m, shows, self.maxima[d :: config.drain_pixels], entry, f"maximum_{d}")
        codes = (
            slot.word_select(j, config.act_format.lane_bits)[: config.act_format.bits]
            for j in range(config.ic_lanes)
        )
        # Treat a code as a result: with all its bits, the top one is a sign there.
        return [
            code
            if len(code) < config.result_bits
            else Cat(code, code[-1].replicate(config.acc_bits - len(code)))
            for code in codes
        ]

    def _accumulator(self, m: Module, shows: Signal, entry: Value, d: int, j: int) -> Value:
        """The accumulator of lane (d, j), aligned with its parameters."""
        config = self.config
        results = [
            self.acc[p][g * config.param_lanes + j].as_unsigned()
            for p in range(d, config.pixels, config.drain_pixels)
            for g in range(config.groups_per_block)
        ]
        return self._chosen(m, shows, results, entry, f"{d}_{j}")

    def _write(self, m: Module, codes: Value) -> None:
        """Route the slots and the codes of all lanes to their banks, and align them."""
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
                source.eq(
                    Cat(
                        Cat(hits[k] for k in range(count) if k >> i & 1).any()
                        for i in range(len(source))
                    )
                ),
                port.valid.eq(delay(m, hits.any(), 1, f"hit_{b}", reset=True)),
                port.word.eq(choose(source, words)),
                port.data.eq(choose(source, data)),
            ]
        m.d.comb += self.end.eq(delay(m, slots.end, wait + 3, "end", reset=True))
