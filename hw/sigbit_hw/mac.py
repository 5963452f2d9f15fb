"""The dot product of ESB codes: the leaf of the array, where most of the LUTs are."""

from collections.abc import Callable

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch.formats import EsbFormat, Format
from sigbit_hw.pipeline import add_with_carry

TABLE_INPUT_BITS = 8
"""Magnitude bits of both factors together up to which a product is a truth table."""


def truth_table(index: Value, function: Callable[[int], int], width: int) -> Value:
    """``function(index)`` as one table for each of ``width`` bits."""
    results = [function(i) for i in range(1 << len(index))]
    return Cat(Const(sum((r >> bit & 1) << i for i, r in enumerate(results)), len(results))
               .bit_select(index, 1) for bit in range(width))


def significand(field: Value, fmt: EsbFormat) -> tuple[Value, Value]:
    """(significand, left shift) of a magnitude field: the magnitude is ``significand << shift``."""
    mantissa, exponent = field[:fmt.frac], field[fmt.frac:]
    return Cat(mantissa, exponent.any()), Mux(exponent.any(), exponent - 1, 0)[:len(exponent)]


class DotProduct(wiring.Component):
    """Sum over ``ic_lanes`` of weight times activation, in units of both formats' LSBs.

    Products are magnitudes (by truth table where that is small, else product of the significands
    and shift) with a sign. A negative product enters the adder tree as one's complement; the
    missing +1 of each is the carry-in of an adder above it. One is left over: it is the output
    ``carry``, for the carry-in of the accumulator.

    Parameters
    ----------
    weight_format, act_format : Format
        The weight format is signed. Minus zero is zero.
    ic_lanes : int
        Products, a power of two.

    Members
    -------
    ``weights : In(ic_lanes * weight_format.bits)``, ``acts : In(ic_lanes * act_format.bits)``
        Codes, lane 0 in the low bits.
    ``dot : Out(signed(n))``, ``carry : Out(1)``
        ``dot + carry`` is the dot product of ``latency`` cycles ago. The sum over k lanes lies in
        [-k M - 1, k M], M the largest product: nodes of the tree have exactly the bits for that.

    One dot product a cycle. Nothing is rounded.
    """

    def __init__(self, weight_format: Format, act_format: Format, ic_lanes: int) -> None:
        self.weight_format, self.act_format, self.ic_lanes = weight_format, act_format, ic_lanes
        super().__init__({
            "weights": In(ic_lanes * weight_format.bits),
            "acts": In(ic_lanes * act_format.bits),
            "dot": Out(signed(self._bits(ic_lanes))),
            "carry": Out(1),
        })

    @property
    def by_table(self) -> bool:
        """Whether products are truth tables."""
        inputs = self.weight_format.magnitude_bits + self.act_format.magnitude_bits
        return inputs <= TABLE_INPUT_BITS

    @property
    def latency(self) -> int:
        """Cycles from codes to dot product: 1 or 2 for the product, 1 for a level of the tree."""
        return (1 if self.by_table else 2) + self.ic_lanes.bit_length() - 1

    def compute(self, weights: ArrayLike, acts: ArrayLike) -> NDArray[np.int64]:
        """``dot + carry`` of codes ``[..., ic_lanes]``, exactly."""
        w = np.asarray(self.weight_format.decode(weights), np.int64)
        return (w * np.asarray(self.act_format.decode(acts), np.int64)).sum(-1)

    def _bits(self, lanes: int) -> int:
        return (lanes * self.weight_format.max * self.act_format.max).bit_length() + 1

    def _magnitude(self, m: Module, weight: Value, act: Value, lane: int) -> Value:
        """Register with the product of two magnitude fields."""
        wf, af = self.weight_format, self.act_format
        product = Signal(self._bits(1) - 1, name=f"product_{lane}", reset_less=True)
        if self.by_table:
            m.d.sync += product.eq(truth_table(
                Cat(weight, act),
                lambda i: wf.magnitudes[i & ((1 << wf.magnitude_bits) - 1)]
                * af.magnitudes[i >> wf.magnitude_bits], len(product)))
            return product
        if not isinstance(wf, EsbFormat) or not isinstance(af, EsbFormat):
            raise TypeError(f"{wf} times {af} has neither a small truth table nor significands")
        (ws, we), (as_, ae) = significand(weight, wf), significand(act, af)
        small = Signal(len(ws) + len(as_), name=f"significand_{lane}", reset_less=True)
        shift = Signal(unsigned(max(len(we), len(ae)) + 1), name=f"shift_{lane}", reset_less=True)
        m.d.sync += [small.eq(ws * as_), shift.eq(we + ae), product.eq(small << shift)]
        return product

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wf, af = self.weight_format, self.act_format
        nodes: list[tuple[Value, Value]] = []
        for lane in range(self.ic_lanes):
            weight = self.weights.word_select(lane, wf.bits)
            act = self.acts.word_select(lane, af.bits)
            product = self._magnitude(
                m, weight[:wf.magnitude_bits], act[:af.magnitude_bits], lane)
            negative: Value = weight[-1] ^ act[-1] if af.signed else weight[-1]
            for stage in range(1 if self.by_table else 2):
                register = Signal(name=f"negative_{lane}_{stage}", reset_less=True)
                m.d.sync += register.eq(negative)
                negative = register
            nodes.append((Cat(product ^ negative.replicate(len(product)), negative).as_signed(),
                          negative))
        lanes = 1
        while len(nodes) > 1:
            lanes *= 2
            level = []
            for k, ((a, pending_a), (b, pending_b)) in enumerate(
                    zip(nodes[::2], nodes[1::2], strict=True)):
                total = Signal(signed(self._bits(lanes)), name=f"sum_{lanes}_{k}", reset_less=True)
                pending = Signal(name=f"pending_{lanes}_{k}", reset_less=True)
                m.d.sync += [total.eq(add_with_carry(a, b, pending_a)), pending.eq(pending_b)]
                level.append((total, pending))
            nodes = level
        m.d.comb += [self.dot.eq(nodes[0][0]), self.carry.eq(nodes[0][1])]
        return m
