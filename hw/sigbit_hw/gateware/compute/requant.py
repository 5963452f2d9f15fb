"""The requantizer: accumulator to pre-activation, bit-exact with ``numerics.requantize``."""

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch import numerics
from sigbit_hw.arch.params import ParamFormat
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_hw.gateware.fabric.leaf import Leaf
from sigbit_hw.gateware.parts.pipeline import delay


def param_layout(fmt: ParamFormat) -> data.StructLayout:
    """One channel's parameters as stored in hardware: the used bits of an item."""
    return data.StructLayout({"step": fmt.step_bits, "tie": 1, "base": signed(fmt.base_bits)})


def neutral_param(fmt: ParamFormat) -> Const:
    """Parameters that make ``y`` equal to an accumulator of ``bits`` bits: a step of 1."""
    return Const(int(fmt.pack(0, numerics.UNIT, 0)), param_layout(fmt).size)


def differs(bits: Value, sign: Value) -> Value:
    """1 if any of ``bits`` differs from ``sign``."""
    return (bits ^ sign.replicate(len(bits))).any()


def add_term(total: Value, term: Value, carry: Value) -> Value:
    """``total + term + carry``, written as one carry chain: as a difference, so that synthesis
    keeps ``total``, the register, for the chain's generate inputs, and puts the logic of ``term``
    into the LUTs of its sums."""
    return (Cat(0, total).as_signed() - Cat(~carry, ~term).as_signed()) >> 1


def kept(left: Value, over: Value, width: int) -> tuple[Value, Value]:
    """The low ``width`` bits of a number, and a flag that it, or an earlier number, has more
    bits."""
    return left[:width], over | differs(left[width - 1 : -1], left[-1])


class Steps(Leaf):
    """Delayed step and tie bit of a parameter lane, aligned with the stages of its requantizers, of
    which there may be several.

    Parameters
    ----------
    fmt : ParamFormat
    bits : int
        Bits of the requantizers' results.

    Members
    -------
    ``param : In(param_layout(fmt))``
    ``steps : Out(step_bits * (bits - 1))``, ``tie : Out(1)``
        The steps of 1, 2 … cycles ago; the tie bit of ``bits`` cycles ago.
    """

    def __init__(self, fmt: ParamFormat, bits: int) -> None:
        self.fmt, self.bits = fmt, bits
        super().__init__(
            {
                "param": In(param_layout(fmt)),
                "steps": Out(fmt.step_bits * (bits - 1)),
                "tie": Out(1),
            }
        )

    @property
    def parameters(self) -> tuple[object, ...]:
        """The parameters ``fmt`` and ``bits``."""
        return self.fmt, self.bits

    def build(self, fabric: Fabric) -> Module:
        m = Module()
        steps = [self.param.step]
        for k in range(self.bits - 1):
            steps.append(delay(m, steps[-1], 1, f"step_{k}"))
        m.d.comb += [
            self.steps.eq(Cat(steps[1:])),
            self.tie.eq(delay(m, self.param.tie, self.bits, "tie", reset=True)),
        ]
        return m


class Requantizer(Leaf):
    """One post-processing lane: :func:`sigbit_hw.arch.numerics.requantize`.

    Parameters
    ----------
    fmt : ParamFormat
        Widths of accumulator, base and step.
    bits : int
        Bits of the result.

    Members
    -------
    ``acc : In(signed(acc_bits))``, ``base : In(signed(base_bits))``
        One channel's accumulator and base.
    ``steps : In(step_bits * (bits - 1))``, ``tie : In(1)``
        The outputs of its :class:`Steps`.
    ``y : Out(signed(bits))``
        Pre-activation, :attr:`latency` cycles later.

    One result per cycle: a non-restoring division by the channel's step. Stage i adds ``2**i``
    steps to the remainder if that is negative, and subtracts them if not. The result's bits tell
    whether it was nonnegative; the first of them is the inverted sign, and the final remainder, at
    least minus a step and less than one step, gives the last.

    * A total beyond the results' range has the same sign in all stages, so that it saturates by
      itself.
    * The remainder of any other total takes one bit less after every stage. The registers are no
      wider; ``over`` records that something did not fit, and the result then is the limit.
    * Each stage is one carry chain, whose LUTs select between addition and subtraction.
    """

    def __init__(self, fmt: ParamFormat, bits: int) -> None:
        self.fmt, self.bits = fmt, bits
        super().__init__(
            {
                "acc": In(signed(fmt.acc_bits)),
                "base": In(signed(fmt.base_bits)),
                "steps": In(fmt.step_bits * (bits - 1)),
                "tie": In(1),
                "y": Out(signed(bits)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from an accumulator to its result: the sum, one stage for every bit except the
        first, and the limits."""
        return self.bits + 1

    def compute(
        self, acc: ArrayLike, base: ArrayLike, step: ArrayLike, tie: ArrayLike
    ) -> NDArray[np.int64]:
        """``y`` of arrays of accumulators and parameters, which broadcast."""
        return numerics.requantize(acc, base, step, tie, bits=self.bits)

    @property
    def parameters(self) -> tuple[object, ...]:
        """The parameters ``fmt`` and ``bits``."""
        return self.fmt, self.bits

    def build(self, fabric: Fabric) -> Module:
        m = Module()
        width = self.fmt.step_bits
        left, over = self._total(m), Const(0, 1)
        bits: list[Value] = []
        for stage, i in enumerate(reversed(range(self.bits - 1))):
            positive = ~left[-1]
            left, over = kept(left, over, width + i + 2)
            step = Cat(self.steps.word_select(stage, width), Const(0, 1))
            high = Signal(signed(len(left) - i), name=f"high_{i}", reset_less=True)
            m.d.sync += high.eq(
                add_term(
                    left[i:].as_signed(),
                    (step ^ positive.replicate(width + 1)).as_signed(),
                    positive,
                )
            )
            # Unchanged data go through registers with a reset, which synthesis does not turn into
            # LUTs (shift registers).
            left = Cat(delay(m, left[:i], 1, f"low_{i}", reset=True), high)
            over = delay(m, over, 1, f"over_{i}", reset=True)
            bits = [
                delay(m, bit, 1, f"bit_{i}_{k}", reset=True)
                for k, bit in enumerate([*bits, positive])
            ]
        left, over = kept(left, over, width + 1)
        first = bits[0]
        lowest = ~left[-1] & ~(self.tie & ~left.any())
        y = [Mux(over, first, bit) for bit in (lowest, *reversed(bits[1:]))]
        m.d.sync += self.y.eq(Cat(*y, ~first).as_signed())
        return m

    def _total(self, m: Module) -> Value:
        """Accumulator and base in units of the step's last bit, at least as wide as the input of
        the first stage."""
        fraction = self.fmt.base_fraction_bits
        whole = Signal(signed(self.fmt.acc_bits + 2), reset_less=True)
        m.d.sync += whole.eq(add_term(self.base[fraction:].as_signed(), self.acc, Const(0)))
        total = Cat(
            Const(0, self.fmt.fraction_bits - fraction),
            delay(m, self.base[:fraction], 1, "fraction", reset=True),
            whole,
        )
        missing = self.fmt.step_bits + self.bits - len(total)
        return Cat(total, whole[-1].replicate(max(missing, 0)))
