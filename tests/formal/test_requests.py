"""LOAD, STORE and the fetch of instructions request only what lies within the window."""

from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from formal.windows import CONFIGS, NANO, WIDE
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.regs import PROGRAM_ALIGN
from sigbit_hw.gateware.memory.dma import REQUEST, Window
from sigbit_hw.gateware.memory.fetch import Fetch
from sigbit_hw.gateware.memory.load_front import LoadFront
from sigbit_hw.gateware.memory.store import StoreEngine
from sigbit_sim.verification.formal import PropertyError, bmc, prove, registers

pytestmark = pytest.mark.synth


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


FAULTY = {
    "load": lambda: LoadRequestsInside(NANO, fault=True),
    "store": lambda: StoreRequestsInside(NANO, fault=True),
    "fetch": lambda: FetchRequestsInside(replace(NANO, burst_beats=4), fault=True),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faulty(name: str, tmp_path: Path) -> None:
    """Control: a window that is a beat less is refuted."""
    with pytest.raises(PropertyError, match="fails within"):
        bmc(FAULTY[name](), 6, tmp_path)
