"""Walks the slots of a block: ``for n2: for n1: for n0``, some of a run a cycle."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch import isa

_FIELDS = {f.name: f for f in isa.fields_of(isa.Opcode.FILL)}
BLOCK = data.StructLayout({
    "start": isa.SLOT_BITS,
    **{name: signed(_FIELDS[name].width) if _FIELDS[name].signed else _FIELDS[name].width
       for name in ("n0", "n1", "n2", "d1", "d2")},
})
"""A block: its first slot and the extents and distances of ``isa``."""


class _Countdown:
    """A counter of ``n`` steps whose ``last``, at the last one, is a register."""

    count = room = 1

    def __init__(self, width: int, name: str) -> None:
        self.left = Signal(width, name=f"{name}_left", reset_less=True)
        self.last = Signal(name=f"{name}_last", reset_less=True)

    def restart(self, n: Signal) -> list:
        return [self.left.eq(n), self.last.eq(n == 1)]

    def step(self) -> list:
        return [self.left.eq(self.left - 1), self.last.eq(self.left == 2)]


class _Run:
    """Slots left of a run, of which up to ``width`` go at a time."""

    def __init__(self, width: int, count: Signal) -> None:
        self.width, self.count = width, count
        self.left = Signal(isa.SLOT_BITS, name="n0_left", reset_less=True)
        self.last = self.left == count

    @property
    def room(self) -> Value:
        """Slots left, at most ``width``."""
        bits = self.width.bit_length()
        low = self.left[:bits]
        return Mux(self.left[bits:].any() | (low > self.width), self.width, low)

    def restart(self, n: Signal) -> list:
        return [self.left.eq(n)]

    def step(self) -> list:
        return [self.left.eq(self.left - self.count)]


class BlockWalker(wiring.Component):
    """Slots of a block in memory order (``arch.addressing.block_slots``), modulo ``2**SLOT_BITS``.

    Parameters
    ----------
    width : int
        Most slots of a step.

    Members
    -------
    block : In(BLOCK)
        Must be stable from ``restart`` to the last step.
    restart : In(1)
        Go to the first slot; it appears in the next cycle.
    step : In(1), count : In(range(width + 1))
        Pass ``count`` slots, at least 1 and at most ``room``; the next one appears in the next
        cycle. Without effect where ``width`` is 1.
    slot : Out(20), room : Out(range(width + 1))
        The current slot, and how many there are from it to the end of its run, at most ``width``.
    last : Out(1)
        With these ``count`` slots the block ends.
    """

    def __init__(self, width: int = 1) -> None:
        self.width = width
        super().__init__({
            "block": In(BLOCK),
            "restart": In(1),
            "step": In(1),
            "count": In(range(width + 1)),
            "slot": Out(isa.SLOT_BITS),
            "room": Out(range(width + 1)),
            "last": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        block = self.block
        run = Signal(isa.SLOT_BITS, reset_less=True)  # first slot of the current run
        plane = Signal(isa.SLOT_BITS, reset_less=True)  # and of the current plane
        c0 = (_Run(self.width, self.count) if self.width > 1
              else _Countdown(len(block.n0), "n0"))
        c1 = _Countdown(len(block.n1), "n1")
        c2 = _Countdown(len(block.n2), "n2")
        following = Signal(isa.SLOT_BITS)
        origin = Mux(~c0.last, self.slot, Mux(~c1.last, run, plane))
        distance = Mux(~c0.last, c0.count, Mux(~c1.last, block.d1, block.d2))
        m.d.comb += [
            following.eq(origin + distance),
            self.room.eq(c0.room),
            self.last.eq(c0.last & c1.last & c2.last),
        ]
        with m.If(self.restart):
            m.d.sync += [self.slot.eq(block.start), run.eq(block.start), plane.eq(block.start)]
            m.d.sync += c0.restart(block.n0) + c1.restart(block.n1) + c2.restart(block.n2)
        with m.Elif(self.step):
            m.d.sync += self.slot.eq(following)
            with m.If(~c0.last):
                m.d.sync += c0.step()
            with m.Else():
                m.d.sync += [run.eq(following), *c0.restart(block.n0)]
                with m.If(~c1.last):
                    m.d.sync += c1.step()
                with m.Else():
                    m.d.sync += [plane.eq(following), *c1.restart(block.n1), *c2.step()]
        return m
