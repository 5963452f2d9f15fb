"""Baseline of the array in straightforward RTL: two's complement, ``*`` and ``+``, left to Yosys.
The array alone, for comparison with the accelerators of the benchmark."""

import hashlib

from amaranth.back import rtlil
from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.gateware.emit import deduplicate
from sigbit_synthesis import Resources, Target
from sigbit_synthesis.modules import split
from sigbit_synthesis.netlist import map_modules

NAME = "plain_dot"


class PlainDot(wiring.Component):
    """Accumulated dot product of two's-complement integers: registered products, a registered tree
    of two-operand adders, an accumulator.

    Parameters
    ----------
    weight_bits : int
        Width of the signed weights.
    act_shape : Shape
        Shape of the activations, signed or unsigned.
    lanes : int
        Products, a power of two.
    acc_bits : int
        Width of the accumulator, which wraps.

    Members
    -------
    ``weights : In(signed(weight_bits)).array(lanes)``, ``acts : In(act_shape).array(lanes)``
        One step every cycle.
    ``clear : In(1)``
        The sum that leaves the tree starts a new total.
    ``acc : Out(signed(acc_bits))``
        The total, ``log2(lanes) + 2`` cycles after the step.
    """

    def __init__(self, weight_bits: int, act_shape: Shape, lanes: int, acc_bits: int) -> None:
        super().__init__(
            {
                "weights": In(signed(weight_bits)).array(lanes),
                "acts": In(act_shape).array(lanes),
                "clear": In(1),
                "acc": Out(signed(acc_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sums = [w * a for w, a in zip(self.weights, self.acts, strict=True)]
        level = 0
        while True:
            registers = []
            for k, value in enumerate(sums):
                register = Signal.like(value, name=f"sum_{level}_{k}", reset_less=True)
                m.d.sync += register.eq(value)
                registers.append(register)
            if len(registers) == 1:
                break
            sums = [a + b for a, b in zip(registers[::2], registers[1::2], strict=True)]
            level += 1
        m.d.sync += self.acc.eq(Mux(self.clear, 0, self.acc) + registers[0])
        return m


def plain_dot(
    weight_bits: int, act_bits: int, act_signed: bool, lanes: int, acc_bits: int, target: Target
) -> tuple[Resources, str]:
    """Cells of one :class:`PlainDot` on ``target``, without DSP blocks, and the SHA-256 of its
    RTLIL."""
    dot = PlainDot(weight_bits, Shape(act_bits, act_signed), lanes, acc_bits)
    text = deduplicate(rtlil.convert(dot, name=NAME, emit_src=False))
    (netlist,) = map_modules(split(text).values(), target, lambda *_: None).values()
    return Resources.of_cells(netlist.counts()), hashlib.sha256(text.encode()).hexdigest()
