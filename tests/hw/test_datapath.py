"""The leaves of the data path against their golden models, an input every cycle."""

from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.images import pack_lanes
from sigbit_hw.arch.numerics import UNIT, wrap
from sigbit_hw.arch.params import ParamFormat
from sigbit_hw.gateware.compute import pool
from sigbit_hw.gateware.compute.array import Accumulator, MacArray
from sigbit_hw.gateware.compute.mac import DotProduct
from sigbit_hw.gateware.compute.pool import RunningMax
from sigbit_hw.gateware.compute.requant import Requantizer, Steps, param_layout
from sigbit_hw.gateware.parts.product import truth_table


def word(codes, bits):
    """Lane codes as one integer."""
    return int(sum(int(c) << (bits * i) for i, c in enumerate(codes)))


def pipeline(dut, drive, n, collect):
    """``collect`` of cycles ``latency`` after each of ``n`` cycles of ``drive(ctx, k)``."""
    results = []

    async def bench(ctx):
        for k in range(n + dut.latency):
            if k < n:
                drive(ctx, k)
            if k >= dut.latency:
                results.append(collect(ctx))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert len(results) == n > 0
    return results


def test_array(rng):
    """Steps with gaps; sums and maxima are kept apart, whatever comes in between."""
    config = ArchConfig(
        name="array",
        weight_format=EsbFormat(4, 1),
        act_format=EsbFormat(4, 2),
        pixels=2,
        oc_lanes=4,
        ic_lanes=4,
        post_lanes=4,
        acc_bits=16,
        term_radix_bits=3,
        act_slots=64,
        weight_words=64,
        param_groups=4,
        tables=2,
        bus_bits=64,
    )
    dut, steps = MacArray(config), 300
    acts = rng.integers(0, 16, (steps, 2, 4))
    weights = rng.integers(0, 16, (steps, 4, 4))
    control = {
        name: rng.random(steps) < p
        for name, p in (
            ("pool", 0.3),
            ("clear", 0.2),
            ("shift", 0.3),
            ("last", 0.2),
            ("drain", 0.5),
            ("end", 0.2),
        )
    }
    valid = rng.random(steps) < 0.8
    for k, maximum in enumerate((False, True)):
        valid[k] = control["clear"][k] = True
        control["pool"][k] = maximum

    def flags(k):
        return {name: int(values[k]) for name, values in control.items()}

    def drive(ctx, k):
        ctx.set(dut.valid, int(valid[k]))
        ctx.set(dut.control, flags(k))
        ctx.set(dut.weights, word(weights[k].ravel(), 4))
        for p in range(2):
            ctx.set(dut.acts[p], word(acts[k, p], 4))

    def collect(ctx):
        done = ctx.get(dut.done_control)
        return (
            ctx.get(dut.done),
            {name: done[name] for name in control},
            [[ctx.get(dut.acc[p][n]) for n in range(4)] for p in range(2)],
            [ctx.get(dut.maxima[p]) for p in range(2)],
        )

    results = pipeline(dut, drive, steps, collect)
    dots = dut.dots[0][0].compute(weights[:, None], acts[:, :, None])
    acc = np.zeros((2, 4), np.int64)
    seen: list[np.ndarray] = []
    for k, (done, done_control, sums, maxima) in enumerate(results):
        assert done == valid[k]
        if not valid[k]:
            continue
        assert done_control == flags(k)
        if control["pool"][k]:
            seen = [acts[k]] if control["clear"][k] else [*seen, acts[k]]
        else:
            held = 0 if control["clear"][k] else acc << 3 * int(control["shift"][k])
            acc = wrap(held + dots[k], config.acc_bits)
        assert sums == acc.tolist()
        if seen:
            assert maxima == [
                word(dut.pools[p].compute([step[p] for step in seen]), 4) for p in range(2)
            ]


class Lane(wiring.Component):
    """A requantizer behind its steps."""

    def __init__(self, fmt: ParamFormat, bits: int) -> None:
        self.steps, self.requant = Steps(fmt, bits), Requantizer(fmt, bits)
        self.latency = self.requant.latency
        super().__init__(
            {
                "acc": In(signed(fmt.acc_bits)),
                "param": In(param_layout(fmt)),
                "y": Out(signed(bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.steps, m.submodules.requant = self.steps, self.requant
        m.d.comb += [
            self.steps.param.eq(self.param),
            self.requant.acc.eq(self.acc),
            self.requant.base.eq(self.param.base),
            self.requant.steps.eq(self.steps.steps),
            self.requant.tie.eq(self.steps.tie),
            self.y.eq(self.requant.y),
        ]
        return m


def requantized(fmt, bits, acc, base, step, tie):
    """Results of the gateware, and those that they should be."""
    dut = Lane(fmt, bits)
    nothing = (step == 0).astype(np.uint64)  # no compiler writes a step of 0
    items = (fmt.pack(base, np.maximum(step, fmt.step_unit), tie) - nothing).tolist()

    def drive(ctx, k):
        ctx.set(dut.acc, int(acc[k]))
        ctx.set(dut.param.as_value(), items[k])

    results = pipeline(dut, drive, len(acc), lambda ctx: ctx.get(dut.y))
    return results, dut.requant.compute(acc, base, step, tie).tolist()


FORMATS = [
    (ParamFormat(20), 8),
    (ParamFormat(16), 8),
    (ParamFormat(24), 8),
    (ParamFormat(32), 8),
    (ParamFormat(24, 20, 6), 4),
    (ParamFormat(24, 22, 10), 6),
    (ParamFormat(24, 24, 16), 8),
]


@pytest.mark.parametrize(
    ("fmt", "bits"), FORMATS, ids=[f"{f.acc_bits}-{f.step_bits}-{bits}" for f, bits in FORMATS]
)
def test_requantizer(fmt, bits, rng):
    """Totals of all sizes, most of them near whole quotients inside and around the results'
    range."""
    n = 600
    half, reach = 1 << (fmt.acc_bits - 1), fmt.base_max // fmt.base_unit
    size = rng.integers(0, fmt.acc_bits, n)
    acc = (rng.integers(-half, half, n) >> size).clip(-half, half - 1)
    step = (2.0 ** rng.uniform(0, fmt.step_bits, n)).astype(np.int64)
    step = np.where(rng.random(n) < 0.3, 1 << np.log2(step).astype(np.int64), step)
    step = step.clip(1, (1 << fmt.step_bits) - 1) * fmt.step_unit
    quotient = rng.integers(-(1 << (bits - 1)) - 3, (1 << (bits - 1)) + 3, n)
    rest = rng.integers(-1, 2, n) * fmt.base_unit
    near = (quotient * step + rest - acc * UNIT) // fmt.base_unit
    anywhere = rng.integers(-reach - 1, reach + 1, n) >> rng.integers(0, fmt.base_bits, n)
    base = np.where((rng.random(n) < 0.8) & (np.abs(near) <= reach), near, anywhere)
    far = rng.random(n) < 0.25
    acc = np.where(far, rng.integers(-half, half, n), acc)
    base = np.where(far, rng.integers(-reach - 1, reach + 1, n), base)
    base[:4], acc[:4] = [-reach - 1, reach, -reach - 1, reach], [-half, half - 1, half - 1, -half]
    base = base * fmt.base_unit
    tie = rng.integers(0, 2, n)
    results, expected = requantized(fmt, bits, acc, base, step, tie)
    assert results == expected
    assert len(set(results)) > min(50, (1 << bits) - 3)
    ties = (base + acc * UNIT) % step == 0
    assert (ties & (tie == 1)).sum() > 10


def test_every_number_of_a_small_requantizer():
    """All steps, ties and bases of a few bits, 0 steps among them, with accumulators around and far
    beyond."""
    fmt, bits = ParamFormat(16, 4, 2), 3
    acc = [*range(-20, 21), -(1 << 15), (1 << 15) - 1]
    rows = np.array(
        [(a, b, s, t) for a in acc for b in range(-9, 10) for s in range(1 << 4) for t in (0, 1)]
    )
    a, b, s, t = rows.T
    results, expected = requantized(fmt, bits, a, b * fmt.base_unit, s * fmt.step_unit, t)
    assert results == expected


@pytest.mark.parametrize("fmt", [EsbFormat(4, 2), EsbFormat(4, 1, signed=False), EsbFormat(2, 0)])
def test_running_max(fmt, rng):
    lanes, dut = 3, RunningMax(fmt, 3)
    codes = rng.integers(0, 1 << fmt.bits, (200, lanes))
    clear, enable = rng.random(200) < 0.2, rng.random(200) < 0.7
    clear[0] = enable[0] = True

    def drive(ctx, k):
        ctx.set(dut.acts, word(codes[k], fmt.bits))
        ctx.set(dut.clear, int(clear[k]))
        ctx.set(dut.enable, int(enable[k]))

    results = pipeline(dut, drive, 200, lambda ctx: ctx.get(dut.codes))
    expected: list[int] = []
    steps: list[np.ndarray] = []
    for k in range(200):
        if enable[k]:
            steps = [codes[k]] if clear[k] else [*steps, codes[k]]
        expected.append(word(dut.compute(np.array(steps)), fmt.bits))
    assert results == expected


def test_a_maximum_takes_tables_of_six_inputs(monkeypatch):
    """Codes of any width are compared by two bits of each at a time."""
    inputs = []

    def recorded(index, function, width):
        inputs.append(len(index))
        return truth_table(index, function, width)

    monkeypatch.setattr(pool, "truth_table", recorded)
    for bits in range(2, 9):
        rtlil.convert(RunningMax(EsbFormat(bits, 0), 1))
    assert max(inputs) == 6


def test_lane_order_is_the_images():
    assert int.from_bytes(pack_lanes([[1, 2, 3, 4]], 4).tobytes(), "little") == word(
        [1, 2, 3, 4], 4
    )


def test_leaves_convert():
    for leaf in (
        DotProduct(EsbFormat(5, 2), EsbFormat(4, 1), 4),
        Requantizer(ParamFormat(20), 8),
        Steps(ParamFormat(20), 8),
        RunningMax(EsbFormat(4, 2), 4),
    ):
        assert "module \\top" in rtlil.convert(leaf)


@pytest.mark.parametrize(("bits", "radix"), [(16, 1), (24, 3), (32, 7)])
def test_accumulators_wrap_at_their_width(bits: int, radix: int, rng: np.random.Generator) -> None:
    """The register has as many bits as the ArchConfig says, no more and no fewer; sums and shifts
    are modulo that."""
    dut = Accumulator(bits, 12, radix)
    assert (len(dut.acc), dut.parameters) == (bits, (bits, 12, radix))
    wrapped = 0

    async def test(ctx: Any) -> None:
        nonlocal wrapped
        exact = 0
        for step in range(200):
            dot, carry = int(rng.integers(-(1 << 11), 1 << 11)), int(rng.integers(2))
            clear, shift = step % 50 == 0, bool(rng.random() < 0.5)
            for signal, value in ((dut.enable, 1), (dut.clear, clear), (dut.shift, shift)):
                ctx.set(signal, value)
            await ctx.tick()
            ctx.set(dut.enable, 0)
            ctx.set(dut.dot, dot)
            ctx.set(dut.carry, carry)
            await ctx.tick()
            exact = (0 if clear else exact << radix if shift else exact) + dot + carry
            assert ctx.get(dut.acc) == wrap(exact, bits)
            wrapped += wrap(exact, bits) != exact
            exact = int(wrap(exact, bits))

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()
    assert wrapped > 10
