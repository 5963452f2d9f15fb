"""AXI4 master and AXI4-Lite slave: the rules of both, and what a port says of its slave."""

from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from formal.test_streams import stays
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.timing import WRITES_MAX
from sigbit_hw.gateware.bus.axi import AxiShell
from sigbit_hw.gateware.bus.due import ReadsDue, ResponsesDue
from sigbit_hw.gateware.control.csr import Csr
from sigbit_hw.gateware.ports import axi_lite_slave
from sigbit_sim.verification.formal import PropertyError, bmc, prove, registers

pytestmark = pytest.mark.synth

NANO = PRESETS["nano"]
SHORT = replace(NANO, name="short", outstanding_reads=2, burst_beats=4)
"""Few bursts of few beats, so that all their interleavings fit into few cycles."""


class LiteSlave(wiring.Component):
    """The register file as an AXI4-Lite slave, whatever its master does, as long as that keeps its
    own offers: answers stay until they are taken, a response comes after address and data, a read
    answer after its address, one for each, and none is accepted while another is unanswered.

    ``fault``: a response is for two addresses.
    """

    def __init__(self, fault: bool = False) -> None:
        self.fault = fault
        self.dut = Csr(NANO)
        members = {name: m for name, m in axi_lite_slave().items() if m.flow is In}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = self.dut
        m.submodules.dut, inside = registers(dut)
        for name in self.signature.members:
            m.d.comb += getattr(dut, name).eq(getattr(self, name))
        for channel, payload in (
            ("aw", Cat(self.awaddr, self.awprot)),
            ("w", Cat(self.wdata, self.wstrb)),
            ("ar", Cat(self.araddr, self.arprot)),
        ):
            valid, ready = getattr(self, f"{channel}valid"), getattr(dut, f"{channel}ready")
            waits, before = Signal(name=f"{channel}_waits"), Signal.like(payload)
            m.d.sync += [waits.eq(valid & ~ready), before.eq(payload)]
            m.d.comb += Assume(~waits | (valid & (payload == before)))
        stays(m, "b", dut.bvalid, self.bready, dut.bresp)
        stays(m, "r", dut.rvalid, self.rready, Cat(dut.rdata, dut.rresp))
        # Transfers that wait for their answer.
        addresses, data, reads = (Signal(2, name=n) for n in ("addresses", "data", "reads"))
        aw, w = self.awvalid & dut.awready, self.wvalid & dut.wready
        ar, b, r = self.arvalid & dut.arready, dut.bvalid & self.bready, dut.rvalid & self.rready
        m.d.sync += [
            addresses.eq(addresses + aw - b),
            data.eq(data + w - b),
            reads.eq(reads + ar - r),
        ]
        steps = inside["steps"]
        under_way = dut.awready + steps[0] + steps[1] + dut.bvalid
        m.d.comb += [
            Assert(~dut.bvalid | ((addresses == 1 + int(self.fault)) & (data == 1))),
            Assert(~dut.rvalid | (reads == 1)),
            Assert(~aw | (addresses == 0)),
            Assert(~w | (data == 0)),
            Assert(~ar | (reads == 0)),
            Assert(dut.bresp == 0),
            Assert(dut.rresp == 0),
            # Invariants: where a transfer is between its address and its answer.
            Assert(dut.awready == dut.wready),
            Assert(~dut.awready | (self.awvalid & self.wvalid)),
            Assert(under_way <= 1),
            Assert(addresses == steps[0] + steps[1] + dut.bvalid),
            Assert(data == addresses),
            Assert(dut.arready == (reads == 0)),
        ]
        return m


class MasterRules(wiring.Component):
    """What a port promises on every cycle, with any engines and any slave, plugged or not:
    incrementing bursts of whole beats, one identifier, BREADY without a wait; with bursts of one
    beat, at most ``WRITES_MAX`` without a response; ``progress`` after a transfer on any channel.

    ``fault``: one write fewer is allowed.
    """

    def __init__(self, fault: bool = False) -> None:
        self.fault, self.shell = fault, AxiShell(NANO)
        super().__init__(self.shell.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shell = self.shell
        m.submodules.shell = shell
        wiring.connect(m, wiring.flipped(self), shell)
        opened, answered = (Signal(8, name=name) for name in ("opened", "answered"))
        lost = Signal()  # the slave has broken the rules, and nothing is counted any more
        opens = shell.write.burst.valid & shell.write.burst.ready
        answers = shell.bvalid & shell.bready
        open_ = (opened - answered)[:8]
        m.d.sync += [
            opened.eq(opened + opens),
            answered.eq(answered + answers),
            lost.eq(lost | shell.violated | (answers & (open_ == 0))),
        ]
        moved = Signal()
        m.d.sync += moved.eq(
            Cat(
                getattr(shell, f"{channel}valid") & getattr(shell, f"{channel}ready")
                for channel in ("ar", "r", "aw", "w", "b")
            ).any()
        )
        m.d.comb += Assert(shell.progress == moved)
        for way in ("ar", "aw"):
            m.d.comb += [
                Assert(getattr(shell, f"{way}burst") == 1),
                Assert(getattr(shell, f"{way}size") == exact_log2(NANO.port_bytes)),
                Assert(getattr(shell, f"{way}id") == 0),
            ]
        m.d.comb += [
            Assume(~shell.bvalid | (open_ != 0)),
            Assume(~shell.bid & (~shell.rvalid | (shell.rready & ~shell.rid))),
            Assume(shell.write.burst.p.length == 0),
            Assert(shell.bready),
            Assert(lost | (open_ <= WRITES_MAX - int(self.fault))),
        ]
        return m


class ReadsAreJudged(wiring.Component):
    """Up to the first wrong beat, a beat is wrong if, and only if, no burst is due or its RLAST is
    not that of the burst's last beat, counted against ARLEN. ``fault``: one beat more is due."""

    def __init__(self, fault: bool = False) -> None:
        self.fault = fault
        super().__init__({"opened": In(1), "length": In(8), "moved": In(1), "last": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = ReadsDue(SHORT)
        lengths = Array(Signal(8, name=f"length_{k}") for k in range(16))
        opened, closed, beat = (Signal(4, name=n) for n in ("bursts", "closed", "beat"))
        lost, right, due = Signal(), Signal(), Signal(8)
        m.d.comb += [
            dut.opened.eq(self.opened),
            dut.length.eq(self.length),
            dut.moved.eq(self.moved),
            dut.last.eq(self.last),
            Assume(self.length < SHORT.burst_beats),
            Assume(~self.opened | ((opened - closed)[:4] < SHORT.outstanding_reads)),
            due.eq(lengths[closed] + int(self.fault)),
            right.eq((opened != closed) & (self.last == (beat == due))),
            Assert(lost | ~self.moved | (dut.wrong == ~right)),
            Assert(self.moved | ~dut.wrong),
        ]
        m.d.sync += lost.eq(lost | (self.moved & ~right))
        with m.If(self.opened):
            m.d.sync += [lengths[opened].eq(self.length), opened.eq(opened + 1)]
        with m.If(self.moved):
            m.d.sync += beat.eq(beat + 1)
            with m.If(self.last):
                m.d.sync += [beat.eq(0), closed.eq(closed + 1)]
        return m


class ResponsesAreJudged(wiring.Component):
    """Up to the first wrong one, a response is right if, and only if, the bus has had the address
    and all data of more bursts than it has answered; no more than ``WRITES_MAX`` are open.
    ``fault``: data are enough.
    """

    def __init__(self, fault: bool = False) -> None:
        self.fault = fault
        super().__init__({"open": In(1), "take": In(1), "sent": In(1), "answered": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut, inside = registers(dut := ResponsesDue())
        opened, addressed, sent, answered = (
            Signal(6, name=f"all_{n}") for n in ("opened", "addressed", "sent", "answered")
        )
        lost, right = Signal(), Signal()
        offered = (opened != addressed) & ~lost
        m.d.comb += [
            dut.opened.eq(self.open),
            dut.offered.eq(offered),
            dut.sent.eq(self.sent),
            dut.answered.eq(self.answered),
            # The port offers one address at a time, and sends the beats of open bursts.
            Assume(~self.open | ~offered | self.take),
            Assume(~self.open | ((opened - answered)[:6] < WRITES_MAX)),
            Assume(~self.sent | (sent != opened)),
            right.eq((sent != answered) & (self.fault | (addressed != answered))),
            Assert(lost | (dut.right == right)),
            Assert(lost | (dut.open == (opened - answered)[:6])),
            # Invariants.
            Assert(lost | ((opened - answered)[:6] <= WRITES_MAX)),
            Assert(lost | ((sent - answered)[:6] <= (opened - answered)[:6])),
            Assert(lost | ((opened - addressed)[:6] <= 1)),
            Assert(lost | ((addressed - answered)[:6] <= (opened - answered)[:6])),
            Assert(lost | (inside["whole"] == (sent - answered)[:6])),
        ]
        m.d.sync += [
            opened.eq(opened + self.open),
            addressed.eq(addressed + (offered & self.take)),
            sent.eq(sent + self.sent),
            answered.eq(answered + self.answered),
            lost.eq(lost | (self.answered & ~right)),
        ]
        return m


def test_lite_slave(tmp_path: Path) -> None:
    """Unbounded; five cycles hold a whole read."""
    assert prove(LiteSlave(), 5, tmp_path).unbounded


@pytest.mark.slow
def test_master_rules(tmp_path: Path) -> None:
    """34 cycles: one burst more than may be open could begin."""
    bmc(MasterRules(), 34, tmp_path)


def test_first_reads_are_judged(tmp_path: Path) -> None:
    """As below; 8 cycles."""
    bmc(ReadsAreJudged(), 8, tmp_path)


@pytest.mark.long
def test_reads_are_judged(tmp_path: Path) -> None:
    """12 cycles, bursts of 1 to 4 beats, up to two at a time."""
    bmc(ReadsAreJudged(), 12, tmp_path)


def test_responses_are_judged(tmp_path: Path) -> None:
    """Unbounded."""
    assert prove(ResponsesAreJudged(), 2, tmp_path).unbounded


FAULTY = {
    "lite slave": (LiteSlave, 8),
    "master": (MasterRules, 34),
    "reads": (ReadsAreJudged, 6),
    "responses": (ResponsesAreJudged, 6),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] if n == "master" else []) for n in FAULTY]
)
def test_faulty(name: str, tmp_path: Path) -> None:
    """Control: rules that are one off are refuted."""
    design, cycles = FAULTY[name]
    with pytest.raises(PropertyError, match="fails within"):
        bmc(design(fault=True), cycles, tmp_path)
