"""Delay registers that keep the pipelines of the compute engine aligned, and idioms for the logic
between them."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value


def delay(m: Module, value: Any, cycles: int, name: str, *, reset: bool = False) -> Any:
    """``value`` delayed by ``cycles`` clock cycles, of the same shape.

    ``reset`` clears the registers at reset: for bits that have an effect on their own. Data that
    are only meaningful beside such a bit are not reset, so that synthesis can use shift registers.
    """
    for k in range(cycles):
        register = Signal(value.shape(), name=f"{name}_d{k + 1}", reset_less=not reset)
        m.d.sync += register.eq(value)
        value = register
    return value


def add_with_carry(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry`` for signed ``a``, ``b`` and one bit ``carry``, written as one carry chain.

    Synthesis tools build a sum of three operands with two adders; one slightly longer adder, whose
    lowest position generates the carry, is enough.
    """
    return (Cat(carry, a).as_signed() + Cat(carry, b).as_signed()) >> 1


def at_most(value: Value, exponent: int) -> Value:
    """``value <= 2**exponent``, without a subtraction."""
    return ~value[exponent + 1 :].any() & ~(value[exponent] & value[:exponent].any())


def choose(index: Value, values: Sequence[Value]) -> Value:
    """``values[index]`` for a power of two of values, as a tree of two-way multiplexers."""
    values = list(values)
    for k in range(len(values).bit_length() - 1):
        values = [
            Mux(index[k], odd, even) for even, odd in zip(values[::2], values[1::2], strict=True)
        ]
    return values[0]
