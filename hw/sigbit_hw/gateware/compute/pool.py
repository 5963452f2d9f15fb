"""Max pooling: running maxima of activation codes."""

from enum import IntEnum

import numpy as np
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.wiring import In, Out
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch.formats import Format
from sigbit_hw.arch.numerics import order_key
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_hw.gateware.fabric.leaf import Leaf
from sigbit_hw.gateware.parts.product import truth_table

_DIGIT_BITS = 2


class _Order(IntEnum):
    """Order of two codes by their upper digits; ``EQUAL_MINUS`` for two negative codes."""

    LESS = 0
    EQUAL_PLUS = 1
    EQUAL_MINUS = 2
    GREATER = 3


def _compare(order: int, a: int, b: int) -> int:
    """The order after one more digit of both magnitudes."""
    if a == b or order in (_Order.LESS, _Order.GREATER):
        return order
    return _Order.GREATER if (a > b) == (order == _Order.EQUAL_PLUS) else _Order.LESS


def outranks(
    m: Module,
    code: Value,
    best: Value,
    fmt: Format,
    always: Value,
    enable: Value,
    attributes: dict[str, int],
) -> Value:
    """``enable & (always | order_key(code) > order_key(best))``, in two-bit digits from the top,
    each a table of six inputs into signals with ``attributes``.

    Codes are compared directly, which costs fewer tables than converting them to keys.
    """
    low = (fmt.bits - 1) // _DIGIT_BITS * _DIGIT_BITS
    top = 1 << (fmt.bits - low)
    sign = top >> 1 if fmt.signed else 0

    def first(index: int) -> int:
        a, b, control = index % top, index // top % top, index // top // top
        if control < 2:
            return _Order.LESS
        if control == 3 or (a ^ b) & sign:
            return _Order.GREATER if control == 3 or b & sign else _Order.LESS
        return _compare(_Order.EQUAL_MINUS if a & sign else _Order.EQUAL_PLUS, a, b)

    def following(index: int) -> int:
        return _compare(index >> 2 * _DIGIT_BITS, index % 4, index // 4 % 4)

    order = truth_table(Cat(code[low:], best[low:], always, enable), first, 2)
    for at in range(low - _DIGIT_BITS, -1, -_DIGIT_BITS):
        upper = Signal(2, attrs=attributes)
        m.d.comb += upper.eq(order)
        digits = slice(at, at + _DIGIT_BITS)
        order = truth_table(Cat(code[digits], best[digits], upper), following, 2)
    return order.all()


class RunningMax(Leaf):
    """Largest code of every lane of one pixel since the last ``clear``.

    Parameters
    ----------
    act_format : Format
        Format of the codes.
    lanes : int
        Codes of a slot.

    Members
    -------
    ``acts : In(lanes * lane_bits)``
        Codes, lane 0 in the low bits.
    ``enable, clear : In(1)``
        Take ``acts`` into account in this cycle; forget earlier ones.
    ``codes : Out(lanes * lane_bits)``
        The maxima, one cycle after the last ``enable``. Of two codes of equal value that with the
        larger order key is kept.

    One slot per cycle.
    """

    latency = 1

    def __init__(self, act_format: Format, lanes: int) -> None:
        self.act_format, self.lanes = act_format, lanes
        super().__init__(
            {
                "acts": In(lanes * act_format.lane_bits),
                "enable": In(1),
                "clear": In(1),
                "codes": Out(lanes * act_format.lane_bits),
            }
        )

    def compute(self, codes: ArrayLike) -> NDArray[np.int64]:
        """Maxima of codes ``[steps, lanes]``: shape ``[lanes]``."""
        codes = np.asarray(codes, np.int64)
        best = order_key(codes, self.act_format).argmax(0)
        return codes[best, np.arange(codes.shape[1])]

    @property
    def parameters(self) -> tuple[object, ...]:
        """``act_format``, ``lanes``."""
        return self.act_format, self.lanes

    def build(self, fabric: Fabric) -> Module:
        m = Module()
        bits, width = self.act_format.bits, self.act_format.lane_bits
        tables = {"keep": 1} if fabric is Fabric.XCUP else {}  # a LUT each, not to be split
        for lane in range(self.lanes):
            code = self.acts.word_select(lane, width)[:bits]
            best = Signal(bits, name=f"best_{lane}", reset_less=True)
            with m.If(outranks(m, code, best, self.act_format, self.clear, self.enable, tables)):
                m.d.sync += best.eq(code)
            m.d.comb += self.codes.word_select(lane, width).eq(best)
        return m
