"""ESB grids and sums of terms, exhaustively, against definitions written differently."""

from itertools import product

import numpy as np
import pytest

from sigbit_hw.arch.formats import EsbFormat, TermGrid

FORMATS = [EsbFormat(b, k, s) for s in (True, False) for b in range(2, 9) for k in range(b - s)]
each_format = pytest.mark.parametrize("fmt", FORMATS, ids=str)


def literal_value(fmt: EsbFormat, code: int) -> int:
    """The value of a code, from the definition of the fields, bit by bit."""
    e, k = fmt.exponent_bits, fmt.frac
    mantissa, exponent = code % 2**k, code // 2**k % 2**e
    sign = code // 2 ** (e + k) if fmt.signed else 0
    mag = mantissa if exponent == 0 else (2**k + mantissa) * 2 ** (exponent - 1)
    return -mag if sign else mag


@each_format
def test_fields_fill_the_bits(fmt):
    assert fmt.signed + fmt.exponent_bits + fmt.frac == fmt.bits
    assert fmt.exponent_bits >= 1


@each_format
def test_decode_is_the_definition(fmt):
    got = fmt.decode(np.arange(1 << fmt.bits))
    assert [int(v) for v in got] == [literal_value(fmt, c) for c in range(1 << fmt.bits)]


@each_format
def test_encode_inverts_decode(fmt):
    values = np.array([float(v) for v in fmt.values])
    codes = fmt.encode(values)
    assert (fmt.decode(codes) == values).all()
    assert len(set(codes.tolist())) == len(values)
    minus_zero = 1 << (fmt.bits - 1) if fmt.signed else None
    assert minus_zero not in codes.tolist()


@each_format
def test_code_order_is_magnitude_order(fmt):
    assert list(fmt.magnitudes) == sorted(set(fmt.magnitudes))
    assert len(fmt.magnitudes) == 1 << fmt.magnitude_bits
    assert len(fmt.values) == (1 << fmt.bits) - fmt.signed
    assert fmt.values[-1] == fmt.max
    assert fmt.values[0] == fmt.min


@each_format
def test_quantize_is_nearest_with_ties_away_and_saturates(fmt, rng):
    """Against all distances, at grid points, ties, and just beside them. All numbers are
    multiples of 2**-10 below 2**42, hence all distances exact in float64."""
    mags = np.array([float(m) for m in fmt.magnitudes if m < 1 << 40])
    ties = (mags[1:] + mags[:-1]) / 2
    inside = np.floor(rng.uniform(0, mags[-1], 64) * 1024) / 1024
    beyond = 2 * mags[-1] if len(mags) == len(fmt.magnitudes) else mags[-1]
    x = np.concatenate([mags, ties, ties + 2**-10, ties - 2**-10, inside, [beyond]])
    descending = mags[::-1]
    best = descending[np.abs(x[:, None] - descending).argmin(1)]
    assert (fmt.decode(fmt.quantize(x)) == best).all()
    codes = fmt.quantize(-x)
    assert (fmt.decode(codes) == (-best if fmt.signed else 0)).all()
    if fmt.signed:
        assert 1 << (fmt.bits - 1) not in codes.tolist(), "minus zero"


@each_format
def test_quantize_is_monotone(fmt, rng):
    x = np.sort(rng.normal(0, min(fmt.max, 1e6), 500))
    assert (np.diff(fmt.decode(fmt.quantize(x))) >= 0).all()


@pytest.mark.parametrize("bits", range(2, 9))
def test_one_exponent_bit_is_fixed_point(bits):
    fmt = EsbFormat(bits, bits - 2)
    assert fmt.values == tuple(range(1 - (1 << (bits - 1)), 1 << (bits - 1)))
    unsigned = EsbFormat(bits, bits - 1, signed=False)
    assert unsigned.values == tuple(range(1 << bits))


@pytest.mark.parametrize("bits", range(2, 9))
def test_no_fraction_is_powers_of_two(bits):
    assert EsbFormat(bits, 0).magnitudes == (0, *(2**i for i in range((1 << (bits - 1)) - 1)))


def test_ternary():
    assert EsbFormat(2, 0).values == (-1, 0, 1)


@pytest.mark.parametrize(
    ("bits", "frac", "magnitudes"),
    [
        (3, 0, [0, 1, 2, 4]),
        (3, 1, [0, 0.5, 1, 1.5]),
        (4, 0, [0, 1, 2, 4, 8, 16, 32, 64]),
        (4, 1, [0, 0.5, 1, 1.5, 2, 3, 4, 6]),
        (4, 2, [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]),
        (5, 1, [0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96]),
        (5, 2, [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7]),
    ],
)
def test_published_magnitudes(bits, frac, magnitudes):
    assert [m / 2**frac for m in EsbFormat(bits, frac).magnitudes] == magnitudes


@pytest.mark.parametrize(
    ("bits", "frac", "width"),
    [
        (2, 0, 1),
        (3, 0, 3),
        (3, 1, 2),
        (4, 0, 7),
        (4, 1, 4),
        (4, 2, 3),
        (5, 1, 8),
        (5, 2, 5),
        (5, 3, 4),
        (6, 2, 9),
        (6, 3, 6),
        (8, 4, 11),
        (8, 5, 8),
        (8, 6, 7),
    ],
)
def test_published_widths(bits, frac, width):
    fmt = EsbFormat(bits, frac)
    assert fmt.range_bits == width
    assert fmt.max == 2**width - 2 ** (width - 1 - frac)


def test_published_example():
    """Fig. 4 of arXiv 2109.03513: ESB(5, 2) with alpha = 0.625, to its two decimals."""
    data = np.array(
        [
            [2.17, 1.62, 1.24, 0.76, 0.68],
            [1.91, 2.72, 3.06, 2.81, 2.37],
            [2.21, 2.67, 1.33, 1.46, 0.59],
            [4.00, 4.38, 1.67, 2.98, 0.61],
        ]
    )
    figure = [
        [2.19, 1.56, 1.25, 0.78, 0.63],
        [1.88, 2.50, 3.13, 2.50, 2.50],
        [2.19, 2.50, 1.25, 1.56, 0.63],
        [3.75, 4.38, 1.56, 3.13, 0.63],
    ]
    fmt, lsb = EsbFormat(5, 2), 0.625 / 4
    got = fmt.decode(fmt.quantize(data / lsb)) * lsb
    assert (np.floor(got * 100 + 0.5) / 100).tolist() == figure


def test_errors_name_what_is_allowed():
    with pytest.raises(ValueError, match=r"bits must be in \[2, 8\], not 9"):
        EsbFormat(9, 1)
    with pytest.raises(ValueError, match=r"frac must be in \[0, 2\] for 4 signed bits, not 3"):
        EsbFormat(4, 3)
    with pytest.raises(ValueError, match="must be finite"):
        EsbFormat(4, 1).quantize([0.0, np.nan])
    with pytest.raises(ValueError, match="must be finite"):
        EsbFormat(4, 1).quantize(np.inf)
    with pytest.raises(ValueError, match=r"5\.0 is not a value"):
        EsbFormat(4, 1).encode([5.0])
    with pytest.raises(ValueError, match=r"codes must be in \[0, 15\]"):
        EsbFormat(4, 1).decode([16])


GRIDS = [
    TermGrid(EsbFormat(*f), r, t)
    for f in ((4, 1), (4, 2), (3, 1), (2, 0), (4, 3, False))
    for r in (1, 3)
    for t in (1, 2, 3)
]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_term_grid_round_trip_is_canonical(grid):
    """Encoding gives the digits of least total magnitude, then the smallest, least digit first."""
    digits = np.asarray(grid.native.decode(grid.encode(grid.values)))
    assert (grid.decode(grid.encode(grid.values)) == grid.values).all()
    radix = 1 << grid.radix_bits
    best: dict[int, tuple[int, tuple[int, ...]]] = {}
    for candidate in product(grid.native.values, repeat=grid.terms):
        value = sum(d * radix**t for t, d in enumerate(candidate))
        rank = (sum(map(abs, candidate)), candidate)
        best[value] = min(best.get(value, rank), rank)
    assert sorted(best) == grid.values.tolist()
    for column, value in zip(digits.T, grid.values, strict=True):
        assert tuple(column.tolist()) == best[int(value)][1]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_term_grid_contiguous(grid):
    values, n = set(grid.values.tolist()), grid.contiguous
    low = -n if grid.native.signed else 0
    assert set(range(low, n + 1)) <= values
    assert n + 1 not in values or (grid.native.signed and -n - 1 not in values)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_term_grid_quantizes_to_the_nearest(grid, rng):
    """Multiples of 1/2, which are grid values, ties and others."""
    x = rng.integers(-3 * grid.values[-1], 3 * grid.values[-1] + 1, 2000) / 2
    away = grid.values[np.argsort(-np.abs(grid.values))]
    expected = away[np.abs(x[:, None] - away).argmin(1)]
    assert (grid.quantize(x) == expected).all()


def test_two_terms_cover_eight_bits():
    """What 8-bit layers rely on: two (4,2) digits at radix 8 hold at least [-63, 63]."""
    assert TermGrid(EsbFormat(4, 2), 3, 2).contiguous >= 63


def test_term_grid_errors():
    with pytest.raises(ValueError, match=r"terms must be in \[1, 4\], not 5"):
        TermGrid(EsbFormat(4, 1), 3, 5)
    with pytest.raises(ValueError, match="7 is not a sum of 1 terms"):
        TermGrid(EsbFormat(4, 1), 3, 1).encode([7])
