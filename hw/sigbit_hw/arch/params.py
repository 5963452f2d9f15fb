"""Storage format of a channel's requantization: a step, a tie bit and a base in 8 bytes.

Everywhere else step and base are in units of :data:`~sigbit_hw.arch.numerics.UNIT`; this module
defines the multiples of it that a width of ``step_bits`` with ``fraction_bits`` can hold.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch.numerics import (
    ACC_BITS_MAX,
    ACC_BITS_MIN,
    FRACTION_BITS,
    STEP_MAX,
    UNIT,
    Ints,
)

ITEM_BYTES = 8
"""Bytes of one channel's parameters, and of one chunk of a table."""

ITEM_BITS = 8 * ITEM_BYTES

STEP_BITS, STEP_FRACTION_BITS = 28, 14
"""Default step width and fraction bits of an accelerator. With them every tested function
``round(acc s + b)`` of 8 bits is exact on accumulators of up to 20 bits."""


@dataclass(frozen=True)
class ParamFormat:
    """Range and layout of parameters: steps of ``step_bits`` bits, of which ``fraction_bits`` are
    fraction bits; a tie bit; a signed base of ``acc_bits + 1`` bits plus as many fraction bits as
    the item has room for, up to those of the step.

    An item holds step, tie and base in this order, from bit 0.
    """

    acc_bits: int
    step_bits: int = STEP_BITS
    fraction_bits: int = STEP_FRACTION_BITS

    def __post_init__(self) -> None:
        acc, step, fraction = self.acc_bits, self.step_bits, self.fraction_bits
        for name in ("acc_bits", "step_bits", "fraction_bits"):
            if type(getattr(self, name)) is not int:
                raise ValueError(f"{name} must be an integer, not {getattr(self, name)!r}")
        if not ACC_BITS_MIN <= acc <= ACC_BITS_MAX:
            raise ValueError(f"acc_bits must be in [{ACC_BITS_MIN}, {ACC_BITS_MAX}], not {acc}")
        if not 1 <= fraction <= FRACTION_BITS:
            raise ValueError(f"fraction_bits must be in [1, {FRACTION_BITS}], not {fraction}")
        whole = STEP_MAX.bit_length() - FRACTION_BITS
        most = min(fraction + whole, ITEM_BITS - 3 - acc)
        if not fraction < step <= most:
            raise ValueError(
                f"step_bits must be in [{fraction + 1}, {most}] with {fraction} fraction_bits and "
                f"accumulators of {acc} bits, not {step}: a step has at least one bit before its "
                f"fraction, at most {whole}, and leaves room for the base in {ITEM_BITS} bits"
            )

    @property
    def base_fraction_bits(self) -> int:
        """Fraction bits of a base."""
        return min(self.fraction_bits, ITEM_BITS - 2 - self.step_bits - self.acc_bits)

    @property
    def base_bits(self) -> int:
        """Width of a base in bits, including its sign."""
        return self.acc_bits + 1 + self.base_fraction_bits

    @property
    def step_unit(self) -> int:
        """Unit of steps: every step is a multiple of it."""
        return 1 << (FRACTION_BITS - self.fraction_bits)

    @property
    def base_unit(self) -> int:
        """Unit of bases: every base is a multiple of it."""
        return 1 << (FRACTION_BITS - self.base_fraction_bits)

    @property
    def step_max(self) -> int:
        """Largest step."""
        return ((1 << self.step_bits) - 1) * self.step_unit

    @property
    def base_max(self) -> int:
        """Largest base; the smallest is ``-base_max - base_unit``."""
        return ((1 << (self.base_bits - 1)) - 1) * self.base_unit

    def check(self, base: ArrayLike, step: ArrayLike, tie: ArrayLike) -> None:
        """Raise ``ValueError`` unless these parameters can be stored."""
        low = -self.base_max - self.base_unit
        for name, values, least, most, unit in (
            ("step", step, self.step_unit, self.step_max, self.step_unit),
            ("tie", tie, 0, 1, 1),
            ("base", base, low, self.base_max, self.base_unit),
        ):
            array = np.asarray(values, np.int64)
            if array.size and (array.min() < least or array.max() > most):
                raise ValueError(
                    f"{name} must be in [{least}, {most}], not [{array.min()}, {array.max()}]"
                )
            if bool((array % unit).any()):
                wrong = int(array.ravel()[np.flatnonzero(array % unit)[0]])
                raise ValueError(f"{name} must be a multiple of {unit}, not {wrong}")

    def pack(self, base: ArrayLike, step: ArrayLike, tie: ArrayLike) -> NDArray[np.uint64]:
        """Check parameters and pack them into items."""
        self.check(base, step, tie)
        base, step, tie = (np.asarray(a, np.int64) for a in (base, step, tie))
        item = (base // self.base_unit) << (self.step_bits + 1)
        item = item | tie << self.step_bits | step // self.step_unit
        mask = np.uint64((1 << (self.step_bits + 1 + self.base_bits)) - 1)
        return item.astype(np.uint64) & mask

    def unpack(self, items: NDArray[np.uint64]) -> tuple[Ints, Ints, Ints]:
        """Return (base, step, tie) of items; bits above the base are ignored."""
        signed = items.astype(np.int64)
        spare = ITEM_BITS - self.step_bits - 1 - self.base_bits
        base = (signed << spare) >> (spare + self.step_bits + 1)
        step = signed & ((1 << self.step_bits) - 1)
        return base * self.base_unit, step * self.step_unit, signed >> self.step_bits & 1

    def nearest_step(self, value: Any, library: Any) -> Any:
        """Representable steps nearest to ``value``, in accumulator steps: float64 arrays of
        ``library`` (``numpy``, ``torch``)."""
        scale = 2.0**self.fraction_bits
        most = self.step_max / UNIT
        return library.clip(library.floor(value * scale + 0.5) / scale, 1 / scale, most)

    def nearest_base(self, value: Any, library: Any) -> Any:
        """Representable bases nearest to ``value``, in accumulator steps, of any size."""
        scale = 2.0**self.base_fraction_bits
        return library.floor(value * scale + 0.5) / scale

    def affine(self, scale: ArrayLike, offset: ArrayLike = 0.0) -> tuple[Ints, Ints]:
        """Nearest (base, step) for ``round(acc * scale + offset)``, ties up."""
        scale, offset = np.broadcast_arrays(
            np.asarray(scale, np.float64), np.asarray(offset, np.float64)
        )
        step = self.nearest_step(1 / scale, np)
        return in_units(self.nearest_base((offset + 0.5) * step, np)), in_units(step)


def in_units(value: ArrayLike) -> Ints:
    """Convert accumulator steps with up to 16 fraction bits to integers in units of
    :data:`~sigbit_hw.arch.numerics.UNIT`."""
    return (np.asarray(value, np.float64) * UNIT).astype(np.int64)
