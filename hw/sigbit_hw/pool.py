"""Max pooling: running maxima of activation codes, by comparing unsigned order keys."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch.formats import Format
from sigbit_hw.arch.numerics import order_key


def key_of(code: Value, fmt: Format) -> Value:
    """``numerics.order_key`` of one code."""
    if not fmt.signed:
        return code
    magnitude, sign = code[:-1], code[-1]
    return Cat(magnitude ^ sign.replicate(len(magnitude)), ~sign)


def code_of(key: Value, fmt: Format) -> Value:
    """The code of an order key: the inverse of :func:`key_of`."""
    if not fmt.signed:
        return key
    magnitude, sign = key[:-1], ~key[-1]
    return Cat(magnitude ^ sign.replicate(len(magnitude)), sign)


class RunningMax(wiring.Component):
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
        Take ``acts`` into account in this cycle; forget what came before it.
    ``codes : Out(lanes * lane_bits)``
        The maxima, one cycle after the last ``enable``. Of two codes of equal value that with the
        larger order key is kept.

    One slot a cycle.
    """

    latency = 1

    def __init__(self, act_format: Format, lanes: int) -> None:
        self.act_format, self.lanes = act_format, lanes
        super().__init__({
            "acts": In(lanes * act_format.lane_bits),
            "enable": In(1),
            "clear": In(1),
            "codes": Out(lanes * act_format.lane_bits),
        })

    def compute(self, codes: ArrayLike) -> NDArray[np.int64]:
        """Maxima of codes ``[steps, lanes]``: shape ``[lanes]``."""
        codes = np.asarray(codes, np.int64)
        best = order_key(codes, self.act_format).argmax(0)
        return codes[best, np.arange(codes.shape[1])]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits, width = self.act_format.bits, self.act_format.lane_bits
        for lane in range(self.lanes):
            best = Signal(bits, name=f"best_{lane}", reset_less=True)
            key = key_of(self.acts.word_select(lane, width)[:bits], self.act_format)
            with m.If(self.enable):
                m.d.sync += best.eq(Mux(self.clear | (key > best), key, best))
            m.d.comb += self.codes.word_select(lane, width).eq(code_of(best, self.act_format))
        return m
