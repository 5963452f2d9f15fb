"""ArchConfig: what it accepts, what it derives, what identifies it."""

import json
import os
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from sigbit_hw.arch import bus
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat

NANO = PRESETS["nano"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": 3}, "pixels must be a power of two, not 3"),
        ({"ic_lanes": 0}, "ic_lanes must be a power of two, not 0"),
        ({"act_slots": 4096.0}, "act_slots must be a power of two, not 4096.0"),
        ({"pixels": 1}, "pixels must be at least 2, not 1"),
        ({"weight_format": EsbFormat(4, 1, signed=False)}, "weight_format must be signed"),
        ({"oc_lanes": 2}, r"oc_lanes must be a multiple of ic_lanes \(4\), not 2"),
        ({"post_lanes": 2}, r"post_lanes must be a multiple of ic_lanes \(4\).*not 2"),
        ({"post_lanes": 16}, r"post_lanes .* at most pixels \* ic_lanes \(8\), not 16"),
        (
            {"post_lanes": 16, "oc_lanes": 8, "pixels": 4},
            r"at most oc_lanes \(8\) unless oc_lanes equals ic_lanes \(4\), not 16",
        ),
        ({"ports": 3}, "ports must be a power of two, not 3"),
        ({"ports": 2}, r"ports must be 1, 2 or 4, .* 2 ports cannot share 64 bits"),
        ({"ports": 8, "bus_bits": 512}, r"ports must be 1, 2 or 4, .* 8 ports"),
        ({"acc_bits": 15}, r"acc_bits must be in \[16, 32\], not 15"),
        (
            {"weight_format": EsbFormat(8, 2)},
            r"acc_bits must be at least 39, not 24: a sum of 4 products of s\(8,2\) and s\(4,2\)",
        ),
        (
            {"step_bits": 14},
            r"step_bits must be in \[15, 37\] with 14 fraction_bits.*24 bits, not 14",
        ),
        ({"step_bits": 38}, r"step_bits must be in \[15, 37\].*, not 38"),
        ({"step_bits": 28.0}, r"step_bits must be an integer, not 28\.0"),
        ({"fraction_bits": 0}, r"fraction_bits must be in \[1, 16\], not 0"),
        ({"fraction_bits": 17}, r"fraction_bits must be in \[1, 16\], not 17"),
        ({"acc_bits": 32, "step_bits": 30}, r"step_bits must be in \[15, 29\].*, not 30"),
        ({"ultra_ram": 1}, "ultra_ram must be true or false, not 1"),
        ({"result_bits": 3}, r"result_bits must be in \[4, 8\] with activations of 4 bits, not 3"),
        ({"result_bits": 9}, r"result_bits must be in \[4, 8\].*, not 9"),
        ({"term_radix_bits": 0}, r"term_radix_bits must be in \[1, 7\], not 0"),
        ({"bus_bits": 32}, "bus_bits must be 64, 128, 256 or 512, not 32"),
        ({"bus_bits": 128}, r"a weight word .*64 bits.* must be a multiple of bus_bits"),
        (
            {"act_format": EsbFormat(2, 0), "ic_lanes": 2, "oc_lanes": 8},
            r"a slot \(2 \* 2 = 4 bits\) must be whole bytes",
        ),
        ({"segments": 32}, "segments must be at most 16, not 32"),
        ({"tables": 32}, "tables must be at most 16, not 32"),
        ({"act_slots": 4}, r"act_slots must be at least 4 \* pixels \(8\), not 4"),
        ({"weight_words": 1 << 17}, "weight_words must be at most 65536"),
        ({"param_groups": 1 << 13}, "param_groups must be at most 4096"),
        ({"burst_beats": 512}, "a burst of 512 beats of 64 bits must fit 256 beats and 4096 bytes"),
        (
            {"oc_lanes": 32, "bus_bits": 512, "burst_beats": 128},
            "a burst of 128 beats of 512 bits must fit 256 beats and 4096 bytes",
        ),
        (
            {"oc_lanes": 32, "bus_bits": 512, "burst_beats": 256, "ports": 2},
            "a burst of 256 beats of 256 bits must fit 256 beats and 4096 bytes",
        ),
    ],
)
def test_validation_names_field_and_limit(change, message):
    with pytest.raises(ValueError, match=message):
        replace(NANO, **change)


@pytest.mark.parametrize("config", PRESETS.values(), ids=list(PRESETS))
def test_json_round_trip(config):
    again = ArchConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert again.digest == config.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("pixels"), r"missing ArchConfig fields \['pixels'\]"),
        (lambda v: v.update(lanes=4), r"unknown ArchConfig fields \['lanes'\]; known are"),
        (lambda v: v.update(act_format={"bits": 4}), "act_format: a format must have bits, frac"),
        (lambda v: v.update(pixels=3), "pixels must be a power of two"),
    ],
)
def test_json_errors(change, message):
    value = NANO.to_json()
    change(value)
    with pytest.raises(ValueError, match=message):
        ArchConfig.from_json(value)


@pytest.mark.parametrize(("beats", "ports"), [(64, 1), (128, 2), (256, 4)])
def test_a_burst_may_fill_a_page_of_every_port(beats, ports):
    wide = replace(NANO, oc_lanes=32, bus_bits=512, burst_beats=beats, ports=ports)
    assert wide.burst_beats * wide.port_bytes == bus.PAGE_BYTES


def test_accumulators_hold_one_dot_product():
    """The least width is that of a whole dot product, exactly."""
    lanes = {"ic_lanes": 8, "oc_lanes": 8, "post_lanes": 8}
    wide = replace(NANO, weight_format=EsbFormat(4, 0), act_format=EsbFormat(5, 1), **lanes)
    product = wide.weight_format.max * wide.act_format.max * wide.ic_lanes
    assert (product.bit_length() + 1, wide.dot_bits) == (18, 18)
    assert replace(wide, acc_bits=18).acc_bits == 18
    with pytest.raises(ValueError, match="acc_bits must be at least 18, not 17: a sum of 8"):
        replace(wide, acc_bits=17)


def test_json_must_be_an_object():
    with pytest.raises(ValueError, match="must be a JSON object, not list"):
        ArchConfig.from_json([])


def test_digest_depends_on_every_field_but_name_and_kind_of_memory():
    base = replace(
        PRESETS["zcu102"],
        bus_bits=256,
        burst_beats=8,
        segments=8,
        oc_lanes=32,
        post_lanes=32,
        ports=2,
    )
    digests = {base.digest}
    special = {
        "weight_format": EsbFormat(4, 2),
        "act_format": EsbFormat(4, 1),
        "acc_bits": 25,
        "term_radix_bits": 2,
        "bus_bits": 128,
        "ports": 1,
        "post_lanes": 16,
        "step_bits": 27,
        "fraction_bits": 13,
        "result_bits": 7,
        "name": "other",
        "ultra_ram": True,
    }
    for field in fields(ArchConfig):
        value = special.get(field.name) or getattr(base, field.name) * 2
        changed = replace(base, **{field.name: value})
        assert changed != base
        if field.name in ("name", "ultra_ram"):
            assert changed.digest == base.digest
        else:
            digests.add(changed.digest)
    assert len(digests) == len(fields(ArchConfig)) - 1


def test_digest_is_the_same_in_another_process():
    script = "from sigbit_hw.arch.config import PRESETS; print(PRESETS['nano'].digest)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    got = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert got == NANO.digest
    assert len(got) == 64


@pytest.mark.parametrize(
    ("preset", "macs"),
    [
        ("nano", 32),
        ("micro", 256),
        ("ecp5", 512),
        ("mid", 1024),
        ("mobile", 1024),
        ("zcu102", 8192),
        ("kv260", 4096),
        ("dense", 8192),
    ],
)
def test_presets(preset, macs):
    config = PRESETS[preset]
    assert config.name == preset
    assert config.macs == macs == config.pixels * config.oc_lanes * config.ic_lanes


@pytest.mark.parametrize("config", PRESETS.values(), ids=list(PRESETS))
def test_derived_widths(config):
    largest = config.ic_lanes * config.weight_format.max * config.act_format.max
    half = 1 << (config.dot_bits - 1)
    assert -half <= -largest
    assert largest <= half - 1
    assert largest > half // 2 - 1
    assert config.slots_per_block * config.ic_lanes == config.oc_lanes
    assert config.groups_per_block * config.param_lanes == config.oc_lanes
    assert config.drain_slots * config.drain_pixels * config.ic_lanes == config.post_lanes
    assert config.drain_slots * config.drain_pixels <= config.pixels
    per_plane = config.pixels * config.oc_lanes // config.post_lanes
    assert config.drain_cycles(3) == 3 * per_plane
    assert config.ports * config.port_bytes == config.bus_bytes
