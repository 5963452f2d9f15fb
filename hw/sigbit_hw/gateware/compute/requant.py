"""The requantizer: accumulator to 8-bit pre-activation, ``numerics.requantize`` bit for bit."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch import numerics
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_hw.gateware.fabric.leaf import Leaf

SHIFT_BITS = numerics.SHIFT_MAX.bit_length()
_COARSE = 8
"""Shifts of the first stage are multiples of this one."""


def param_layout(acc_bits: int) -> data.StructLayout:
    """One channel's parameters as the hardware keeps them."""
    return data.StructLayout(
        {"bias": signed(acc_bits), "mantissa": numerics.MANTISSA_BITS, "shift": SHIFT_BITS}
    )


def neutral_param(acc_bits: int) -> Const:
    """Parameters with which ``y`` is an accumulator of so many bits."""
    return Const(numerics.MANTISSA_MIN << acc_bits, param_layout(acc_bits).size)


def differs(bits: Value, sign: Value) -> Value:
    """Whether any of ``bits`` is not ``sign``."""
    return (bits ^ sign.replicate(len(bits))).any()


def limit(sign: Value, bits: int) -> Value:
    """The greatest number of ``bits`` bits of two's complement, or the least for ``sign``."""
    return Cat((~sign).replicate(bits - 1), sign)


def booth_term(value: Value, digit: Value) -> tuple[Value, Value]:
    """``-2, -1, 0, 1 or 2 times value``, as Booth's digit of three bits says: one's complement of
    one more bit, and whether 1 is missing to two's."""
    low, middle, negative = digit
    once, twice = low ^ middle, Mux(negative, ~low & ~middle, low & middle)
    magnitude = Mux(once, value, Mux(twice, value << 1, 0))[: len(value) + 1]
    return (magnitude ^ negative.replicate(len(magnitude))).as_signed(), negative


def add_term(total: Value, term: Value, carry: Value) -> Value:
    """``total + term + carry``, written as one carry chain: as a difference, so that synthesis
    keeps ``total``, the register, for the chain's generate inputs, and puts the logic of ``term``
    into the LUTs of its sums."""
    return (Cat(0, total).as_signed() - Cat(~carry, ~term).as_signed()) >> 1


class Requantizer(Leaf):
    """One post-processing lane: :func:`sigbit_hw.arch.numerics.requantize`.

    Parameters
    ----------
    acc_bits : int
        Width of the accumulator; ``acc + bias`` must fit it (else it wraps).

    Members
    -------
    ``acc : In(signed(acc_bits))``, ``param : In(param_layout(acc_bits))``
        One channel's accumulator and parameters.
    ``y : Out(signed(8))``
        Pre-activation, :attr:`latency` cycles later.

    One result a cycle, in adders and multiplexers of four, of which each bit is one 6-input LUT:

    * The shifter works by multiples of 8, by 0, 2, 4 or 6, and by 0 or 1. What a stage cuts off is
      only looked at (``over``); the last one saturates.
    * The product has three terms: the mantissa's digits to base 4, by Booth, are -2 to 1, -2 to 2,
      and 0 or 1. Terms are made in the adders that add them; the last one by a register's reset.
    * The rounding bit is the carry into the result. Where it would overflow it is left out.
    """

    latency = 7

    def __init__(self, acc_bits: int) -> None:
        self.acc_bits = acc_bits
        super().__init__(
            {
                "acc": In(signed(acc_bits)),
                "param": In(param_layout(acc_bits)),
                "y": Out(signed(numerics.PRE_BITS)),
            }
        )

    def compute(
        self, acc: ArrayLike, bias: ArrayLike, mantissa: ArrayLike, shift: ArrayLike
    ) -> NDArray[np.int64]:
        """``y`` of arrays of accumulators and parameters, which broadcast."""
        return numerics.requantize(acc, bias, mantissa, shift)

    @property
    def parameters(self) -> tuple[object, ...]:
        """``acc_bits``."""
        return (self.acc_bits,)

    def build(self, fabric: Fabric) -> Module:
        m = Module()
        # As old as the pipeline's registers. These have a reset, so that synthesis does not make
        # LUTs (shift registers) of them.
        shifts, mantissas = [self.param.shift], [self.param.mantissa]
        for k in range(1, 6):
            mantissas.append(Signal(numerics.MANTISSA_BITS, name=f"mantissa_{k}"))
            m.d.sync += mantissas[-1].eq(mantissas[-2])
        for k in range(1, 4):
            shifts.append(Signal(SHIFT_BITS, name=f"shift_{k}"))
            m.d.sync += shifts[-1].eq(shifts[-2])

        biased = Signal(signed(self.acc_bits), reset_less=True)
        m.d.sync += biased.eq(add_term(self.param.bias, self.acc, Const(0)))
        scaled, over, sign = self._shifted(m, biased, shifts)
        product = self._product(m, scaled, over, sign, shifts[3][0], mantissas)

        result, up = product[numerics.DROP_BITS :], product[numerics.DROP_BITS - 1]
        fits = ~differs(result[numerics.PRE_BITS - 1 : -1], result[-1])
        largest = result[: numerics.PRE_BITS - 1].all() & ~result[-1]
        m.d.sync += self.y.eq(
            Mux(fits, result[: numerics.PRE_BITS], limit(result[-1], numerics.PRE_BITS))
            + (up & fits & ~largest)
        )
        return m

    def _shifted(
        self, m: Module, biased: Signal, shifts: list[Value]
    ) -> tuple[Signal, Signal, Signal]:
        """Cycles 2 and 3: the number with its guard bits, shifted by all but the last bit of
        ``shift``; one more bit than the result has. ``over``: it saturates. And its sign."""
        width, kept = self.acc_bits + numerics.GUARD_BITS, numerics.SCALED_BITS + _COARSE - 1
        value, sign = biased << numerics.GUARD_BITS, biased[-1]
        signs, overs = ([Signal(name=f"{name}_{k}") for k in (2, 3)] for name in ("sign", "over"))
        steps = shifts[1][_COARSE.bit_length() - 1 :]
        cut = [
            differs(value[low : min(low + _COARSE, width - 1)], sign) & (steps <= k)
            for k, low in enumerate(range(kept - 1, width - 1, _COARSE))
        ]
        coarse = Signal(kept, reset_less=True)
        with m.Switch(steps):
            for k in range(1 << len(steps)):
                with m.Case(k):
                    m.d.sync += coarse.eq(Cat(value[k * _COARSE : width], sign.replicate(kept)))

        pairs, low = shifts[2][1 : _COARSE.bit_length() - 1], numerics.SCALED_BITS
        cut_2 = [
            differs(coarse[low + 2 * k : low + 2 * k + 2], signs[0]) & (pairs <= k)
            for k in range(_COARSE // 2 - 1)
        ]
        fine = Signal(numerics.SCALED_BITS + 1, reset_less=True)
        with m.Switch(pairs):
            for k in range(_COARSE // 2):
                with m.Case(k):
                    m.d.sync += fine.eq(coarse[2 * k :])
        m.d.sync += [
            signs[0].eq(sign),
            signs[1].eq(signs[0]),
            overs[0].eq(Cat(cut).any()),
            overs[1].eq(overs[0] | Cat(cut_2).any()),
        ]
        return fine, overs[1], signs[1]

    def _product(
        self,
        m: Module,
        fine: Signal,
        over: Signal,
        sign: Signal,
        last: Value,
        mantissas: list[Value],
    ) -> Signal:
        """Cycles 4 to 6: the last shift, saturated, times the mantissa."""
        bits = numerics.SCALED_BITS
        saturates = over | (~last & (fine[bits - 1] ^ sign))
        shifted = Mux(saturates, limit(sign, bits), Mux(last, fine[1:], fine[:-1]))
        scaled = [Signal(signed(bits), name=f"scaled_{k}", reset_less=True) for k in (4, 5)]
        top = Signal(signed(bits), reset_less=True)
        high = Signal(signed(bits + 2), reset_less=True)
        product = Signal(signed(bits + numerics.MANTISSA_BITS), reset_less=True)
        high_term, high_carry = booth_term(scaled[0], mantissas[4][1:4])
        low_term, low_carry = booth_term(scaled[1], Cat(0, mantissas[5][:2]))
        m.d.sync += [
            scaled[0].eq(shifted),
            scaled[1].eq(scaled[0]),
            top.eq(Mux(mantissas[3][3], shifted, 0)),
            high.eq(add_term(Cat(Const(0, 2), top).as_signed(), high_term, high_carry)),
            product.eq(add_term(Cat(Const(0, 2), high).as_signed(), low_term, low_carry)),
        ]
        return product
