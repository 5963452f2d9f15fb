"""Codes and parameters as bytes."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigbit_hw.arch import images
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import LoadKind
from sigbit_hw.arch.numerics import UNIT
from sigbit_hw.arch.params import ITEM_BYTES


@pytest.mark.parametrize("bits", range(1, 9))
def test_lanes_lie_little_endian(bits, rng):
    codes = rng.integers(0, 1 << bits, (5, 8), dtype=np.uint8)
    data = images.pack_lanes(codes, bits)
    for row, packed in zip(codes, data, strict=True):
        word = int.from_bytes(packed.tobytes(), "little")
        assert word == sum(int(c) << (bits * lane) for lane, c in enumerate(row))
    assert (images.unpack_lanes(data, bits) == codes).all()


@pytest.mark.parametrize("preset", list(PRESETS))
def test_weights_and_slots_round_trip(preset, rng):
    c = PRESETS[preset]
    weights = rng.integers(0, 1 << c.weight_format.bits, (3, c.oc_lanes, c.ic_lanes))
    data = images.pack_weights(weights, c)
    assert data.size == 3 * c.weight_word_bytes
    assert (images.unpack_weights(data, c) == weights).all()
    word = int.from_bytes(data[: c.weight_word_bytes].tobytes(), "little")
    lane = c.ic_lanes + 1
    bits = c.weight_format.bits
    assert word >> (bits * lane) & ((1 << bits) - 1) == weights[0, 1, 1]
    slots = rng.integers(0, 1 << c.act_format.bits, (7, c.ic_lanes))
    data = images.pack_slots(slots, c)
    assert data.size == 7 * c.slot_bytes
    assert (images.unpack_slots(data, c) == slots).all()


@pytest.mark.parametrize(
    ("acc_bits", "step_bits", "fraction_bits", "base_fraction_bits"),
    [(24, 28, 14, 10), (32, 28, 14, 2), (16, 28, 14, 14), (24, 20, 6, 6), (24, 24, 16, 14)],
)
def test_parameters(acc_bits, step_bits, fraction_bits, base_fraction_bits, rng):
    config = replace(
        PRESETS["nano"], acc_bits=acc_bits, step_bits=step_bits, fraction_bits=fraction_bits
    )
    fmt = config.params
    assert fmt.base_fraction_bits == base_fraction_bits
    half = 1 << (fmt.base_bits - 1)
    base = np.concatenate([[-half, half - 1], rng.integers(-half, half, 20)]) * fmt.base_unit
    step = np.concatenate([[1, (1 << step_bits) - 1], rng.integers(1, 1 << step_bits, 20)])
    tie = rng.integers(0, 2, 22)
    data = images.pack_params(base, step * fmt.step_unit, tie, config=config)
    assert data.size == 22 * ITEM_BYTES
    found = images.unpack_params(data, config)
    for got, expected in zip(found, (base, step * fmt.step_unit, tie), strict=True):
        assert (got == expected).all()
    items = [int.from_bytes(data[8 * k : 8 * k + 8].tobytes(), "little") for k in range(22)]
    for item, b, s, t in zip(items, base // fmt.base_unit, step, tie, strict=True):
        stored = int(b) & ((1 << fmt.base_bits) - 1)
        assert item == int(s) | int(t) << step_bits | stored << (step_bits + 1)
    spare = 8 * ITEM_BYTES - step_bits - 1 - fmt.base_bits
    dirty = data.view("<u8") | np.uint64(((1 << spare) - 1) << (8 * ITEM_BYTES - spare))
    for got, expected in zip(
        images.unpack_params(dirty.view(np.uint8), config), found, strict=True
    ):
        assert (got == expected).all(), "bits above the base are not ignored"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("base", (1 << 40, 4, 0), r"in \["),
        ("base", (-(1 << 40) - 64, 4, 0), r"in \["),
        ("base", (32, 4, 0), "a multiple of 64, not 32"),
        ("step", (0, 0, 0), r"in \[4, 1073741820\]"),
        ("step", (0, 1 << 30, 0), r"in \["),
        ("step", (0, 6, 0), "a multiple of 4, not 6"),
        ("tie", (0, 4, 2), r"in \[0, 1\]"),
    ],
)
def test_parameters_out_of_range(name, values, message):
    with pytest.raises(ValueError, match=f"{name} must be {message}"):
        images.pack_params(*([v] for v in values), config=PRESETS["nano"])


@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_parameters_of_a_scale_are_the_nearest(scale, offset):
    fmt = PRESETS["nano"].params
    base, step = (int(v) for v in fmt.affine(scale, offset))
    fmt.check(base, step, 0)
    assert abs(Fraction(step, 65536) - 1 / Fraction(scale)) <= Fraction(1, 1 << 15) * (
        1 + Fraction(1, 1 << 20)
    )
    wanted = (Fraction(offset) + Fraction(1, 2)) * Fraction(step, 65536)
    assert abs(Fraction(base, 65536) - wanted) <= Fraction(1, 1 << 11) * (1 + Fraction(1, 1 << 20))


def test_halves_of_a_unit_go_up():
    """Steps and bases, also below zero; the smallest step stands for everything below it."""
    fmt = PRESETS["nano"].params
    units = np.array([-1.5, 0.5, 1.5, 2.5, 2.5 - 2**-20])
    steps = fmt.nearest_step(units / 2.0**fmt.fraction_bits, np) * 2.0**fmt.fraction_bits
    assert steps.tolist() == [1, 1, 2, 3, 2]
    bases = fmt.nearest_base(units / 2.0**fmt.base_fraction_bits, np) * 2.0**fmt.base_fraction_bits
    assert bases.tolist() == [-1, 1, 2, 3, 2]
    most = fmt.step_max / UNIT
    assert fmt.nearest_step(np.array([most, 2 * most]), np).tolist() == [most, most]


@pytest.mark.parametrize(("bits", "lane"), [(2, 2), (3, 4), (4, 4), (5, 8), (8, 8)])
def test_tables(bits, lane, rng):
    """An entry takes as many bits as a lane of a slot, entry 0 the lowest of the first byte."""
    config = replace(PRESETS["nano"], act_format=EsbFormat(bits, bits - 2))
    tables = rng.integers(0, 1 << bits, (3, 256))
    data = images.pack_table(tables, config)
    assert data.size == 3 * images.item_bytes(LoadKind.TABLE, config) == 3 * 32 * lane
    assert (images.unpack_table(data, config) == tables).all()
    at = 5 * lane
    assert data[at // 8] >> at % 8 & (1 << lane) - 1 == tables[0, 5]


@pytest.mark.parametrize("ports", [1, 2, 4])
def test_ports_carry_parts_of_every_beat(ports, rng):
    config = replace(PRESETS["zcu102"], bus_bits=256, ports=ports)
    data = rng.integers(0, 256, 7 * 32, dtype=np.uint8)
    parts = images.split_ports(data, config)
    assert [p.size for p in parts] == [data.size // ports] * ports
    width = 32 // ports
    for address, byte in enumerate(data):
        beat, place = divmod(address, 32)
        assert parts[place // width][beat * width + place % width] == byte
    assert (images.join_ports(parts, config) == data).all()


def test_beats():
    nano = PRESETS["nano"]
    assert [images.beats(n, nano) for n in (1, 8, 9, 16)] == [1, 1, 2, 2]
