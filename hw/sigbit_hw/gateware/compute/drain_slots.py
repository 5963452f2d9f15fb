"""Slots written per drain cycle: from groups of pixels to addresses."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.parts.pipeline import delay
from sigbit_hw.gateware.parts.product import truth_table

PHASE_BITS = {f.name: f.width for f in isa.LAYOUTS[isa.Opcode.OUT]}["phases"]
_STEPS = ("d_pix", "d_col", "d_line", "d_row")


def group_layout(config: ArchConfig) -> data.StructLayout:
    """One cycle of the drain: a group of ``drain_pixels`` pixels, and what follows it.

    ``inside``: pixels of the run and, in the last bit, a flag that the run continues after the
    group. A line ends in the group if ``ends``, for the first time at pixel ``first_end``, then
    every ``period`` pixels (0: no more). The group's first pixel is in column ``column`` of its
    line if that began after the previous group (``fresh``), else its phase follows from the
    previous group. ``leaves``: the next cycle belongs to another group. The other fields are those
    of :func:`move_layout` and of ``OUT``."""
    slot, pixels = ceil_log2(config.act_slots), config.drain_pixels
    count = ceil_log2(pixels)
    return data.StructLayout(
        {
            "inside": pixels + 1,
            "ends": 1,
            "first_end": count,
            "period": count,
            "fresh": 1,
            "column": count,
            "phases": PHASE_BITS,
            "leaves": 1,
            "channels": config.drain_slots,
            **dict.fromkeys((*_STEPS, "offset", "d_slot", "base"), slot),
            "again": 1,
            "block_end": 1,
            "restart": 1,
            "end": 1,
        }
    )


def move_layout(config: ArchConfig) -> data.StructLayout:
    """One cycle of the drain, for the addresses: ``write`` the channel slots of a mask, of every
    pixel, at the first pixel's slot plus ``places`` and multiples of ``d_slot``. Then the first
    pixel's slot moves on by ``advance``; or, if ``again``, back to the block's first; or, if
    ``restart``, to ``base``. After a ``block_end`` the next block begins there. ``end``: the last
    cycle of an EXEC."""
    slot, pixels = ceil_log2(config.act_slots), config.drain_pixels
    return data.StructLayout(
        {
            "write": pixels * config.drain_slots,
            "places": data.ArrayLayout(slot, pixels),
            "d_slot": slot,
            "advance": slot,
            "base": slot,
            "again": 1,
            "block_end": 1,
            "restart": 1,
            "end": 1,
        }
    )


class PixelSteps(wiring.Component):
    """The steps from pixel to pixel within a group, and their sums.

    Members
    -------
    ``group : In(group_layout)``
        All zero in a cycle without drain, except ``restart`` and ``base``.
    ``move : Out(move_layout)``
        The group of :attr:`latency` cycles ago.

    One group per cycle. Only the phase is carried from group to group; the rest is a pipeline for
    several pixels per cycle, and one cycle of logic for one.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        super().__init__({"group": In(group_layout(config)), "move": Out(move_layout(config))})

    @property
    def latency(self) -> int:
        """Cycles of latency: the steps, for several pixels in five cycles; their sums in a tree;
        the places."""
        pixels = self.config.drain_pixels
        return 1 if pixels == 1 else 5 + ceil_log2(pixels) + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kinds = self._kind(m) if self.config.drain_pixels == 1 else self._kinds(m)
        steps = self._steps(m, kinds)
        self._places(m, steps)
        return m

    def _ago(self, m: Module, name: str, cycles: int, *, reset: bool = False) -> Value:
        """A field of the group ``cycles`` pipeline cycles ago."""
        if self.config.drain_pixels == 1:
            return self.group[name]
        return delay(m, self.group[name], cycles, name, reset=reset)

    def _cut(self, m: Module, value: Value, name: str) -> Signal:
        """One pipeline cycle."""
        result = Signal(len(value), name=name, reset_less=True)
        m.d[("comb" if self.config.drain_pixels == 1 else "sync")] += result.eq(value)
        return result

    def _kind(self, m: Module) -> tuple[Value, Value]:
        """Flags of one pixel: its line ends there, its last phase is there."""
        group = self.group
        phase, after, block, held = (
            Signal(PHASE_BITS, name=name)
            for name in ("phase", "phase_after", "phase_block", "held")
        )
        turns = Signal()
        m.d.comb += [
            phase.eq(Mux(group.fresh, 0, held)),
            turns.eq(
                truth_table(
                    Cat(phase, group.phases),
                    lambda i: int(i % (1 << PHASE_BITS) + 1 == i >> PHASE_BITS),
                    1,
                )
            ),
            after.eq(Mux(turns, 0, truth_table(phase, lambda i: i + 1, PHASE_BITS))),
        ]
        with m.If(group.leaves):
            m.d.sync += held.eq(Mux(group.again, block, after))
        with m.If(group.block_end):
            m.d.sync += block.eq(after)
        return group.ends, turns

    def _kinds(self, m: Module) -> tuple[Value, Value]:
        """The same flags for every pixel of 4 cycles ago."""
        pixels = self.config.drain_pixels
        first = {
            name: self._ago(m, name, 1)
            for name in ("ends", "first_end", "period", "column", "phases")
        }

        # Cycle 2, from a line's start: where lines end (the start itself at bit 0), and phases.
        index, period_bits = Cat(first["period"], first["phases"]), len(first["period"])

        def column(c: int, period: int) -> int:
            return c % period if period else c

        lines = self._cut(
            m,
            Cat(
                1,
                truth_table(
                    first["period"],
                    lambda period: sum(
                        int(column(c + 1, period) == 0) << c for c in range(pixels - 1)
                    ),
                    pixels - 1,
                ),
            ),
            "lines",
        )
        turns = self._cut(
            m,
            truth_table(
                index,
                lambda i: sum(
                    int((column(c, i % (1 << period_bits)) + 1) % max(i >> period_bits, 1) == 0)
                    << c
                    for c in range(pixels - 1)
                ),
                pixels - 1,
            )
            << 1,
            "turns",
        )
        begun = self._cut(
            m,
            truth_table(
                Cat(first["column"], first["phases"]),
                lambda i: i % pixels % max(i // pixels, 1),
                PHASE_BITS,
            ),
            "begun",
        )

        # Cycle 3: both from the group's start; the phase of its first pixel.
        ends, first_end = self._ago(m, "ends", 2), self._ago(m, "first_end", 2)
        late: Value = Const((1 << pixels) - 2, pixels)
        for k in range(len(first_end)):
            lines, turns, late = (
                Mux(first_end[k], value << (1 << k), value)[:pixels]
                for value in (lines, turns, late)
            )
        any_end = ends.replicate(pixels)
        fresh, phases = self._ago(m, "fresh", 2), self._ago(m, "phases", 2)
        phase, after, block, held = (
            Signal(PHASE_BITS, name=name)
            for name in ("phase", "phase_after", "phase_block", "held")
        )
        m.d.comb += [
            phase.eq(Mux(fresh, begun, held)),
            after.eq(
                truth_table(
                    Cat(phase, phases),
                    lambda i: (i % (1 << PHASE_BITS) + pixels) % max(i >> PHASE_BITS, 1),
                    PHASE_BITS,
                )
            ),
        ]
        leaves, again, block_end = (
            self._ago(m, name, 2, reset=True) for name in ("leaves", "again", "block_end")
        )
        with m.If(leaves):
            m.d.sync += held.eq(Mux(again, block, after))
        with m.If(block_end):
            m.d.sync += block.eq(after)
        line_ends = self._cut(m, lines & any_end, "line_ends")
        late_turns = self._cut(m, turns, "late_turns")
        late = self._cut(m, late & any_end, "late")
        phase = self._cut(m, phase, "phase_first")

        # Cycle 4: the phases of the pixels before the first line end follow from the first pixel's.
        early_turns = truth_table(
            Cat(phase, self._ago(m, "phases", 3)),
            lambda i: sum(
                int((i % (1 << PHASE_BITS) + d + 1) % max(i >> PHASE_BITS, 1) == 0) << d
                for d in range(pixels)
            ),
            pixels,
        )
        return (
            self._cut(m, line_ends, "line_end"),
            self._cut(m, (late & late_turns) | (~late & early_turns), "phase_end"),
        )

    def _steps(self, m: Module, kinds: tuple[Value, Value]) -> list[Signal]:
        """The step after each pixel, of 5 cycles ago; with one pixel per group, of one cycle
        ago."""
        line_ends, phase_ends = kinds
        inside, leaves = self._ago(m, "inside", 4), self._ago(m, "leaves", 4)
        d_pix, d_col, d_line, d_row = (self._ago(m, name, 4) for name in _STEPS)
        steps = []
        for d in range(self.config.drain_pixels):
            step = Signal(d_pix.shape(), name=f"step_{d}", reset_less=True)
            m.d.sync += step.eq(
                Mux(
                    inside[d] & leaves,
                    Mux(
                        inside[d + 1],
                        Mux(line_ends[d], d_line, Mux(phase_ends[d], d_col, d_pix)),
                        d_row,
                    ),
                    0,
                )
            )
            steps.append(step)
        return steps

    def _places(self, m: Module, sums: list[Signal]) -> None:
        """Sum up the steps in a parallel-prefix tree (Sklansky), and drive ``move``."""
        group, move, pixels = self.group, self.move, self.config.drain_pixels
        for level in range(ceil_log2(pixels)):
            nodes = []
            for d, here in enumerate(sums):
                node = Signal(here.shape(), name=f"sum_{level}_{d}", reset_less=True)
                m.d.sync += node.eq(
                    here + sums[(d >> level << level) - 1] if d >> level & 1 else here
                )
                nodes.append(node)
            sums = nodes
        inside = delay(m, group.inside, self.latency, "inside", reset=True)
        channels = delay(m, group.channels, self.latency, "channels", reset=True)
        m.d.comb += [
            move.write.eq(
                Cat(channels & inside[d].replicate(len(channels)) for d in range(pixels))
            ),
            move.advance.eq(delay(m, sums[-1], int(pixels > 1), "advance")),
            *(
                move[name].eq(delay(m, group[name], self.latency, name))
                for name in ("d_slot", "base")
            ),
            *(
                move[name].eq(delay(m, group[name], self.latency, name, reset=True))
                for name in ("again", "block_end", "restart", "end")
            ),
        ]
        offset = delay(m, group.offset, self.latency - 1, "offset")
        for d in range(pixels):
            place = Signal(offset.shape(), name=f"place_{d}", reset_less=True)
            m.d.sync += place.eq(offset + sums[d - 1] if d else offset)
            m.d.comb += move.places[d].eq(place)


class OutputSlots(wiring.Component):
    """Output addresses as running sums.

    Members
    -------
    ``move : In(move_layout)``
        All zero in a cycle without drain, except ``restart`` and ``base``.
    ``write : Out(n)``, ``slots : Out(slot).array(n)``, ``end : Out(1)``
        The slots that the ``move`` of :attr:`latency` cycles ago writes: ``drain_slots`` of each
        of ``drain_pixels``.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        count = config.drain_pixels * config.drain_slots
        super().__init__(
            {
                "move": In(move_layout(config)),
                "write": Out(count),
                "slots": Out(ceil_log2(config.act_slots)).array(count),
                "end": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles of latency: the pixels' slots, then the channel slots in halves."""
        return 1 + ceil_log2(self.config.drain_slots)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        move = self.move
        pixel, block, after = (
            Signal(move.base.shape(), name=name) for name in ("pixel", "block", "after")
        )
        m.d.comb += after.eq(pixel + move.advance)
        m.d.sync += pixel.eq(Mux(move.restart, move.base, Mux(move.again, block, after)))
        with m.If(move.block_end | move.restart):
            m.d.sync += block.eq(Mux(move.restart, move.base, after))

        slots = [
            Signal(pixel.shape(), name=f"pixel_{d}", reset_less=True)
            for d in range(self.config.drain_pixels)
        ]
        m.d.sync += [slot.eq(pixel + move.places[d]) for d, slot in enumerate(slots)]
        d_slot = delay(m, move.d_slot, 1, "d_slot")
        for level in reversed(range(ceil_log2(self.config.drain_slots))):
            step, nodes = d_slot << level, []
            for k, slot in enumerate(slots):
                near, far = (
                    Signal(pixel.shape(), name=f"slot_{level}_{2 * k + i}", reset_less=True)
                    for i in range(2)
                )
                m.d.sync += [near.eq(slot), far.eq(slot + step)]
                nodes += [near, far]
            slots, d_slot = nodes, delay(m, d_slot, 1, f"d_slot_{level}")
        m.d.comb += [
            *(out.eq(slot) for out, slot in zip(self.slots, slots, strict=True)),
            self.write.eq(delay(m, move.write, self.latency, "write", reset=True)),
            self.end.eq(delay(m, move.end, self.latency, "end", reset=True)),
        ]
        return m
