"""What the runner says when there is nothing proved."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Module, Signal, ValueLike
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from sigbit_sim.verification import formal
from sigbit_sim.verification.formal import FormalError, PropertyError, bmc, prove

pytestmark = pytest.mark.synth


class Counter(wiring.Component):
    """Counts modulo 8 from 0; ``Assume`` of the first, ``Assert`` of the second of ``claims``."""

    def __init__(self, assumed: int | None, asserted: int | None) -> None:
        self.claims = assumed, asserted
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(3)
        m.d.sync += count.eq(count + 2)
        for statement, value in zip((Assume, Assert), self.claims, strict=True):
            if value is not None:
                claim: ValueLike = count != value
                m.d.comb += statement(claim)
        return m


def test_proved(tmp_path: Path) -> None:
    proof = prove(Counter(None, 7), 4, tmp_path)
    assert (proof.asserts, proof.cycles, proof.unbounded) == (1, 4, True)


def test_refuted(tmp_path: Path) -> None:
    """The counter is 6 in the fourth cycle: not before; the error leads to line and trace."""
    assert not bmc(Counter(None, 6), 3, tmp_path).unbounded
    with pytest.raises(PropertyError, match="fails within 4 cycles") as error:
        bmc(Counter(None, 6), 4, tmp_path)
    assert "test_runner.py:" in error.value.where
    assert error.value.trace.stat().st_size


def test_not_inductive(tmp_path: Path) -> None:
    """7 is never reached, but 1 and 3 and 5 would lead to it."""
    with pytest.raises(PropertyError, match="not inductive over 3 cycles"):
        prove(Counter(None, 7), 3, tmp_path)


def test_contradiction(tmp_path: Path) -> None:
    with pytest.raises(FormalError, match="contradict"):
        bmc(Counter(4, 7), 3, tmp_path)


def test_nothing_asserted(tmp_path: Path) -> None:
    with pytest.raises(FormalError, match="asserts nothing"):
        bmc(Counter(4, None), 3, tmp_path)


class Factors(wiring.Component):
    """Claims that a prime is not the product of two smaller numbers."""

    def __init__(self) -> None:
        super().__init__({"a": In(16), "b": In(16)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += Assert((self.a * self.b != 65_521) | (self.a == 1) | (self.b == 1))
        return m


def test_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver's effort is counted, so that a proof needs no faster machine."""
    monkeypatch.setattr(formal, "RESOURCES", 1000)
    with pytest.raises(FormalError, match="no verdict on 1 cycles within 1,000 of its steps"):
        bmc(Factors(), 1, tmp_path)


def test_no_cycles(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1 cycle"):
        bmc(Counter(None, 7), 0, tmp_path)
