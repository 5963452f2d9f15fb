"""Values of the interpreter: the narrowest type that holds them, the fastest that is exact;
slots outside the memory."""

from dataclasses import replace

import numpy as np
import pytest

from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.formats import EsbFormat, LevelFormat
from sigbit_sim.interp.exec_nest import Activations, Misuse, _value_tables

NANO = PRESETS["nano"]


@pytest.mark.parametrize(
    ("fmt", "dtype"),
    [
        (EsbFormat(4, 2), np.int8),  # -7 … 7
        (EsbFormat(8, 6), np.int8),  # -127 … 127
        (EsbFormat(8, 7, False), np.int16),  # 0 … 255
        (EsbFormat(8, 5), np.int16),
        (LevelFormat((0, 1, 2, 128)), np.int16),
    ],
)
def test_values_take_little_memory(fmt: EsbFormat, dtype: type) -> None:
    acts = Activations(replace(NANO, act_format=fmt), strict=False)
    assert acts.values.dtype == dtype
    codes = np.arange(1 << fmt.bits, dtype=np.uint8)
    acts.write(np.arange(len(codes)), codes[:, None].repeat(NANO.ic_lanes, 1))
    assert np.array_equal(acts.values[: len(codes), 0], fmt.decode(codes))
    assert acts.values.shape == acts.codes.shape == (NANO.act_slots, NANO.ic_lanes)


def test_sums_are_exact_in_the_fastest_type() -> None:
    """Products of powers of two, whose sums reach the bounds exactly."""
    config = replace(NANO, weight_format=EsbFormat(4, 0), act_format=EsbFormat(4, 0))
    formats = config.weight_format, config.act_format
    largest = formats[0].max * formats[1].max
    for bits, own, beyond in ((24, np.float32, np.float64), (53, np.float64, np.int64)):
        depth = (1 << bits) // largest
        assert depth * largest == 1 << bits
        for count, dtype in ((depth, own), (depth + 1, beyond)):
            tables = _value_tables(config, count)
            assert [t.dtype for t in tables] == [dtype] * 2
            for table, fmt in zip(tables, formats, strict=True):
                assert np.array_equal(table, fmt.decode(np.arange(1 << fmt.bits)))


def test_slots_outside_are_named() -> None:
    """The first of those that lanes read beyond either end."""
    acts, last = Activations(NANO, strict=False), NANO.act_slots - 1
    both = np.ones((1, 2), bool)

    def slots(bases: list[int], taps: list[int], valid: np.ndarray = both) -> list[list[int]]:
        return acts.slots(np.array([bases]), np.array(taps), valid)[0].tolist()

    assert slots([1, last - 2], [-1, 2]) == [[0, 3], [last - 3, last]]
    assert slots([5, last + 9], [0], np.array([[True, False]])) == [[5], [5]]
    for bases, taps, outside in (
        ([7, 0], [1, -1], -1),
        ([0, 7], [-2, 0], -2),
        ([0, last], [0, 1], last + 1),
        ([last, 0], [0, 3], last + 3),
    ):
        with pytest.raises(Misuse, match=f"reads slot {outside} of {NANO.act_slots}"):
            slots(bases, taps)
