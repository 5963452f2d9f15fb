"""The requantizer: accumulator to 8-bit pre-activation, ``numerics.requantize`` bit for bit."""

import numpy as np
from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch import numerics

SHIFT_BITS = numerics.SHIFT_MAX.bit_length()
_FINE_BITS = 3
_DROP_BITS = numerics.MANTISSA_BITS - 1 + numerics.GUARD_BITS


def param_layout(acc_bits: int) -> data.StructLayout:
    """One channel's parameters as the hardware keeps them."""
    return data.StructLayout({
        "bias": signed(acc_bits), "mantissa": numerics.MANTISSA_BITS, "shift": SHIFT_BITS})


def saturated(value: Value, bits: int) -> Value:
    """``value`` limited to ``bits`` bits of two's complement."""
    if len(value) <= bits:
        return value
    high, sign = value[bits - 1:], value[-1]
    limit = (1 << (bits - 1)) - 1
    return Mux(high.all() | ~high.any(), value[:bits], limit ^ sign.replicate(bits)).as_signed()


class Requantizer(wiring.Component):
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

    One result a cycle. The shifter works in two steps, by multiples of 8 and by 0 to 7, with a
    saturation to 12 + 7 bits between them: what it cuts off would saturate in the end as well.
    """

    latency = 9

    def __init__(self, acc_bits: int) -> None:
        self.acc_bits = acc_bits
        super().__init__({
            "acc": In(signed(acc_bits)),
            "param": In(param_layout(acc_bits)),
            "y": Out(signed(numerics.PRE_BITS)),
        })

    def compute(self, acc: ArrayLike, bias: ArrayLike, mantissa: ArrayLike,
                shift: ArrayLike) -> NDArray[np.int64]:
        """``y`` of arrays of accumulators and parameters, which broadcast."""
        return numerics.requantize(acc, bias, mantissa, shift)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shifts, mantissas = [self.param.shift], [self.param.mantissa]
        for k in range(5):
            mantissas.append(Signal(numerics.MANTISSA_BITS, name=f"mantissa_{k}", reset_less=True))
            m.d.sync += mantissas[-1].eq(mantissas[-2])
        for k in range(3):
            shifts.append(Signal(SHIFT_BITS, name=f"shift_{k}", reset_less=True))
            m.d.sync += shifts[-1].eq(shifts[-2])

        width = self.acc_bits + numerics.GUARD_BITS
        kept = min(width, numerics.SCALED_BITS + (1 << _FINE_BITS) - 1)
        biased = Signal(signed(self.acc_bits), reset_less=True)
        coarse = Signal(signed(width), reset_less=True)
        limited = Signal(signed(kept), reset_less=True)
        fine = Signal(signed(kept), reset_less=True)
        scaled = Signal(signed(numerics.SCALED_BITS), reset_less=True)
        m.d.sync += [
            biased.eq(self.acc + self.param.bias),
            coarse.eq((biased << numerics.GUARD_BITS)
                      >> (shifts[1] & ~((1 << _FINE_BITS) - 1))[:SHIFT_BITS]),
            limited.eq(saturated(coarse, kept)),
            fine.eq(limited >> shifts[3][:_FINE_BITS]),
            scaled.eq(saturated(fine, numerics.SCALED_BITS)),
        ]

        mantissa = mantissas[5]
        partial = [Mux(mantissa[k], scaled, 0) << k for k in range(numerics.MANTISSA_BITS)]
        low = Signal(signed(numerics.SCALED_BITS + 2), reset_less=True)
        high = Signal(signed(numerics.SCALED_BITS + 4), reset_less=True)
        product = Signal(signed(numerics.SCALED_BITS + numerics.MANTISSA_BITS), reset_less=True)
        rounded = Signal(signed(len(product) - _DROP_BITS + 1), reset_less=True)
        half = Signal(unsigned(1))
        m.d.comb += half.eq(product[_DROP_BITS - 1])
        m.d.sync += [
            low.eq(partial[0] + partial[1]),
            high.eq(partial[2] + partial[3]),
            product.eq(low + high),
            rounded.eq((product >> _DROP_BITS) + half),
            self.y.eq(saturated(rounded, numerics.PRE_BITS)),
        ]
        return m
