"""Tokens are neither lost nor made: the counters of the sequencer and what the queues take."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import Engine
from sigbit_hw.arch.timing import IN_FLIGHT
from sigbit_hw.gateware.control.sequencer import EngineQueue, Tokens
from sigbit_hw.gateware.interfaces import ENGINES
from sigbit_hw.gateware.ports import ENGINE_NAMES
from sigbit_sim.verification.formal import PropertyError, bmc, prove, registers

pytestmark = pytest.mark.synth

COUNT = signed(isa.TOKEN_MAX.bit_length() + 2)


class TokensAreConserved(wiring.Component):
    """Until the first overflow, every counter is tokens given less tokens taken, in integers that
    cannot wrap; the flags say which are not 0, and ``error`` whether one would have exceeded the
    maximum a cycle before.

    Engines take what they have (``careful``: :class:`QueueIsCareful` proves it) and give at will.
    """

    def __init__(self, careful: bool = True) -> None:
        self.careful, self.most = careful, isa.TOKEN_MAX
        super().__init__(
            {
                **{f"valid_{e}": In(1) for e in ENGINE_NAMES},
                **{f"signal_{e}": In(ENGINES) for e in ENGINE_NAMES},
                **{f"take_{e}": In(ENGINES) for e in ENGINE_NAMES},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = Tokens()
        m.submodules.dut, inside = registers(dut)
        failed, noted = Signal(), Signal()
        exceeded = Signal(ENGINES * ENGINES)
        m.d.sync += [failed.eq(failed | exceeded.any()), noted.eq(failed)]
        for g, giver in enumerate(ENGINE_NAMES):
            retire = getattr(dut, f"retire_{giver}")
            take = getattr(self, f"take_{giver}")
            m.d.comb += [
                retire.valid.eq(getattr(self, f"valid_{giver}")),
                retire.signal.eq(getattr(self, f"signal_{giver}")),
                getattr(dut, f"take_{giver}").eq(take),
            ]
            if self.careful:
                m.d.comb += Assume((take & ~getattr(dut, f"tokens_{giver}")) == 0)
            for t, taker in enumerate(ENGINE_NAMES):
                if t == g:
                    continue
                held, then = Signal(COUNT), Signal(COUNT)
                m.d.comb += [
                    then.eq(
                        held + (retire.valid & retire.signal[t]) - getattr(self, f"take_{taker}")[g]
                    ),
                    exceeded[g * ENGINES + t].eq(then > self.most),
                    Assert(failed | ((held >= 0) & (held <= self.most))),
                    Assert(failed | (inside[f"{giver}_to_{taker}"] == held)),
                    Assert(failed | (getattr(dut, f"tokens_{taker}")[g] == (held > 0))),
                ]
                m.d.sync += held.eq(then)
        m.d.comb += [Assert(noted | (dut.error.valid == failed)), Assert(~noted | failed)]
        return m


class QueueIsCareful(wiring.Component):
    """An engine's queue takes a token only if it has it, only as an instruction enters the engine,
    and then exactly those of its wait mask. An instruction offered stays as it is until it is
    taken. At most ``IN_FLIGHT`` that retire are in the engine.

    Tokens stay until they are taken, and the engine retires what it has.
    """

    def __init__(self, engine: Engine) -> None:
        self.dut = EngineQueue(PRESETS["nano"], engine)
        super().__init__(
            {
                "word": In(len(self.dut.i.p.word)),
                "valid": In(1),
                "ready": In(1),
                "tokens": In(ENGINES),
                "retired": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = self.dut
        m.submodules.dut, inside = registers(dut)
        before, offered = Signal(ENGINES), Signal()
        word, index = Signal.like(dut.o.p.word), Signal.like(dut.o.p.index)
        flying = Signal(range(IN_FLIGHT + 3))
        entered = Signal()
        wait = next(f for f in isa.HEADER if f.name == "wait")
        offset = sum(f.width for f in isa.HEADER[: isa.HEADER.index(wait)])
        m.d.sync += [
            before.eq(self.tokens & ~dut.take),
            offered.eq(dut.o.valid & ~self.ready),
            word.eq(dut.o.p.word),
            index.eq(dut.o.p.index),
            flying.eq(flying + dut.start.valid - self.retired),
        ]
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            dut.i.p.word.eq(self.word),
            dut.o.ready.eq(self.ready),
            dut.tokens.eq(self.tokens),
            dut.retired.eq(self.retired),
            entered.eq(dut.o.valid & self.ready),
            Assume((before & ~self.tokens) == 0),
            Assume(~self.retired | dut.executing),
            Assert((dut.take & ~self.tokens) == 0),
            Assert(entered | (dut.take == 0)),
            Assert(~entered | (dut.take == dut.o.p.word[offset : offset + wait.width])),
            Assert(~offered | (dut.o.valid & (dut.o.p.word == word) & (dut.o.p.index == index))),
            Assert(inside["in_flight"] == flying),
            Assert(inside["room"] == (flying != IN_FLIGHT)),
            Assert(dut.executing == (flying != 0)),
            Assert(flying <= IN_FLIGHT),
        ]
        return m


def test_conservation(tmp_path: Path) -> None:
    """Unbounded, all six counters."""
    assert prove(TokensAreConserved(), 1, tmp_path).unbounded


def test_careless_takers(tmp_path: Path) -> None:
    """Control: a counter from which more is taken than it has is refuted."""
    with pytest.raises(PropertyError, match="fails within"):
        bmc(TokensAreConserved(careful=False), 2, tmp_path)


def test_small_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: counters that overflow below the contract's maximum are refuted."""
    design = TokensAreConserved()
    monkeypatch.setattr(isa, "TOKEN_MAX", 3)
    with pytest.raises(PropertyError, match="fails within"):
        bmc(design, 6, tmp_path)


@pytest.mark.parametrize("engine", list(Engine), ids=lambda engine: engine.name)
def test_engine_queue(engine: Engine, tmp_path: Path) -> None:
    """Unbounded: any instructions, tokens that come and engines that retire at any time."""
    assert prove(QueueIsCareful(engine), 3, tmp_path).unbounded
