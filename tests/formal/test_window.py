"""No Program reaches memory outside its window: the check of a transfer is exact in integers that
cannot wrap, engines request only what the check admits, the splitter's bursts are the transfer and
nothing else, and a port's addresses lie in its part of the window."""

from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from sigbit_hw.arch import isa
from sigbit_hw.arch.bus import ADDRESS_BITS, PAGE_BITS
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import BEATS_BITS
from sigbit_hw.arch.regs import PROGRAM_ALIGN
from sigbit_hw.gateware.bus.axi import AxiShell
from sigbit_hw.gateware.memory.dma import REQUEST, BurstSplitter, Window, WindowCheck
from sigbit_hw.gateware.memory.fetch import Fetch
from sigbit_hw.gateware.memory.load_front import LoadFront
from sigbit_hw.gateware.memory.store import StoreEngine
from sigbit_sim.verification.formal import PropertyError, bmc, prove, registers

pytestmark = pytest.mark.synth

NANO = PRESETS["nano"]
FOUR = replace(NANO, name="four_ports", oc_lanes=16, bus_bits=256, ports=4, burst_beats=4)
CONFIGS = {"nano": NANO, "four ports": FOUR}
WIDE = isa.ADDRESS_BITS + BEATS_BITS
"""Bits of integers that no sum of the proofs wraps."""


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


class LoadRequestsInside(wiring.Component):
    """LOAD's front end requests only whole beats within the window, whatever instructions come and
    whenever its streams are taken; ``window`` is constant. ``fault``: the window is a beat less."""

    def __init__(self, config: ArchConfig, fault: bool = False) -> None:
        self.config, self.fault = config, fault
        self.dut = LoadFront(config)
        super().__init__(
            {
                "i_valid": In(1),
                "word": In(len(self.dut.i.p.as_value())),
                "o_ready": In(1),
                "request_ready": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        size = Signal(32)
        request = dut.request
        end = Signal(WIDE)
        m.d.comb += [
            size.eq(AnyConst(32)),
            dut.window.size.eq(size),
            dut.i.valid.eq(self.i_valid),
            dut.i.payload.eq(self.word),
            dut.o.ready.eq(self.o_ready),
            request.ready.eq(self.request_ready),
            end.eq(request.p.offset + (request.p.beats + int(self.fault)) * self.config.bus_bytes),
            Assert(~request.valid | (end <= size)),
            Assert(~request.valid | (request.p.offset % self.config.bus_bytes == 0)),
            Assert(~(request.valid & request.ready) | (dut.o.valid & dut.o.ready)),
        ]
        return m


class StoreRequestsInside(wiring.Component):
    """STORE requests only whole beats within the window and where it may write, whatever
    instructions come and whatever its slots, the bus and its beats do; the window is constant.
    ``fault``: the end of what may be written is a beat less."""

    def __init__(self, config: ArchConfig, fault: bool = False) -> None:
        self.config, self.fault = config, fault
        self.dut = StoreEngine(config)
        super().__init__(self.dut.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut, inside = registers(self.dut)
        wiring.connect(m, wiring.flipped(self), self.dut)
        window = {name: Signal(32, name=name) for name in Window().members}
        request = data.View(REQUEST, inside["request__payload"])
        begin, end = Signal(WIDE), Signal(WIDE)
        m.d.comb += [
            *(one.eq(AnyConst(32)) for one in window.values()),
            *(Assume(getattr(self.window, name) == one) for name, one in window.items()),
            begin.eq(request.offset),
            end.eq(begin + (request.beats + int(self.fault)) * self.config.bus_bytes),
            *(
                Assert(~inside["request__valid"] | good)
                for good in (
                    begin >= window["write_lo"],
                    end <= window["write_hi"],
                    end <= window["size"],
                    begin % self.config.bus_bytes == 0,
                )
            ),
        ]
        return m


class FetchRequestsInside(wiring.Component):
    """Instructions are requested from within the window only, whatever offset and count are set,
    and whenever words and beats are taken; offset, count and window are constant. ``fault``: the
    window is a beat less."""

    def __init__(self, config: ArchConfig, fault: bool = False) -> None:
        self.config, self.fault = config, fault
        self.dut = Fetch(config)
        super().__init__(self.dut.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut, beat = self.dut, self.config.bus_bytes
        m.submodules.dut, inside = registers(dut)
        wiring.connect(m, wiring.flipped(self), dut)
        offset, count, size = (Signal(32, name=name) for name in ("offset", "count", "size"))
        starts = inside["fsm_state"] == 0
        goes_on = inside["fsm_state"] >= 2  # CHUNK, REQUEST
        request = dut.read.request
        m.d.comb += [
            *(one.eq(AnyConst(32)) for one in (offset, count, size)),
            Assume((dut.offset == offset) & (dut.count == count) & (dut.window.size == size)),
            Assert(
                ~request.valid
                | (request.p.offset + (request.p.beats + int(self.fault)) * beat <= size)
            ),
            Assert(~request.valid | (request.p.offset >= offset)),
            Assert(~request.valid | (request.p.offset % beat == 0)),
            # Invariants: the offset was looked at, what is left lies within the window.
            Assert(starts | (inside["aligned"] == (offset % PROGRAM_ALIGN == 0))),
            Assert(~goes_on | (inside["offset"] + inside["left"] * beat <= size)),
            Assert(~goes_on | ((inside["offset"] >= offset) & (inside["offset"] % beat == 0))),
            Assert(~request.valid | (request.p.beats <= inside["left"])),
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
def test_load(name: str, tmp_path: Path) -> None:
    """Unbounded."""
    assert prove(LoadRequestsInside(CONFIGS[name]), 3, tmp_path).unbounded


@pytest.mark.parametrize("name", CONFIGS)
def test_store(name: str, tmp_path: Path) -> None:
    """Unbounded."""
    assert prove(StoreRequestsInside(CONFIGS[name]), 3, tmp_path).unbounded


@pytest.mark.parametrize("name", CONFIGS)
def test_fetch(name: str, tmp_path: Path) -> None:
    """Unbounded; with short bursts, as the content of the buffer slows the solver down."""
    config = replace(CONFIGS[name], burst_beats=4)
    assert prove(FetchRequestsInside(config), 3, tmp_path).unbounded


@pytest.mark.parametrize("name", CONFIGS)
def test_splitter(name: str, tmp_path: Path) -> None:
    """Unbounded."""
    assert prove(BurstsAreTheTransfer(CONFIGS[name]), 2, tmp_path).unbounded


@pytest.mark.parametrize("name", CONFIGS)
def test_addresses(name: str, tmp_path: Path) -> None:
    """Unbounded."""
    assert prove(AddressesAreInside(CONFIGS[name]), 4, tmp_path).unbounded


FAULTY = {
    "check": lambda: CheckIsExact(NANO, True, fault=True),
    "load": lambda: LoadRequestsInside(NANO, fault=True),
    "store": lambda: StoreRequestsInside(NANO, fault=True),
    "fetch": lambda: FetchRequestsInside(replace(NANO, burst_beats=4), fault=True),
    "splitter": lambda: BurstsAreTheTransfer(NANO, fault=True),
    "addresses": lambda: AddressesAreInside(NANO, fault=True),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faulty(name: str, tmp_path: Path) -> None:
    """Control: limits that are one less are refuted."""
    with pytest.raises(PropertyError, match="fails within"):
        bmc(FAULTY[name](), 6, tmp_path)
