"""The back end of LOAD: moves beats to weights, slots, parameters and tables; ``FILL``."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import BEATS_BITS, LoadKind
from sigbit_hw.arch.numerics import TABLE_ENTRIES
from sigbit_hw.arch.params import ITEM_BYTES
from sigbit_hw.arch.regs import Cause
from sigbit_hw.gateware.interfaces import (
    ActWrite,
    Error,
    ParamWrite,
    Retire,
    TableWrite,
    WeightWrite,
)
from sigbit_hw.gateware.memory.dma import client_beat
from sigbit_hw.gateware.memory.load_front import COMMAND
from sigbit_hw.gateware.parts.product import truth_table
from sigbit_hw.gateware.parts.walker import BlockWalker

_ITEM_BITS = 8 * ITEM_BYTES
_SUB_BITS = ceil_log2(TABLE_ENTRIES)


class LoadBack(wiring.Component):
    """Moves beats to their destinations: per cycle one beat of weights, up to
    :func:`slots_per_move` slots that are consecutive in one beat and one run (``FILL``: in one
    run), one parameter or one table entry.

    Members
    -------
    i : In(stream of COMMAND), beat : In(stream)
    act_write, weight_write, param_write, table_write : Out
    retire : Out(Retire)
        In the cycle in which the last write to weights, parameters or tables appears; in the first
        cycle after the last transfer of slots in which ``act_write.busy`` is low.
    error : Out(Error)
        Read errors; ILLEGAL if ``beats`` differs from the number that the items fill.

    Timing: with a command accepted in cycle t, ``FILL`` moves its first slots in t + 2. The first
    beat is taken in t + 2 or when it arrives, and its content is moved from the next cycle on: one
    move per cycle, but slots wait for ``act_write`` and the first move for the previous retirement.
    Another beat is taken in the cycle of the last move out of the previous one, or later. The next
    command is accepted in the cycle after the last move.

    A command whose items end before its beats may take one of the remaining beats before it reports
    the error.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(COMMAND)),
                "beat": In(stream.Signature(client_beat(config))),
                "act_write": Out(ActWrite(config)),
                "weight_write": Out(WeightWrite(config)),
                "param_write": Out(ParamWrite(config)),
                "table_write": Out(TableWrite(config)),
                "retire": Out(Retire()),
                "error": Out(Error()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        width = config.slots_per_move
        m.submodules.walker = walker = BlockWalker(width)
        command = Signal(COMMAND, reset_less=True)
        active = Signal()
        fill = command.fill
        acts = Signal(reset_less=True)  # the command writes slots

        # Steps per item minus one, and units per beat, by kind.
        subs = {kind: images.steps_of_item(kind, config) - 1 for kind in LoadKind}
        units = {kind: images.units_of_beat(kind, config) for kind in LoadKind}
        table = Signal(reset_less=True)  # the command writes entries, several per unit
        entries = images.steps_of_unit(LoadKind.TABLE, config)
        sub_limit = Signal(_SUB_BITS, reset_less=True)
        unit_limit = Signal(range(max(units.values()) + 1), reset_less=True)
        first_limit = Signal(range(width + 1), reset_less=True)  # of these, in one step

        with m.If(~active):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += [
                command.eq(self.i.payload),
                acts.eq(self.i.p.kind == LoadKind.ACTS),
                table.eq(self.i.p.kind == LoadKind.TABLE),
            ]
            with m.Switch(self.i.p.kind):
                for kind in LoadKind:
                    with m.Case(kind):
                        m.d.sync += [
                            sub_limit.eq(subs[kind]),
                            unit_limit.eq(units[kind]),
                            first_limit.eq(width if kind == LoadKind.ACTS else 1),
                        ]
            m.d.sync += active.eq(self.i.valid)
        starting, moving = Signal(), Signal()
        m.d.sync += starting.eq(self.i.valid & self.i.ready)

        # Beat register: its lowest units are next, `count` of them if they are slots. A constant
        # is a beat that never ends.
        word = Signal(config.bus_bits, reset_less=True)
        full = Signal()
        units_left = Signal.like(unit_limit)
        beats_left = Signal(BEATS_BITS, reset_less=True)
        no_beats = Signal(reset_less=True)
        step, passes, final, unit_last = Signal(), Signal(), Signal(), Signal()
        unit_ends = Signal(reset_less=True)  # with this step
        count = Signal(range(width + 1))
        limit = Signal(range(width + 1), reset_less=True)  # of count, by the rest of the beat
        units_after = Signal.like(units_left)
        rest = Signal(config.bus_bits)  # of the beat, after this step
        m.d.comb += [
            count.eq(Mux(acts, walker.count, 1)),
            units_after.eq(units_left - count),
            unit_last.eq(unit_ends & (units_left == count)),
            rest.eq(word >> _ITEM_BITS),
            passes.eq(~acts | self.act_write.stream.ready),
            self.beat.ready.eq(
                ~fill & ~no_beats & ((active & ~starting & ~full) | (moving & passes & unit_last))
            ),
        ]
        with m.If(self.beat.valid & self.beat.ready):
            m.d.sync += [
                word.eq(self.beat.p.data),
                full.eq(1),
                units_left.eq(unit_limit),
                limit.eq(first_limit),
                beats_left.eq(beats_left - 1),
                no_beats.eq(beats_left == 1),
            ]
        with m.Elif(step & ~fill & unit_ends):
            m.d.sync += [
                word.eq(rest),
                full.eq(~unit_last),
                units_left.eq(units_after),
                limit.eq(
                    truth_table(
                        Cat(units_after, acts),
                        lambda i: (
                            min(i % (1 << len(units_after)), width) if i >> len(units_after) else 1
                        ),
                        len(limit),
                    )
                ),
            ]
        with m.If(acts):
            with m.Switch(count):
                for k in range(1, width + 1):
                    with m.Case(k):
                        m.d.comb += rest.eq(word >> (k * config.slot_bits))

        # Item counters: `sub` counts the steps of one item.
        sub, sub_left = Signal(_SUB_BITS, reset_less=True), Signal(_SUB_BITS, reset_less=True)
        sub_last = Signal(reset_less=True)
        settling = Signal()  # the last transfer has been made, its instruction not retired
        m.d.sync += moving.eq(active & ~final & ~(settling & ~self.retire.valid))
        m.d.comb += [
            walker.limit.eq(limit),
            walker.block.eq(command.block),
            walker.restart.eq(starting),
            walker.step.eq(step & sub_last),
            step.eq(moving & (fill | full) & passes),
            final.eq(step & sub_last & walker.last),
        ]
        with m.If(starting):
            m.d.sync += [
                sub.eq(0),
                sub_left.eq(sub_limit),
                sub_last.eq(sub_limit == 0),
                unit_ends.eq(~table),
                beats_left.eq(command.beats),
                no_beats.eq(0),
                full.eq(0),
                units_left.eq(unit_limit),
                limit.eq(first_limit),
            ]
        with m.Elif(step):
            m.d.sync += [
                sub.eq(Mux(sub_last, 0, sub + 1)),
                sub_left.eq(Mux(sub_last, sub_limit, sub_left - 1)),
                sub_last.eq(Mux(sub_last, sub_limit == 0, sub_left == 1)),
                unit_ends.eq(~table | (sub[: exact_log2(entries)] == entries - 2)),
            ]
        with m.If(final):
            m.d.sync += active.eq(0)

        self._write_slots(m, acts, command, moving & (fill | full), walker.slot, count, word)
        self._write_items(m, command, moving & full, walker.slot, sub, word)
        of_slots = Signal()
        m.d.comb += self.retire.valid.eq(settling & ~(of_slots & self.act_write.busy))
        with m.If(final):
            m.d.sync += [
                settling.eq(1),
                of_slots.eq(acts),
                self.retire.signal.eq(command.signal),
                self.retire.index.eq(command.index),
            ]
        with m.Elif(self.retire.valid):
            m.d.sync += settling.eq(0)
        failed = self.beat.valid & self.beat.ready & self.beat.p.resp[1]
        short = moving & ~fill & no_beats & ~full
        long = final & ~fill & ~no_beats
        m.d.sync += [
            self.error.valid.eq(failed | short | long),
            self.error.index.eq(command.index),
            self.error.cause.eq(
                Mux(
                    failed,
                    Mux(self.beat.p.resp[0], Cause.READ_DECERR, Cause.READ_SLVERR),
                    Cause.ILLEGAL,
                )
            ),
        ]
        return m

    def _write_slots(
        self,
        m: Module,
        acts: Signal,
        command: data.View,
        valid: Value,
        slot: Signal,
        count: Signal,
        word: Signal,
    ) -> None:
        """Write ``count`` slots from ``slot`` on: the lowest of the beat register, or the
        constant."""
        config, stream = self.config, self.act_write.stream
        fmt = config.act_format
        filling = Cat(command.code[: fmt.bits], Const(0, fmt.lane_bits - fmt.bits)).replicate(
            config.ic_lanes
        )
        m.d.comb += [
            stream.valid.eq(valid & acts),
            stream.p.slot.eq(slot),
            stream.p.count.eq(count),
            *(
                stream.p.data[k].eq(
                    Mux(command.fill, filling, word.word_select(k, config.slot_bits))
                )
                for k in range(config.slots_per_move)
            ),
        ]

    def _write_items(
        self, m: Module, command: data.View, full: Value, item: Signal, sub: Signal, word: Signal
    ) -> None:
        """Write step ``sub`` of a weight word, parameter group or table: the lowest unit of the
        beat register, from which a table's entries are taken one after another."""
        weights, lane_bits = self.weight_write, self.config.act_format.lane_bits
        m.d.sync += [
            weights.valid.eq(full & (command.kind == LoadKind.WEIGHTS)),
            weights.word.eq(item),
            weights.part.eq(sub),
            weights.data.eq(word),
            self.param_write.valid.eq(full & (command.kind == LoadKind.PARAMS)),
            self.param_write.group.eq(item),
            self.param_write.lane.eq(sub),
            self.param_write.item.eq(word),
            self.table_write.valid.eq(full & (command.kind == LoadKind.TABLE)),
            self.table_write.table.eq(item),
            self.table_write.entry.eq(sub),
            self.table_write.code.eq(
                word[:_ITEM_BITS].word_select(sub[: exact_log2(_ITEM_BITS // lane_bits)], lane_bits)
            ),
        ]
