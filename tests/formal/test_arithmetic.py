"""The arithmetic of the datapath equals integer arithmetic, for all inputs in all cycles."""

from pathlib import Path

import pytest
from amaranth.hdl import Array, Assert, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.params import ParamFormat
from sigbit_hw.gateware.compute import mac, pool, requant
from sigbit_hw.gateware.compute.mac import DotProduct
from sigbit_hw.gateware.compute.pool import RunningMax
from sigbit_hw.gateware.compute.requant import Requantizer, Steps, param_layout
from sigbit_hw.gateware.parts import product
from sigbit_hw.gateware.parts.pipeline import delay
from sigbit_sim.verification.formal import PropertyError, bmc, prove

pytestmark = pytest.mark.synth

S41, S42, S20 = EsbFormat(4, 1), EsbFormat(4, 2), EsbFormat(2, 0)
U42, S62, S52 = EsbFormat(4, 2, signed=False), EsbFormat(6, 2), EsbFormat(5, 2)


def decoded(code: Value, fmt: EsbFormat) -> Value:
    """The value of a code in LSBs."""
    values = [int(v) for v in fmt.decode(range(1 << fmt.bits))]
    return Array(Const(v, signed(fmt.range_bits + 1)) for v in values)[code]


class DivisionIsExact(wiring.Component):
    """``y`` is the saturated floor of the total of ``latency`` cycles ago by the step that came
    with it, the least number that is not reached, or an even one where the tie bit says so."""

    def __init__(self, fmt: ParamFormat, bits: int) -> None:
        self.fmt, self.bits = fmt, bits
        self.steps, self.requant = Steps(fmt, bits), Requantizer(fmt, bits)
        super().__init__({"acc": In(signed(fmt.acc_bits)), "param": In(param_layout(fmt))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt, requant = self.fmt, self.requant
        m.submodules.steps, m.submodules.requant = self.steps, requant
        m.d.comb += [
            self.steps.param.eq(self.param),
            requant.acc.eq(self.acc),
            requant.base.eq(self.param.base),
            requant.steps.eq(self.steps.steps),
            requant.tie.eq(self.steps.tie),
        ]
        acc, base, step, tie = (
            delay(m, value, requant.latency, name)
            for name, value in (
                ("acc", self.acc),
                ("base", self.param.base),
                ("step", self.param.step),
                ("tie", self.param.tie),
            )
        )
        known = delay(m, Const(1, 1), requant.latency, "known", reset=True)
        missing = fmt.fraction_bits - fmt.base_fraction_bits
        total = (acc << fmt.fraction_bits) + (base << missing)
        y, half = requant.y, 1 << (self.bits - 1)
        reached, beyond = y * step, (y + 1) * step
        inside = ((y == half - 1) | (total < beyond)) & ((y == -half) | (total >= reached))
        lowered = tie & ~y[0] & (total == beyond)
        kept = tie & y[0] & (total == reached)
        m.d.comb += Assert(~known | lowered | (inside & ~kept))
        return m


class DotIsExact(wiring.Component):
    """``dot + carry`` is the sum of the products of the decoded codes ``latency`` cycles ago."""

    def __init__(self, weights: EsbFormat, acts: EsbFormat, lanes: int) -> None:
        self.dut = DotProduct(weights, acts, lanes)
        super().__init__({"weights": In(lanes * weights.bits), "acts": In(lanes * acts.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [dut.weights.eq(self.weights), dut.acts.eq(self.acts)]
        weights = delay(m, self.weights, dut.latency, "weights")
        acts = delay(m, self.acts, dut.latency, "acts")
        wf, af = dut.weight_format, dut.act_format
        products = [
            decoded(weights.word_select(lane, wf.bits), wf)
            * decoded(acts.word_select(lane, af.bits), af)
            for lane in range(dut.ic_lanes)
        ]
        m.d.comb += Assert(dut.dot + dut.carry == sum(products, Const(0)))
        return m


class OrderIsTrue(wiring.Component):
    """Any two codes compare as their values do; minus zero comes below zero."""

    def __init__(self, fmt: EsbFormat) -> None:
        self.fmt = fmt
        super().__init__({"a": In(fmt.bits), "b": In(fmt.bits), "always": In(1), "enable": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, b = decoded(self.a, self.fmt), decoded(self.b, self.fmt)
        found = pool.outranks(m, self.a, self.b, self.fmt, self.always, self.enable, {})
        greater = (a > b) | ((a == b) & (self.a < self.b))
        m.d.comb += Assert(found == (self.enable & (self.always | greater)))
        return m


class MaximumIsTrue(wiring.Component):
    """Since the first ``clear``, ``codes`` has the largest value enabled since the last one."""

    def __init__(self, fmt: EsbFormat) -> None:
        self.dut = RunningMax(fmt, 1)
        super().__init__({"acts": In(fmt.bits), "enable": In(1), "clear": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        fmt = dut.act_format
        best = Signal(signed(fmt.range_bits + 1))
        cleared = Signal()
        value = decoded(self.acts, fmt)
        m.d.comb += [
            dut.acts.eq(self.acts),
            dut.enable.eq(self.enable),
            dut.clear.eq(self.clear),
            Assert(~cleared | (decoded(dut.codes, fmt) == best)),
        ]
        with m.If(self.enable):
            m.d.sync += cleared.eq(cleared | self.clear)
            m.d.sync += best.eq(Mux(self.clear | (value > best), value, best))
        return m


SMALL = ParamFormat(16, 6, 3), 4


def test_requantizer(tmp_path: Path) -> None:
    """Unbounded: every accumulator, base, step and tie bit, new ones in each cycle. Every stage has
    the same text, so that few bits stand for many; those are the sums' and stages' of tests/hw."""
    design = DivisionIsExact(*SMALL)
    assert prove(design, design.requant.latency + 1, tmp_path).unbounded


def test_requantizer_without_saturation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a requantizer that wraps is refuted."""
    monkeypatch.setattr(requant, "differs", lambda bits, sign: Const(0))
    design = DivisionIsExact(*SMALL)
    with pytest.raises(PropertyError, match="fails within"):
        bmc(design, design.requant.latency + 2, tmp_path)


@pytest.mark.parametrize(
    ("weights", "acts", "lanes"),
    [
        (S41, S42, 1),
        (S41, S42, 2),
        (S20, S20, 1),
        (S20, S20, 2),
        (S41, U42, 1),
        (S62, S52, 1),
    ],
    ids=str,
)
def test_dot_product(weights: EsbFormat, acts: EsbFormat, lanes: int, tmp_path: Path) -> None:
    """Unbounded: all codes, minus zero included; the last format's product is no truth table."""
    design = DotIsExact(weights, acts, lanes)
    assert design.dut.form.by_table == (weights is not S62)
    assert prove(design, design.dut.latency, tmp_path).unbounded


def test_dot_product_without_carry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a tree that forgets the +1 of a negative product is refuted."""
    monkeypatch.setattr(mac, "add_with_carry", lambda a, b, carry: a + b)
    with pytest.raises(PropertyError, match="fails within"):
        bmc(DotIsExact(S41, S42, 2), 3, tmp_path)


def test_dot_product_of_wrong_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: one wrong entry of the truth tables, of the largest product, is refuted."""
    right = product.truth_table
    monkeypatch.setattr(
        product,
        "truth_table",
        lambda index, function, width: right(
            index, lambda i: function(i) ^ (i == (1 << len(index)) - 1), width
        ),
    )
    with pytest.raises(PropertyError, match="fails within"):
        bmc(DotIsExact(S41, S42, 1), 2, tmp_path)


@pytest.mark.parametrize("fmt", [S20, S41, S42, U42, S62], ids=str)
def test_order(fmt: EsbFormat, tmp_path: Path) -> None:
    """All pairs of codes."""
    bmc(OrderIsTrue(fmt), 1, tmp_path)


@pytest.mark.parametrize("fmt", [S41, U42], ids=str)
def test_running_maximum(fmt: EsbFormat, tmp_path: Path) -> None:
    """Unbounded: any codes, enabled and cleared at any time."""
    assert prove(MaximumIsTrue(fmt), 2, tmp_path).unbounded


def test_magnitudes_in_one_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: comparing magnitudes of negative codes as those of others is refuted."""
    right = pool._compare
    monkeypatch.setattr(
        pool,
        "_compare",
        lambda order, a, b: right(
            pool._Order.EQUAL_PLUS if order == pool._Order.EQUAL_MINUS else order, a, b
        ),
    )
    with pytest.raises(PropertyError, match="fails within"):
        bmc(OrderIsTrue(S41), 1, tmp_path)
    with pytest.raises(PropertyError, match="fails within"):
        bmc(MaximumIsTrue(S41), 3, tmp_path)
