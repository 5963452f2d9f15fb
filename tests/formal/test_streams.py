"""Streams keep their rules: what is offered stays until it is taken, and nothing is lost, doubled
or reordered."""

from pathlib import Path

import pytest
from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from sigbit_hw.arch.config import PRESETS
from sigbit_hw.gateware.bus.axi import AxiShell
from sigbit_hw.gateware.parts.queue import Queue, Skid
from sigbit_sim.verification.formal import PropertyError, bmc, prove

pytestmark = pytest.mark.synth

BYTE = data.StructLayout({"data": 8})
DEPTH = 2


def stays(m: Module, name: str, valid: Value, ready: Value, payload: Value) -> None:
    """Assert that an offer not taken is there in the next cycle, unchanged."""
    offered, before = Signal(name=f"{name}_offered"), Signal.like(payload, name=f"{name}_before")
    m.d.sync += [offered.eq(valid & ~ready), before.eq(payload)]
    m.d.comb += Assert(~offered | (valid & (payload == before)))


class StreamStays(wiring.Component):
    """The output of a stream component keeps the rule, whatever its input does."""

    valid: In(1)
    ready: In(1)
    payload: In(8)

    def __init__(self, dut: wiring.Component, fault: bool = False) -> None:
        self.dut, self.fault = dut, fault
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            dut.i.p.data.eq(self.payload),
            dut.o.ready.eq(self.ready),
        ]
        payload = dut.o.p.data ^ (self.payload if self.fault else 0)
        stays(m, "o", dut.o.valid, self.ready, payload[:8])
        return m


class StreamIsWhole(StreamStays):
    """The n-th entry out is the n-th in, for any n below 16, and no more come out than went in
    (with ``fault``, the checker drops the first)."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        dut = self.dut
        put, got = Signal(5), Signal(5, init=int(self.fault))
        n, entry = Signal(4), Signal(8)
        enters, leaves = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
        m.d.comb += [
            n.eq(AnyConst(4)),
            Assert(~leaves | (got < put)),
            Assert(~leaves | (got != n) | (dut.o.p.data == entry)),
        ]
        m.d.sync += [put.eq(put + enters), got.eq(got + leaves)]
        with m.If(enters & (put == n)):
            m.d.sync += entry.eq(dut.i.p.data)
        return m


class _Shell(wiring.Component):
    """The bus shell with free inputs: engines and ``enable`` do what they want."""

    def __init__(self, fault: bool = False) -> None:
        self.shell, self.fault = AxiShell(PRESETS["nano"]), fault
        super().__init__(self.shell.signature)

    def attach(self) -> tuple[Module, AxiShell]:
        m = Module()
        m.submodules.shell = self.shell
        wiring.connect(m, wiring.flipped(self), self.shell)
        return m, self.shell


class BusStays(_Shell):
    """The AXI4 rule of the three channels the shell drives; with ``fault``, valids fall with
    ``enable``."""

    def elaborate(self, platform: object) -> Module:
        m, shell = self.attach()
        plugged = self.enable if self.fault else 1
        stays(m, "ar", shell.arvalid & plugged, shell.arready, Cat(shell.araddr, shell.arlen))
        stays(m, "aw", shell.awvalid & plugged, shell.awready, Cat(shell.awaddr, shell.awlen))
        stays(
            m, "w", shell.wvalid & plugged, shell.wready, Cat(shell.wdata, shell.wstrb, shell.wlast)
        )
        return m


class BurstsAreWhole(_Shell):
    """Every write burst on the bus gets its AWLEN + 1 beats and then WLAST, and ``idle`` means
    that nothing of the write side is outstanding. The bus answers only what is complete. With
    ``fault`` the bus expects one beat less."""

    def elaborate(self, platform: object) -> Module:
        m, shell = self.attach()
        opened, closed, sent, answered, beats = (
            Signal(5, name=name) for name in ("opened", "closed", "sent", "answered", "beats")
        )
        n, length, known = Signal(2), Signal(8), Signal()
        opens = shell.write.burst.valid & shell.write.burst.ready
        moves = shell.wvalid & shell.wready
        m.d.sync += [
            opened.eq(opened + opens),
            sent.eq(sent + (shell.awvalid & shell.awready)),
            closed.eq(closed + (moves & shell.wlast)),
            answered.eq(answered + shell.bvalid),
        ]
        with m.If(moves):
            m.d.sync += beats.eq(beats + 1)
            with m.If(shell.wlast):
                m.d.sync += beats.eq(0)
        with m.If(opens & (opened == n)):
            m.d.sync += [known.eq(1), length.eq(shell.write.burst.p.length - self.fault)]
        m.d.comb += [
            n.eq(AnyConst(2)),
            Assume(shell.write.burst.p.length < 3),
            Assume(~shell.rvalid & ~shell.bid),  # else the port goes astray, and may begin anew
            Assume(~shell.bvalid | ((answered < closed) & (answered < sent))),
            Assert(~moves | (closed < opened)),
            Assert(~(moves & known & (closed == n)) | (shell.wlast == (beats == length))),
            Assert(~shell.idle | ((opened == answered) & ~shell.awvalid & ~shell.wvalid)),
        ]
        return m


@pytest.mark.parametrize("name", ["skid", "queue"])
def test_stays(name: str, tmp_path: Path) -> None:
    """Unbounded."""
    dut = Skid(BYTE) if name == "skid" else Queue(BYTE, DEPTH)
    assert prove(StreamStays(dut), 2, tmp_path).unbounded


@pytest.mark.parametrize("name", ["skid", "queue"])
def test_whole(name: str, tmp_path: Path) -> None:
    """10 cycles: a queue of 2 entries fills, drains and wraps around."""
    bmc(StreamIsWhole(Skid(BYTE) if name == "skid" else Queue(BYTE, DEPTH)), 10, tmp_path)


@pytest.mark.parametrize("design", [StreamStays, StreamIsWhole])
def test_faulty_stream(design: type[StreamStays], tmp_path: Path) -> None:
    """Control: a payload that follows the input, and an entry dropped, are refuted."""
    with pytest.raises(PropertyError, match="fails within"):
        bmc(design(Queue(BYTE, DEPTH), fault=True), 6, tmp_path)


def test_bus_stays(tmp_path: Path) -> None:
    """Unbounded, with the plug pulled at any time."""
    assert prove(BusStays(), 1, tmp_path).unbounded


def test_bursts_are_whole(tmp_path: Path) -> None:
    """8 cycles, bursts of 1 to 3 beats, with the plug pulled at any time."""
    bmc(BurstsAreWhole(), 8, tmp_path)


@pytest.mark.parametrize("design", [BusStays, BurstsAreWhole])
def test_faulty_bus(design: type[_Shell], tmp_path: Path) -> None:
    """Control: valids that fall with ``enable``, and bursts one beat too long, are refuted."""
    with pytest.raises(PropertyError, match="fails within"):
        bmc(design(fault=True), 6, tmp_path)
