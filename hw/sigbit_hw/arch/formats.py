"""Elastic-significant-bit (ESB) number formats and sums of native terms.

Every value in sigbit is an integer in units of the least significant bit (LSB) of its grid; the
real value is ``scale * integer``, with ``scale = alpha * 2**-frac`` in the notation of the ESB
paper (Gong et al., arXiv 2109.03513). One tie rule holds everywhere in the project: nearest value,
ties away from zero, saturating.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit_tools.shown import shown

Ints = NDArray[np.int64]

MAX_DIGITS = 4
"""Maximum number of native digits of a value or a weight."""
MAX_LEVEL_BITS = 256
"""Maximum width of a level in bits: that of the largest ESB format."""
MAX_VALUES = 1 << 20
"""Maximum number of values that sums of digits can take."""


def check_finite(x: NDArray[np.float64], what: str) -> None:
    """Raise ``ValueError`` if ``x`` holds NaN or infinity."""
    if not np.isfinite(x).all():
        raise ValueError(
            f"{what} must be finite, but {int((~np.isfinite(x)).sum())} of {x.size} values are not"
        )


def round_half_away(x: Any, library: Any = np) -> Any:
    """Nearest integers, ties away from zero, of an array of ``library`` (``numpy``, ``torch``).
    Exact, unlike the sum ``x + 0.5``, which is itself rounded for values just below 0.5."""
    whole = library.trunc(x)
    whole += library.copysign(library.abs(x - whole) >= 0.5, x)
    return whole


class Format(ABC):
    """A native number format: a magnitude field, and above it a sign bit if ``signed``.

    The magnitude field read as an unsigned integer indexes :attr:`magnitudes`, which ascend; so it
    is monotone in the magnitude. Minus zero decodes to 0 and is never produced.
    """

    bits: int
    """Total bits, 2 to 8."""
    signed: bool
    """True if the top bit is a sign."""
    magnitudes: tuple[int, ...]
    """All magnitudes in LSBs, ascending from 0."""

    @property
    def magnitude_bits(self) -> int:
        """Width of the magnitude field."""
        return self.bits - self.signed

    @property
    def lane_bits(self) -> int:
        """Bits that an activation code occupies in a slot: 2, 4 or 8. The code is in the low bits;
        the others are zero."""
        return 1 << (self.bits - 1).bit_length()

    @property
    def max(self) -> int:
        """Largest value in LSBs."""
        return self.magnitudes[-1]

    @property
    def min(self) -> int:
        """Smallest value in LSBs: ``-max`` when signed, else 0."""
        return -self.max if self.signed else 0

    @property
    def range_bits(self) -> int:
        """Width of the largest magnitude as an integer, in bits."""
        return self.max.bit_length()

    @cached_property
    def values(self) -> tuple[int, ...]:
        """All distinct values in LSBs, ascending."""
        return tuple(
            sorted({s * m for m in self.magnitudes for s in ((1, -1) if self.signed else (1,))})
        )

    @cached_property
    def _code_values(self) -> NDArray[np.int64] | NDArray[np.float64]:
        dtype = np.int64 if self.max < 1 << 62 else np.float64
        mags = (
            np.array([float(m) for m in self.magnitudes])
            if dtype is np.float64
            else np.array(self.magnitudes, np.int64)
        )
        return np.concatenate([mags, -mags]) if self.signed else mags

    @cached_property
    def thresholds(self) -> NDArray[np.float64]:
        """Decision levels between neighboring magnitudes in LSBs, exact."""
        mags = [float(m) for m in self.magnitudes]
        return np.array([(a + b) / 2 for a, b in pairwise(mags)])

    def decode(self, codes: ArrayLike) -> NDArray[np.int64] | NDArray[np.float64]:
        """Values in LSBs of ``codes``, same shape; int64, or exact float64 where the range exceeds
        62 bits."""
        codes = np.asarray(codes)
        if codes.size and (codes.min() < 0 or codes.max() >= 1 << self.bits):
            raise ValueError(
                f"codes must be in [0, {(1 << self.bits) - 1}], not [{codes.min()}, {codes.max()}]"
            )
        return self._code_values[codes.astype(np.int64)]

    def quantize(self, x: ArrayLike) -> NDArray[np.uint8]:
        """Codes of the grid values nearest to ``x`` (LSBs), ties away from zero, saturating.

        Unsigned formats map every negative number to 0. Raises ``ValueError`` on NaN or infinity.
        """
        x = np.asarray(x, np.float64)
        check_finite(x, "x")
        field = np.searchsorted(self.thresholds, np.abs(x), side="right").astype(np.uint8)
        if not self.signed:
            return np.where(x < 0, np.uint8(0), field)
        return field | (((x < 0) & (field > 0)).astype(np.uint8) << np.uint8(self.bits - 1))

    def encode(self, values: ArrayLike) -> NDArray[np.uint8]:
        """Codes of ``values`` (LSBs), which must lie exactly on the grid; raises ``ValueError``
        otherwise."""
        values = np.asarray(values)
        codes = self.quantize(values)
        wrong = self.decode(codes) != values
        if wrong.any():
            raise ValueError(f"{values[wrong].flat[0]} is not a value of {self}")
        return codes

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return plain values that :meth:`from_json` accepts."""

    @staticmethod
    def from_json(value: object) -> "Format":
        """Return the format of :meth:`to_json`'s result; raises ``ValueError`` if ``value`` is not
        one."""
        if isinstance(value, dict):
            if value.keys() == {"bits", "frac", "signed"}:
                return EsbFormat(**value)
            if value.keys() == {"levels", "signed"} and isinstance(value["levels"], list):
                return LevelFormat(tuple(value["levels"]), value["signed"])
        raise ValueError(
            f"a format must have bits, frac and signed, or levels and signed, not {shown(value)}"
        )


@dataclass(frozen=True)
class EsbFormat(Format):
    """ESB(b, k): a sign (if ``signed``), e exponent and ``frac`` = k fraction bits in b ``bits``.

    ``mag = E ? (2**k + M) << (E - 1) : M``, of the magnitude field ``{E, M}``. e = 1 is fixed
    point, k = 0 powers of two, (2, 0) ternary.

    Parameters
    ----------
    bits : int
        Total bits, 2 to 8.
    frac : int
        Fraction bits after the leading one, 0 to ``bits - 1 - signed``.
    signed : bool
        True if the top bit is a sign.
    """

    bits: int
    frac: int
    signed: bool = True

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be in [2, 8], not {shown(self.bits)}")
        if type(self.signed) is not bool:
            raise ValueError(f"signed must be true or false, not {shown(self.signed)}")
        if type(self.frac) is not int or not 0 <= self.frac <= self.bits - 1 - self.signed:
            raise ValueError(
                f"frac must be in [0, {self.bits - 1 - self.signed}] for {self.bits} "
                f"{'signed' if self.signed else 'unsigned'} bits, not {shown(self.frac)}"
            )

    @property
    def exponent_bits(self) -> int:
        """e = b - 1 - k when signed, b - k when unsigned."""
        return self.bits - self.signed - self.frac

    @cached_property
    def magnitudes(self) -> tuple[int, ...]:  # type: ignore[override]
        """All magnitudes in LSBs, ascending; the index is the ``{E, M}`` field."""
        k = self.frac
        fields = range(1 << self.magnitude_bits)
        return tuple(
            ((1 << k) + (f & ((1 << k) - 1))) << ((f >> k) - 1) if f >> k else f for f in fields
        )

    def to_json(self) -> dict[str, Any]:
        """``bits``, ``frac``, ``signed``."""
        return {"bits": self.bits, "frac": self.frac, "signed": self.signed}

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}({self.bits},{self.frac})"


@dataclass(frozen=True)
class LevelFormat(Format):
    """Any magnitudes: a sign (if ``signed``) and an index into ``levels``.

    Parameters
    ----------
    levels : tuple of int
        Magnitudes in LSBs, ascending from 0, as many as a power of two: 2 to 128, unsigned 4 to
        256.
    signed : bool
        True if the top bit is a sign.
    """

    levels: tuple[int, ...]
    signed: bool = True

    def __post_init__(self) -> None:
        levels = self.levels
        if type(self.signed) is not bool:
            raise ValueError(f"signed must be true or false, not {shown(self.signed)}")
        if not all(type(level) is int for level in levels) or not (
            levels[:1] == (0,) and all(a < b for a, b in pairwise(levels))
        ):
            raise ValueError(f"levels must be integers that ascend from 0, not {shown(levels)}")
        if len(levels) & (len(levels) - 1) or not 2 <= self.bits <= 8:
            limits = "2 to 128" if self.signed else "4 to 256"
            raise ValueError(
                f"levels must be a power of two of magnitudes, {limits}, not {len(levels)}"
            )
        if levels[-1] >= 1 << MAX_LEVEL_BITS:
            raise ValueError(f"levels must be below 2**{MAX_LEVEL_BITS}, not {shown(levels[-1])}")

    @property
    def bits(self) -> int:  # type: ignore[override]
        """Bits of the index plus, if ``signed``, the sign."""
        return len(self.levels).bit_length() - 1 + self.signed

    @property
    def magnitudes(self) -> tuple[int, ...]:  # type: ignore[override]
        """The levels."""
        return self.levels

    def to_json(self) -> dict[str, Any]:
        """``levels``, ``signed``."""
        return {"levels": list(self.levels), "signed": self.signed}

    def __str__(self) -> str:
        levels = ",".join(map(str, self.levels))
        return f"{'s' if self.signed else 'u'}{{{levels}}}"


@dataclass(frozen=True)
class TermGrid:
    """Sums of ``terms`` native values, digit t weighted by ``2**(radix_bits * t)``.

    One term is the native grid itself. The array computes a layer with T_w by T_a terms in T_w *
    T_a passes over the same accumulators, most significant digits first, shifting the accumulators
    left by ``radix_bits`` between digit weights.
    """

    native: Format
    radix_bits: int
    terms: int

    def __post_init__(self) -> None:
        if not 1 <= self.terms <= MAX_DIGITS:
            raise ValueError(f"terms must be in [1, {MAX_DIGITS}], not {self.terms!r}")

    @property
    def _digits_of(self) -> Mapping[int, tuple[int, ...]]:
        return _digits(self.native, self.radix_bits, self.terms)

    @cached_property
    def values(self) -> Ints:
        """All distinct values in LSBs, ascending."""
        return np.array(sorted(self._digits_of), np.int64)

    @cached_property
    def contiguous(self) -> int:
        """Largest n such that every integer in [-n, n] (signed) or [0, n] (unsigned) is a value."""
        n = 0
        while n + 1 in self._digits_of and (not self.native.signed or -n - 1 in self._digits_of):
            n += 1
        return n

    @cached_property
    def _codes(self) -> NDArray[np.uint8]:
        return self.native.encode(np.array([self._digits_of[int(v)] for v in self.values]).T)

    def quantize(self, x: ArrayLike) -> Ints:
        """Nearest values (LSBs) to ``x``, ties away from zero, saturating; raises ``ValueError`` on
        NaN or infinity."""
        x = np.asarray(x, np.float64)
        check_finite(x, "x")
        magnitudes = self.values[self.values >= 0]
        mids = (magnitudes[1:] + magnitudes[:-1]) / 2
        nearest = magnitudes[np.searchsorted(mids, np.abs(x), side="right")]
        return np.where(x < 0, -nearest if self.native.signed else 0, nearest)

    def encode(self, values: ArrayLike) -> NDArray[np.uint8]:
        """Native codes of on-grid ``values``: shape ``[terms, *values.shape]``, term 0 least
        significant."""
        values = np.asarray(values, np.int64)
        index = np.searchsorted(self.values, values).clip(0, len(self.values) - 1)
        wrong = self.values[index] != values
        if wrong.any():
            raise ValueError(
                f"{values[wrong].flat[0]} is not a sum of {self.terms} terms of {self.native} "
                f"at radix 2**{self.radix_bits}"
            )
        return self._codes[:, index]

    def decode(self, codes: ArrayLike) -> Ints:
        """Values (LSBs) of ``codes`` of shape ``[terms, ...]``."""
        digits = np.asarray(self.native.decode(codes), np.int64)
        weights = np.int64(1) << (self.radix_bits * np.arange(self.terms, dtype=np.int64))
        return np.tensordot(weights, digits, axes=1)


@cache
def _digits(native: Format, radix_bits: int, terms: int) -> Mapping[int, tuple[int, ...]]:
    """Digits (least significant first) of every value: the smallest sum of magnitudes, then the
    smallest digits."""
    span = (native.max - native.min) * sum(1 << (radix_bits * t) for t in range(terms)) + 1
    count = min(span, len(native.values) ** terms)
    if count > MAX_VALUES:
        raise ValueError(
            f"{terms} terms of {native} at radix 2**{radix_bits} have up to {count} values, at "
            f"most {MAX_VALUES} work: take fewer terms"
        )
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for t in range(terms):  # the best digits of a value begin with the best digits of the remainder
        before, best = best, {}
        for rest, (size, digits) in before.items():
            for d in native.values:
                value, rank = rest + (d << (radix_bits * t)), (size + abs(d), (*digits, d))
                if value not in best or rank < best[value]:
                    best[value] = rank
    return {value: digits for value, (_, digits) in best.items()}
