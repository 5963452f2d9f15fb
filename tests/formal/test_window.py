"""No Program reaches memory outside its window: the check of a transfer is exact in integers that
cannot wrap, the splitter's bursts are the transfer and nothing else, and a port's addresses lie in
its part of the window. ``test_requests`` has the engines, which request only what the check
admits."""

from pathlib import Path

import pytest
from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from formal.windows import CONFIGS, NANO, WIDE
from sigbit_hw.arch import isa
from sigbit_hw.arch.bus import ADDRESS_BITS, PAGE_BITS
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import BEATS_BITS
from sigbit_hw.gateware.bus.axi import AxiShell
from sigbit_hw.gateware.memory.dma import BurstSplitter, Window, WindowCheck
from sigbit_sim.verification.formal import PropertyError, bmc, prove, registers

pytestmark = pytest.mark.synth


class CheckIsExact(wiring.Component):
    """Two cycles after a transfer is offered, ``outside`` says whether its last byte lies beyond
    the window, or part of it where nothing may be written. Offset, beats and window are constant.
    ``fault``: the window's last byte is outside."""

    def __init__(self, config: ArchConfig, writes: bool, fault: bool = False) -> None:
        self.config, self.writes, self.fault = config, writes, fault
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = WindowCheck(self.config, writes=self.writes)
        window, age = dut.window, Signal(2)
        begin, end = Signal(WIDE), Signal(WIDE)
        low = Mux(self.writes, window.write_lo, 0)
        high = Signal(WIDE)
        m.d.sync += age.eq(Mux(age == 2, 2, age + 1))
        m.d.comb += [
            dut.offset.eq(AnyConst(isa.ADDRESS_BITS)),
            dut.beats.eq(AnyConst(BEATS_BITS)),
            *(getattr(window, name).eq(AnyConst(32)) for name in Window().members),
            begin.eq(dut.offset),
            end.eq(begin + dut.beats * self.config.bus_bytes),
            high.eq(window.size - int(self.fault)),
            Assert(
                (age != 2)
                | (
                    dut.outside
                    == ((end > high) | (begin < low) | (self.writes & (end > window.write_hi)))
                )
            ),
            Assert((age == 0) | (dut.misaligned == (begin % self.config.bus_bytes != 0))),
        ]
        return m


class BurstsAreTheTransfer(wiring.Component):
    """The bursts of a transfer follow each other without gap from its first beat to its last,
    none crosses a boundary of ``burst_beats`` beats, and the next transfer is taken after the last
    one. Transfers are any that the check admits: at least a beat, aligned, ending at 2^32 at most.
    ``fault``: boundaries are twice as close."""

    def __init__(self, config: ArchConfig, fault: bool = False) -> None:
        self.config, self.fault = config, fault
        super().__init__(
            {
                "valid": In(1),
                "ready": In(1),
                "offset": In(isa.ADDRESS_BITS),
                "beats": In(BEATS_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = BurstSplitter(self.config)
        size, limit = exact_log2(self.config.bus_bytes), self.config.burst_beats
        closest = limit // 2 if self.fault else limit
        m.submodules.dut, inside = registers(dut)
        expected = Signal(WIDE)  # the beat with which the next burst must begin
        end = Signal(WIDE)  # the beat behind the transfer
        taken = dut.i.valid & dut.i.ready
        moves = dut.o.valid & dut.o.ready
        burst_end = Signal(WIDE)
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            dut.i.p.offset.eq(self.offset),
            dut.i.p.beats.eq(self.beats),
            dut.o.ready.eq(self.ready),
            burst_end.eq(dut.o.p.beat + dut.o.p.length + 1),
            Assume((self.beats != 0) & (self.offset % self.config.bus_bytes == 0)),
            Assume((self.offset >> size) + self.beats <= 1 << (isa.ADDRESS_BITS - size)),
        ]
        with m.If(taken):
            m.d.sync += [
                expected.eq(self.offset >> size),
                end.eq((self.offset >> size) + self.beats),
            ]
        with m.Elif(moves):
            m.d.sync += expected.eq(burst_end)
        idle = dut.i.ready
        m.d.comb += [
            Assert(~idle | (expected == end)),
            Assert(idle | (expected < end)),
            Assert(~dut.o.valid | (dut.o.p.beat == expected)),
            Assert(~dut.o.valid | (burst_end <= end)),
            Assert(~dut.o.valid | (dut.o.p.beat % closest + dut.o.p.length < closest)),
            Assert(~dut.o.valid | ~idle),
            # Invariants: the registers hold what is left of the transfer.
            Assert(idle | (inside["beat"] == expected)),
            Assert(idle | (inside["left"] == end - expected)),
            Assert(idle | (inside["to_boundary"] == limit - expected % limit)),
            Assert(end <= 1 << (isa.ADDRESS_BITS - size)),
            Assert(
                ~dut.o.valid
                | (
                    inside["count"]
                    == Mux(
                        inside["to_boundary"] < inside["left"],
                        inside["to_boundary"],
                        inside["left"],
                    )
                )
            ),
            Assert(~dut.o.valid | (inside["last"] == (inside["to_boundary"] >= inside["left"]))),
        ]
        return m


class AddressesAreInside(wiring.Component):
    """A port's bursts lie in its part of the window, at ``base`` pages, without a wrap at the end
    of the address space, and within 4 KiB: for any bursts within the window that cross no boundary
    of ``burst_beats`` beats, and a base and size that ``wraps`` has admitted for two cycles.
    ``fault``: the part is a beat less."""

    def __init__(self, config: ArchConfig, fault: bool = False) -> None:
        self.config, self.fault = config, fault
        self.shell = AxiShell(config)
        super().__init__(self.shell.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, shell = self.config, self.shell
        m.submodules.shell = shell
        wiring.connect(m, wiring.flipped(self), shell)
        age = Signal(2)
        base, size = Signal(len(shell.base)), Signal(len(shell.size))
        begin, end = Signal(ADDRESS_BITS + 2), Signal(ADDRESS_BITS + 2)
        page, port = 1 << PAGE_BITS, config.port_bytes
        m.d.sync += age.eq(Mux(age == 3, 3, age + 1))
        m.d.comb += [
            base.eq(AnyConst(len(base))),
            size.eq(AnyConst(len(size))),
            begin.eq(base << PAGE_BITS),
            end.eq(begin + (size >> exact_log2(config.ports)) - int(self.fault) * port),
            Assume((shell.base == base) & (shell.size == size)),
            Assume(~shell.enable | ((age == 3) & ~shell.wraps)),
        ]
        for way, burst in (("ar", shell.read.burst), ("aw", shell.write.burst)):
            valid, address, length = (
                getattr(shell, way + name) for name in ("valid", "addr", "len")
            )
            last = burst.p.beat + burst.p.length + 1
            after = Signal(ADDRESS_BITS + 2, name=f"{way}_after")
            m.d.comb += [
                Assume(last * config.bus_bytes <= size),
                Assume(burst.p.beat % config.burst_beats + burst.p.length < config.burst_beats),
                after.eq(address + (length + 1) * port),
                Assert(~valid | ((address >= begin) & (after <= end))),
                Assert(~valid | (after <= 1 << ADDRESS_BITS)),
                Assert(~valid | ((address % page) + (length + 1) * port <= page)),
                Assert(~valid | (address % port == 0)),
            ]
        return m


@pytest.mark.parametrize("writes", [False, True], ids=["reads", "writes"])
@pytest.mark.parametrize("name", CONFIGS)
def test_check(name: str, writes: bool, tmp_path: Path) -> None:
    """Unbounded."""
    assert prove(CheckIsExact(CONFIGS[name], writes), 3, tmp_path).unbounded


@pytest.mark.parametrize("name", CONFIGS)
def test_splitter(name: str, tmp_path: Path) -> None:
    """Unbounded."""
    assert prove(BurstsAreTheTransfer(CONFIGS[name]), 2, tmp_path).unbounded


@pytest.mark.parametrize("name", [pytest.param("nano", marks=pytest.mark.long), "four ports"])
def test_addresses(name: str, tmp_path: Path) -> None:
    """Unbounded."""
    assert prove(AddressesAreInside(CONFIGS[name]), 4, tmp_path).unbounded


FAULTY = {
    "check": lambda: CheckIsExact(NANO, True, fault=True),
    "splitter": lambda: BurstsAreTheTransfer(NANO, fault=True),
    "addresses": lambda: AddressesAreInside(NANO, fault=True),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faulty(name: str, tmp_path: Path) -> None:
    """Control: limits that are one less are refuted."""
    with pytest.raises(PropertyError, match="fails within"):
        bmc(FAULTY[name](), 6, tmp_path)
