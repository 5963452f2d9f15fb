"""The dot product of native codes: the leaf of the array, which holds most of the LUTs."""

import numpy as np
from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib.wiring import In, Out
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch.formats import Format
from sigbit_hw.gateware.compute.xcup_dot import Lane, dot_product
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_hw.gateware.fabric.leaf import Leaf
from sigbit_hw.gateware.parts.pipeline import add_with_carry, delay
from sigbit_hw.gateware.parts.product import Product, ProductForm


class DotProduct(Leaf):
    """Sum over ``ic_lanes`` of weight times activation, in units of both formats' LSBs.

    Products are magnitudes (:class:`~sigbit_hw.gateware.parts.product.Product`) with a sign. A
    negative product enters the adder tree as one's complement; the missing +1 of each is the
    carry-in of an adder above it. The remaining one is the output ``carry``, for the carry-in of
    the accumulator.

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

    One dot product per cycle. Nothing is rounded. For UltraScale+ there is a form made of its cells
    (:mod:`sigbit_hw.gateware.compute.xcup_dot`).
    """

    def __init__(self, weight_format: Format, act_format: Format, ic_lanes: int) -> None:
        self.weight_format, self.act_format, self.ic_lanes = weight_format, act_format, ic_lanes
        self.form = ProductForm(weight_format, act_format)
        super().__init__(
            {
                "weights": In(ic_lanes * weight_format.bits),
                "acts": In(ic_lanes * act_format.bits),
                "dot": Out(signed(self._bits(ic_lanes))),
                "carry": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from codes to dot product: those of the product, and 1 per level of the tree."""
        return self.form.latency + self.ic_lanes.bit_length() - 1

    def compute(self, weights: ArrayLike, acts: ArrayLike) -> NDArray[np.int64]:
        """``dot + carry`` of codes ``[..., ic_lanes]``, exactly."""
        w = np.asarray(self.weight_format.decode(weights), np.int64)
        return (w * np.asarray(self.act_format.decode(acts), np.int64)).sum(-1)

    def _bits(self, lanes: int) -> int:
        return (lanes * self.weight_format.max * self.act_format.max).bit_length() + 1

    @property
    def parameters(self) -> tuple[object, ...]:
        """The parameters ``weight_format``, ``act_format`` and ``ic_lanes``."""
        return self.weight_format, self.act_format, self.ic_lanes

    def build(self, fabric: Fabric) -> Module:
        m = Module()
        wf, af = self.weight_format, self.act_format
        lanes = []
        for k in range(self.ic_lanes):
            weight = self.weights.word_select(k, wf.bits)
            act = self.acts.word_select(k, af.bits)
            lanes.append(
                Lane(
                    weight[: wf.magnitude_bits],
                    act[: af.magnitude_bits],
                    (weight[-1], act[-1]) if af.signed else (weight[-1],),
                )
            )
        if fabric is Fabric.XCUP and self.ic_lanes > 1:
            dot, carry = dot_product(m, self.form, lanes, len(self.dot), self.latency)
        else:
            dot, carry = self._plain(m, lanes)
        m.d.comb += [self.dot.eq(dot), self.carry.eq(carry)]
        return m

    def _plain(self, m: Module, operands: list[Lane]) -> tuple[Value, Value]:
        nodes: list[tuple[Value, Value]] = []
        for k, lane in enumerate(operands):
            m.submodules[f"product_{k}"] = product = Product(self.form)
            m.d.comb += [product.weight.eq(lane.weight), product.act.eq(lane.act)]
            negative = lane.signs[0] ^ lane.signs[1] if len(lane.signs) == 2 else lane.signs[0]
            negative = delay(m, negative, self.form.latency, f"negative_{k}")
            magnitude = product.product
            nodes.append(
                (
                    Cat(magnitude ^ negative.replicate(len(magnitude)), negative).as_signed(),
                    negative,
                )
            )
        lanes = 1
        while len(nodes) > 1:
            lanes *= 2
            level = []
            for k, ((a, pending_a), (b, pending_b)) in enumerate(
                zip(nodes[::2], nodes[1::2], strict=True)
            ):
                total = Signal(signed(self._bits(lanes)), name=f"sum_{lanes}_{k}", reset_less=True)
                pending = Signal(name=f"pending_{lanes}_{k}", reset_less=True)
                m.d.sync += [total.eq(add_with_carry(a, b, pending_a)), pending.eq(pending_b)]
                level.append((total, pending))
            nodes = level
        return nodes[0]
