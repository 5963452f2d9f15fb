"""Formats given by their levels, and formats as JSON."""

import numpy as np
import pytest

from sigbit_hw.arch.formats import EsbFormat, Format, LevelFormat

APOT = LevelFormat((0, 1, 2, 3, 4, 6, 8, 10))


def test_levels_are_indexed_by_the_magnitude_field() -> None:
    assert (APOT.bits, APOT.magnitude_bits, APOT.max, APOT.min) == (4, 3, 10, -10)
    assert APOT.decode(range(16)).tolist() == [*APOT.levels, *(-level for level in APOT.levels)]
    assert APOT.decode(APOT.quantize([5.0, 4.9, -5, 99, -0.4])).tolist() == [6, 4, -6, 10, 0]


@pytest.mark.parametrize(
    "fmt",
    [EsbFormat(b, k, s) for s in (True, False) for b in (2, 3, 4, 8) for k in range(b - s)],
    ids=str,
)
def test_the_levels_of_an_esb_format_make_the_same_format(fmt: EsbFormat) -> None:
    same = LevelFormat(fmt.magnitudes, fmt.signed)
    assert same.values == fmt.values
    assert same.bits == fmt.bits
    assert same.lane_bits == fmt.lane_bits >= fmt.bits
    codes = np.arange(1 << fmt.bits)
    assert (same.decode(codes) == fmt.decode(codes)).all()


@pytest.mark.parametrize("fmt", [EsbFormat(4, 1), EsbFormat(2, 1, False), APOT], ids=str)
def test_json_round_trip(fmt: Format) -> None:
    assert Format.from_json(fmt.to_json()) == fmt


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((0, 1, 2), "a power of two of magnitudes, 2 to 128, not 3"),
        ((1, 2), "integers that ascend from 0"),
        ((0, 2, 2, 4), "integers that ascend from 0"),
        ((0, 1.5), "integers that ascend from 0"),
        ((0,), "a power of two of magnitudes, 2 to 128, not 1"),
    ],
)
def test_wrong_levels_are_refused(levels: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LevelFormat(levels)


@pytest.mark.parametrize("value", [None, {"bits": 4}, {"levels": 3, "signed": True}])
def test_wrong_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a format must have"):
        Format.from_json(value)
