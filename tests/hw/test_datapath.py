"""The leaves of the data path against their golden models, an input every cycle."""

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.images import pack_lanes
from sigbit_hw.arch.numerics import wrap
from sigbit_hw.gateware.compute.array import MacArray
from sigbit_hw.gateware.compute.mac import DotProduct
from sigbit_hw.gateware.compute.pool import RunningMax
from sigbit_hw.gateware.compute.requant import Requantizer


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
    for k, pool in enumerate((False, True)):
        valid[k] = control["clear"][k] = True
        control["pool"][k] = pool

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


@pytest.mark.parametrize("acc_bits", [16, 20, 24, 32])
def test_requantizer(acc_bits, rng):
    n = 400
    dut = Requantizer(acc_bits)
    size = rng.integers(0, acc_bits, n)
    half = 1 << (acc_bits - 1)
    total = np.clip(rng.integers(-half, half, n) >> size, -half, half - 1)
    total[:4] = -half, half - 1, 0, -1
    bias = np.clip(
        rng.integers(-half, half, n),
        np.maximum(total - half + 1, -half),
        np.minimum(total + half, half - 1),
    )
    acc = total - bias
    mantissa = rng.integers(0, 16, n)
    shift = np.where(
        rng.random(n) < 0.5,
        rng.integers(0, 32, n),
        np.clip(acc_bits - size - 5 + rng.integers(-3, 4, n), 0, 31),
    )
    for k in range(64):  # near the ends of y's range, at every shift
        limit = (int(rng.integers(500, 1100)) << k // 2) >> 3
        acc[k + 4], bias[k + 4] = min(limit, half - 1) * (-1) ** k, 0
        mantissa[k + 4], shift[k + 4] = rng.integers(8, 16), k // 2
    acc[-1], bias[-1], mantissa[-1], shift[-1] = 4, 0, 8, 0  # a tie, rounded up
    acc[-2], bias[-2], mantissa[-2], shift[-2] = 255, 0, 8, 1  # 127.5

    def drive(ctx, k):
        ctx.set(dut.acc, int(acc[k]))
        ctx.set(
            dut.param, {"bias": int(bias[k]), "mantissa": int(mantissa[k]), "shift": int(shift[k])}
        )

    results = pipeline(dut, drive, n, lambda ctx: ctx.get(dut.y))
    assert results == dut.compute(acc, bias, mantissa, shift).tolist()
    assert len(set(results)) > 50


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


def test_lane_order_is_the_images():
    assert int.from_bytes(pack_lanes([[1, 2, 3, 4]], 4).tobytes(), "little") == word(
        [1, 2, 3, 4], 4
    )


def test_leaves_convert():
    for leaf in (
        DotProduct(EsbFormat(5, 2), EsbFormat(4, 1), 4),
        Requantizer(20),
        RunningMax(EsbFormat(4, 2), 4),
    ):
        assert "module \\top" in rtlil.convert(leaf)
