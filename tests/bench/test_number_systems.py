"""The configurations of ``sigbit bench number-systems``: all widths and number systems, one shape,
rules that are stated."""

import pytest
from amaranth.hdl import signed, unsigned
from amaranth.sim import Simulator

from sigbit.bench.number_systems.systems import (
    NAMED,
    SYSTEMS,
    WIDTHS,
    acc_bits,
    accelerator,
    radix,
    refusal,
    sample,
)
from sigbit.quant import QuantSpec
from sigbit_hw.arch.formats import EsbFormat, TermGrid
from sigbit_synthesis import Target
from sigbit_synthesis.twos_complement import PlainDot, plain_dot

BUILT = [s for s in SYSTEMS if refusal(s) is None]
BY_KEY = {s.key: s for s in SYSTEMS}


def test_every_width_has_every_number_system():
    assert len(BY_KEY) == len(SYSTEMS)
    assert {s.widths for s in SYSTEMS} == set(WIDTHS)
    for widths in WIDTHS:
        names = {s.name for s in SYSTEMS if s.widths == widths}
        assert "integer" in names
        assert {"power of two", "power of two x integer"} & names
    four = {s.name for s in SYSTEMS if s.widths == (4, 4)}
    assert {"ESB k=1", "ESB k=1 x integer", "APoT", "APoT x integer"} <= four
    eight = {s.name for s in SYSTEMS if s.widths == (8, 8)}
    assert {f"ESB k={k}" for k in range(1, 6)} <= eight


def test_integers_are_evenly_spaced_and_powers_are_powers():
    for system in SYSTEMS:
        if system.name == "integer":
            for native in (system.weights, system.acts):
                assert native.magnitudes == tuple(range(len(native.magnitudes)))
        if system.name == "power of two":
            assert all(
                m & (m - 1) == 0 for m in (*system.weights.magnitudes, *system.acts.magnitudes)
            )


def test_all_have_one_shape_of_at_least_1024():
    shapes = {
        (c.pixels, c.oc_lanes, c.ic_lanes, c.post_lanes, c.bus_bits, c.act_slots, c.weight_words)
        for c in map(accelerator, BUILT)
    }
    assert len(shapes) == 1
    assert accelerator(BUILT[0]).macs >= 1024
    assert all(c.macs >= 512 for c in NAMED)


@pytest.mark.parametrize("system", BUILT, ids=lambda s: s.key)
def test_accumulators_follow_the_rule(system):
    config = accelerator(system)
    assert config.acc_bits == max(16, min(32, config.dot_bits + 12)) == acc_bits(system)
    assert config.acc_bits >= config.dot_bits + 6
    small = sample(config)
    assert (small.macs, small.acc_bits) == (128, config.acc_bits)


def test_what_does_not_fit_is_refused_with_the_reason():
    esb = BY_KEY["w8a8-esb-k2"]
    assert "a sum of 32 products needs 72 bits" in refusal(esb)
    with pytest.raises(ValueError, match="w8a8-esb-k2: a sum of 32 products"):
        accelerator(esb)


def test_the_radix_leaves_no_gaps():
    assert radix(EsbFormat(4, 1), EsbFormat(4, 2)) == 3
    assert radix(EsbFormat(2, 0), EsbFormat(2, 1, False)) == 2
    assert radix(EsbFormat(4, 1), EsbFormat(8, 6)) == 3
    for system in BUILT:
        grid = TermGrid(system.acts, radix(system.weights, system.acts), 2)
        assert grid.contiguous > TermGrid(system.acts, 1, 1).contiguous, system.key


def test_all_but_overlapping_two_bits_store_bytes():
    for system in BUILT:
        spec = QuantSpec.from_arch(accelerator(system))
        if system.key != "w2a2-power-of-two":
            assert spec.byte_planes <= 4


@pytest.mark.parametrize("act", [signed(4), unsigned(2)], ids=str)
def test_the_comparator_multiplies(act, rng):
    lanes, cycles = 4, 40
    dut = PlainDot(3, act, lanes, 16)
    low = -8 if act.signed else 0
    weights = rng.integers(-4, 4, (cycles, lanes))
    acts = rng.integers(low, low + (1 << act.width), (cycles, lanes))
    totals = []

    async def bench(ctx):
        latency = 4  # products, two levels, accumulator
        for k in range(cycles + latency):
            for lane in range(lanes):
                ctx.set(dut.weights[lane], int(weights[k, lane]) if k < cycles else 0)
                ctx.set(dut.acts[lane], int(acts[k, lane]) if k < cycles else 0)
            if k >= latency:
                totals.append(ctx.get(dut.acc))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert totals == (weights * acts).sum(1).cumsum().tolist()


@pytest.mark.synth
def test_the_comparator_has_no_dsp_blocks():
    cells, digest = plain_dot(2, 2, False, 8, 16, Target.ECP5)
    assert cells.lut > 8
    assert (cells.dsp, len(digest)) == (0, 64)
