"""A function of the host: operands, options, limits of its results, errors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Value = NDArray[Any]
Option = int | float | tuple[int, ...]
Operands = list[Value | None]

ELEMENTS_MAX = 1 << 26
"""Elements of a result at most."""


class HostError(ValueError):
    """A step cannot be done; the message says why."""


Apply = Callable[["Call"], "Value | Sequence[Value]"]
Kind = Literal["int", "float", "ints"]


@dataclass(frozen=True)
class Call:
    """Operands and options of one step, and the number of its results; in a ``trial``, which only
    asks if it can be done, one box a class is enough."""

    operands: Operands
    options: Mapping[str, Option]
    count: int
    trial: bool = False

    def __getitem__(self, index: int) -> Value:
        """An operand that must be there."""
        value = self.operands[index] if index < len(self.operands) else None
        if value is None:
            raise HostError(f"operand {index} is missing")
        return value

    def has(self, index: int) -> bool:
        """Return whether an operand is given."""
        return index < len(self.operands) and self.operands[index] is not None

    def ints(self, index: int) -> tuple[int, ...]:
        """An operand that is a few integers."""
        array = self[index].reshape(-1)
        if array.size > 64:
            raise HostError(f"operand {index} has {array.size:,} numbers")
        return tuple(int(v) for v in array)

    def number(self, index: int, default: float) -> float:
        """An operand that is one number, or its default."""
        if not self.has(index):
            return default
        if self[index].size != 1:
            raise HostError(f"operand {index} has {self[index].size:,} numbers")
        return float(self[index].reshape(-1)[0])

    def option(self, name: str, default: Any) -> Any:
        """An option, or its default."""
        return self.options.get(name, default)

    def axis(self, default: int, name: str = "axis") -> int:
        """The axis of operand 0 that an option names."""
        return _axis(int(self.option(name, default)), self[0].ndim)

    def axes(self, index: int, rank: int) -> tuple[int, ...]:
        """The axes that an operand lists, of a tensor of ``rank``."""
        found = tuple(_axis(a, rank) for a in self.ints(index))
        if len(set(found)) < len(found):
            raise HostError("an axis comes twice")
        return found


@dataclass(frozen=True)
class Function:
    """A function with ``least`` to ``most`` operands and up to ``results`` results; ``ragged`` if
    their size depends on values."""

    apply: Apply
    least: int
    most: int
    results: int = 1
    options: Mapping[str, Kind] = field(default_factory=dict)
    ragged: bool = False

    def check(
        self, operands: Sequence[str], results: Sequence[str], options: Mapping[str, Option]
    ) -> None:
        """Raise :class:`HostError` unless a step may be written so."""
        if not self.least <= len(operands) <= self.most:
            raise HostError(f"takes {self.least} to {self.most} operands, not {len(operands)}")
        if not 1 <= len(results) <= self.results:
            raise HostError(f"has 1 to {self.results} results, not {len(results)}")
        for name, value in options.items():
            kind = self.options.get(name)
            if kind is None or not _is(value, kind):
                allowed = ", ".join(f"{n} ({k})" for n, k in self.options.items()) or "none"
                raise HostError(f"options are {allowed}, not {name}={value!r}")

    def __call__(
        self, operands: Operands, options: Mapping[str, Option], count: int, *, trial: bool = False
    ) -> list[Value]:
        """The results; :class:`HostError` where there are none."""
        try:
            found = self.apply(Call(operands, options, count, trial))
        except HostError:
            raise
        except (ValueError, IndexError, TypeError, OverflowError, np.exceptions.AxisError) as error:
            raise HostError(f"its operands do not fit ({' '.join(str(error).split())})") from None
        several = list(found) if isinstance(found, (tuple, list)) else [np.asarray(found)]
        if len(several) < count:
            raise HostError(f"has {len(several)} results, not {count}")
        return several[:count]


def _is(value: object, kind: Kind) -> bool:
    if kind == "ints":
        return isinstance(value, tuple) and all(type(v) is int for v in value)
    return type(value) is int or (kind == "float" and type(value) is float)


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise HostError(f"axis {axis} of a tensor with {rank}")
    return axis % rank


def allowed(shape: Sequence[int]) -> tuple[int, ...]:
    """``shape``, if a result may have it."""
    if any(n < 0 for n in shape) or len(shape) > 16 or prod(shape) > ELEMENTS_MAX:
        raise HostError(f"a result of shape {list(shape)[:16]}, at most {ELEMENTS_MAX:,} elements")
    return tuple(int(n) for n in shape)
