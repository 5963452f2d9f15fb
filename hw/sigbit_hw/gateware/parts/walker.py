"""Walks the slots of a block: ``for n2: for n1: for n0``, several slots of a run per cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from sigbit_hw.arch import isa
from sigbit_hw.gateware.parts.product import truth_table

_FIELDS = {f.name: f for f in isa.fields_of(isa.Opcode.FILL)}
BLOCK = data.StructLayout(
    {
        "start": isa.SLOT_BITS,
        **{
            name: signed(_FIELDS[name].width) if _FIELDS[name].signed else _FIELDS[name].width
            for name in ("n0", "n1", "n2", "d1", "d2")
        },
    }
)
"""A block: its first slot, and the extents and distances of ``isa``."""


class Countdown:
    """A counter of ``n`` steps whose ``last``, at the last one, is a register."""

    count = Const(1)

    def __init__(self, width: int, name: str) -> None:
        self.left = Signal(width, name=f"{name}_left", reset_less=True)
        self.last = Signal(name=f"{name}_last", reset_less=True)

    def restart(self, n: Value, one: Value | None = None) -> list:
        """Reload the counter. ``one``: flag that ``n`` is 1, where that is known earlier."""
        return [self.left.eq(n), self.last.eq(n == 1 if one is None else one)]

    def step(self) -> list:
        return [self.left.eq(self.left - 1), self.last.eq(self.left == 2)]


class _Run:
    """Slots left of a run, taken up to ``width`` at a time, and ``limit``: ``count``. The flags for
    whole widths left, and for exactly one, are registers."""

    def __init__(self, width: int, limit: Signal) -> None:
        self.left = Signal(isa.SLOT_BITS, name="n0_left", reset_less=True)
        self.some, self.one = (
            Signal(name=f"n0_{name}", reset_less=True) for name in ("some", "one")
        )
        bits = exact_log2(width)
        self._rest, self._widths = self.left[:bits], self.left[bits:]
        # Tables, because tools implement even the smallest comparison as a carry chain.
        state = Cat(limit, self._rest, self.some)

        def now(i: int) -> tuple[int, int]:
            at_most, rest = i % (2 << bits), i >> bits + 1
            return at_most, width if rest >> bits else rest

        self.count = truth_table(state, lambda i: min(now(i)), bits + 1)
        self._fits = truth_table(state, lambda i: int(now(i)[0] >= now(i)[1]), 1)
        self.last = self._fits & (~self.some | (self.one & ~self._rest.any()))
        self._borrows = (
            truth_table(state, lambda i: int(min(now(i)) > (i >> bits + 1) % width), 1) & self.some
        )

    def restart(self, n: Signal) -> list:
        widths = n[len(self._rest) :]
        return [self.left.eq(n), self.some.eq(widths.any()), self.one.eq(widths == 1)]

    def step(self) -> list:
        return [
            self.left.eq(self.left - self.count),
            self.some.eq(self.some & ~(self._borrows & self.one)),
            self.one.eq(Mux(self._borrows, self._widths == 2, self.one)),
        ]


class BlockWalker(wiring.Component):
    """Slots of a block in memory order (``arch.addressing.block_slots``), modulo ``2**SLOT_BITS``.

    Parameters
    ----------
    width : int
        Maximum number of slots per step, a power of two.

    Members
    -------
    block : In(BLOCK)
        Must be stable from ``restart`` to the last step.
    restart : In(1)
        Go to the first slot; it appears in the next cycle.
    step : In(1), limit : In(range(width + 1))
        Pass ``count`` slots, at most ``limit``, at least 1; the next one appears in the next cycle.
        ``limit`` has no effect if ``width`` is 1.
    slot : Out(20), count : Out(range(width + 1))
        The current slot, and how many there are from it to the end of its run, at most ``limit``.
    last : Out(1)
        The block ends with these ``count`` slots.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(
            {
                "block": In(BLOCK),
                "restart": In(1),
                "step": In(1),
                "limit": In(range(width + 1)),
                "slot": Out(isa.SLOT_BITS),
                "count": Out(range(width + 1)),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        block = self.block
        run = Signal(isa.SLOT_BITS, reset_less=True)  # first slot of the next run of this plane
        plane = Signal(isa.SLOT_BITS, reset_less=True)  # and of the next plane
        c0 = _Run(self.width, self.limit) if self.width > 1 else Countdown(len(block.n0), "n0")
        c1 = Countdown(len(block.n1), "n1")
        c2 = Countdown(len(block.n2), "n2")
        following = Signal(isa.SLOT_BITS)  # run
        m.d.comb += [
            following.eq(Mux(c1.last, plane, run)),
            self.count.eq(c0.count),
            self.last.eq(c0.last & c1.last & c2.last),
        ]
        with m.If(self.restart):
            m.d.sync += [
                self.slot.eq(block.start),
                run.eq(block.start + block.d1),
                plane.eq(block.start + block.d2),
            ]
            m.d.sync += c0.restart(block.n0) + c1.restart(block.n1) + c2.restart(block.n2)
        with m.Elif(self.step):
            m.d.sync += self.slot.eq(Mux(c0.last, following, self.slot + self.count))
            with m.If(~c0.last):
                m.d.sync += c0.step()
            with m.Else():
                m.d.sync += [run.eq(following + block.d1), *c0.restart(block.n0)]
                with m.If(~c1.last):
                    m.d.sync += c1.step()
                with m.Else():
                    m.d.sync += [plane.eq(plane + block.d2), *c1.restart(block.n1), *c2.step()]
        return m
