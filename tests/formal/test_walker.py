"""The block walker visits every slot of a block once, in the order of ``for n2: for n1: for n0``,
and knows the last."""

from pathlib import Path

import pytest
from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from sigbit_hw.arch import isa
from sigbit_hw.gateware.parts import walker
from sigbit_hw.gateware.parts.walker import BLOCK, BlockWalker
from sigbit_sim.verification.formal import PropertyError, bmc, prove, registers

pytestmark = pytest.mark.synth


class _Walk(wiring.Component):
    """Restart and steps of any allowed ``limit`` at any time, the block constant and not empty, no
    step after the last; the loop indices ``i0``, ``i1``, ``i2`` of where the walker ought to be,
    once ``started``."""

    def __init__(self, width: int = 1) -> None:
        self.width = width
        super().__init__({"restart": In(1), "step": In(1), "limit": In(range(width + 1))})

    def begin(self) -> Module:
        m = Module()
        self.dut = BlockWalker(self.width)
        m.submodules.dut, self.inside = registers(self.dut)
        self.block = block = Signal(BLOCK)
        self.started, self.count = Signal(), Signal(range(self.width + 1))
        self.i0, self.i1, self.i2 = (
            Signal(len(block[f"n{k}"]) + 1, name=f"i{k}") for k in range(3)
        )
        m.d.comb += [
            block.as_value().eq(AnyConst(BLOCK.size)),
            self.dut.block.eq(block),
            self.dut.restart.eq(self.restart),
            self.dut.step.eq(self.step),
            self.dut.limit.eq(self.limit),
            self.count.eq(self.dut.count),
            Assume((self.limit != 0) & (self.limit <= self.width)),
            Assume((block.n0 != 0) & (block.n1 != 0) & (block.n2 != 0)),
            Assume(~self.step | self.restart | (self.started & ~self.dut.last)),
        ]
        self.ends0 = self.i0 + self.count == block.n0
        self.ends1 = self.i1 == block.n1 - 1
        with m.If(self.restart):
            m.d.sync += [self.started.eq(1), self.i0.eq(0), self.i1.eq(0), self.i2.eq(0)]
        with m.Elif(self.step):
            m.d.sync += [
                self.i0.eq(Mux(self.ends0, 0, self.i0 + self.count)),
                self.i1.eq(Mux(self.ends0, Mux(self.ends1, 0, self.i1 + 1), self.i1)),
                self.i2.eq(self.i2 + (self.ends0 & self.ends1)),
            ]
        return m


class ShortWalk(_Walk):
    """Blocks of up to 2 x 2 x 2 slots: the number of slots, multiplied out."""

    def elaborate(self, platform: object) -> Module:
        m = self.begin()
        block, dut = self.block, self.dut
        taken = Signal(8)
        with m.If(self.restart):
            m.d.sync += taken.eq(0)
        with m.Elif(self.step):
            m.d.sync += taken.eq(taken + self.count)
        n0, n1, n2 = (extent[:2] for extent in (block.n0, block.n1, block.n2))
        m.d.comb += [
            Assume((block.n0 <= 2) & (block.n1 <= 2) & (block.n2 <= 2)),
            Assert(~self.started | (dut.last == (taken + self.count == n0 * n1 * n2))),
        ]
        return m


class AnyWalk(_Walk):
    """Blocks of any extents and distances, with the invariants that make it inductive; products
    are running sums."""

    def elaborate(self, platform: object) -> Module:
        m = self.begin()
        block, dut = self.block, self.dut
        run, plane = Signal(isa.SLOT_BITS), Signal(isa.SLOT_BITS)  # start + i2 d2 (+ i1 d1)
        following = (plane + block.d2)[: isa.SLOT_BITS]
        with m.If(self.restart):
            m.d.sync += [run.eq(block.start), plane.eq(block.start)]
        with m.Elif(self.step & self.ends0):
            m.d.sync += run.eq(Mux(self.ends1, following, run + block.d1))
            with m.If(self.ends1):
                m.d.sync += plane.eq(following)
        ends = self.ends0 & self.ends1 & (self.i2 == block.n2 - 1)
        claims = [
            dut.slot == (run + self.i0)[: isa.SLOT_BITS],
            dut.last == ends,
            self.count
            == Mux(
                block.n0 - self.i0 < self.limit,
                block.n0 - self.i0,
                self.limit if self.width > 1 else 1,
            ),
            self.inside["run"] == (run + block.d1)[: isa.SLOT_BITS],
            self.inside["plane"] == following,
        ]
        if self.width > 1:
            widths = self.inside["n0_left"] >> exact_log2(self.width)
            claims += [
                self.inside["n0_some"] == (widths != 0),
                self.inside["n0_one"] == (widths == 1),
            ]
        for index, extent, name in (
            (self.i0, block.n0, "n0"),
            (self.i1, block.n1, "n1"),
            (self.i2, block.n2, "n2"),
        ):
            left = self.inside[f"{name}_left"]
            claims += [index < extent, left == extent - index]
            if self.width == 1 or name != "n0":
                claims.append(self.inside[f"{name}_last"] == (left == 1))
        m.d.comb += [Assert(~self.started | claim) for claim in claims]
        return m


@pytest.mark.parametrize("width", [1, 2])
def test_short_walk(width: int, tmp_path: Path) -> None:
    """9 cycles, which hold a restart and all 8 slots of the largest block; restarts and steps at
    any time."""
    bmc(ShortWalk(width), 9, tmp_path)


@pytest.mark.parametrize("width", [1, 2, 8])
def test_any_walk(width: int, tmp_path: Path) -> None:
    """Unbounded: extents, distances and start over the full widths of the instruction's fields."""
    assert prove(AnyWalk(width), 2, tmp_path).unbounded


def test_late_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: counters that say ``last`` one step late are refuted."""
    monkeypatch.setattr(
        walker.Countdown,
        "step",
        lambda self: [self.left.eq(self.left - 1), self.last.eq(self.left == 1)],
    )
    for design in ShortWalk(), AnyWalk():
        with pytest.raises(PropertyError, match="fails within"):
            bmc(design, 6, tmp_path)
