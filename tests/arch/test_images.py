"""Codes and parameters as bytes."""

from dataclasses import replace

import numpy as np
import pytest

from sigbit_hw.arch import images
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import LoadKind


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


def test_parameters(rng):
    bias = np.concatenate([[-(1 << 31), (1 << 31) - 1], rng.integers(-(1 << 31), 1 << 31, 20)])
    mantissa, shift = rng.integers(0, 16, 22), rng.integers(0, 32, 22)
    data = images.pack_params(bias, mantissa, shift)
    assert data.size == 22 * images.ITEM_BYTES
    for got, expected in zip(images.unpack_params(data), (bias, mantissa, shift), strict=True):
        assert (got == expected).all()
    item = int.from_bytes(data[:8].tobytes(), "little")
    assert item == (1 << 31) | int(mantissa[0]) << 32 | int(shift[0]) << 36


@pytest.mark.parametrize(
    ("name", "values"), [("bias", (1 << 31, 8, 0)), ("mantissa", (0, 16, 0)), ("shift", (0, 8, 32))]
)
def test_parameters_out_of_range(name, values):
    with pytest.raises(ValueError, match=f"{name} must be in"):
        images.pack_params(*([v] for v in values))


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
