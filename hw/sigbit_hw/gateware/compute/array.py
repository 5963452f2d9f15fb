"""The array: ``pixels * oc_lanes`` dot products with their accumulators, and the running maxima."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.compute.mac import DotProduct
from sigbit_hw.gateware.compute.pool import RunningMax
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_hw.gateware.fabric.leaf import Leaf
from sigbit_hw.gateware.parts.pipeline import add_with_carry, delay

CONTROL = data.StructLayout(
    {
        "pool": 1,
        "clear": 1,
        "shift": 1,
        "last": 1,
        "drain": 1,
        "end": 1,
    }
)
"""Control of a step: ``pool`` for ``Mode.MAX``; ``clear`` the accumulators, or ``shift`` them left,
before the step; ``last`` step of its block, which is to ``drain``; ``end`` of its EXEC."""


class Accumulator(Leaf):
    """An accumulator: on 6-input LUTs one LUT per bit, with a carry chain.

    Parameters
    ----------
    acc_bits, dot_bits : int
        Widths of the accumulator and of the addend.
    radix_bits : int
        Distance of a shift.

    Members
    -------
    ``enable : In(1)``, ``clear : In(1)``, ``shift : In(1)``
        Operation of the next cycle: each accumulator has its own registers for them, which can be
        placed near it.
    ``dot : In(signed(dot_bits))``, ``carry : In(1)``
        If this cycle is to ``enable``, ``acc = (clear ? 0 : shift ? acc << radix_bits : acc) + dot
        + carry`` in the next.
    ``acc : Out(signed(acc_bits))``
        It wraps.
    """

    def __init__(self, acc_bits: int, dot_bits: int, radix_bits: int) -> None:
        self.radix_bits = radix_bits
        super().__init__(
            {
                "dot": In(signed(dot_bits)),
                "carry": In(1),
                "enable": In(1),
                "clear": In(1),
                "shift": In(1),
                "acc": Out(signed(acc_bits)),
            }
        )

    @property
    def parameters(self) -> tuple[object, ...]:
        """The parameters ``acc_bits``, ``dot_bits`` and ``radix_bits``."""
        return len(self.acc), len(self.dot), self.radix_bits

    def build(self, fabric: Fabric) -> Module:
        m = Module()
        bits = len(self.acc)
        acc = Signal(signed(bits), name="sum", reset_less=True)
        enable, clear, shift = (
            delay(m, getattr(self, name), 1, name) for name in ("enable", "clear", "shift")
        )
        held = Mux(clear, 0, Mux(shift, acc << self.radix_bits, acc))
        total = add_with_carry(held[:bits].as_signed(), self.dot, self.carry)
        with m.If(enable):
            m.d.sync += acc.eq(total)
        m.d.comb += self.acc.eq(acc)
        return m


class MacArray(wiring.Component):
    """Accumulators of ``pixels * oc_lanes`` outputs, and maxima of ``pixels * ic_lanes`` channels.

    A step computes ``acc = (clear ? 0 : shift ? acc << term_radix_bits : acc) + weights . acts`` in
    ``acc_bits`` of two's complement (it wraps); for ``pool``, the largest ``acts`` since ``clear``.

    Members
    -------
    ``valid : In(1)``, ``control : In(CONTROL)``
        A step in this cycle.
    ``acts : In(slot_bits).array(pixels)``, ``weights : In(weight_word_bits)``
        Its operands: pixel p's slot; the weights of lane ``oc * ic_lanes + ic``.
    ``acc : Out(signed(acc_bits)).array(pixels, oc_lanes)``
    ``maxima : Out(slot_bits).array(pixels)``
        Results, :attr:`latency` cycles after the step.
    ``done : Out(1)``, ``done_control : Out(CONTROL)``
        The step of :attr:`latency` cycles ago, whose result is there in this cycle only.

    One step per cycle, with any gaps.
    """

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        self.dots = [
            [
                DotProduct(config.weight_format, config.act_format, config.ic_lanes)
                for _ in range(config.oc_lanes)
            ]
            for _ in range(config.pixels)
        ]
        self.pools = [RunningMax(config.act_format, config.ic_lanes) for _ in range(config.pixels)]
        super().__init__(
            {
                "valid": In(1),
                "control": In(CONTROL),
                "acts": In(config.slot_bits).array(config.pixels),
                "weights": In(config.weight_word_bits),
                "acc": Out(signed(config.acc_bits)).array(config.pixels, config.oc_lanes),
                "maxima": Out(config.slot_bits).array(config.pixels),
                "done": Out(1),
                "done_control": Out(CONTROL),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a step to its result: the dot product and the accumulator."""
        return self.dots[0][0].latency + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, wait = self.config, self.latency - 1
        soon_valid = delay(m, self.valid, wait - 1, "soon_valid", reset=True)
        soon = delay(m, self.control, wait - 1, "soon")
        valid = delay(m, soon_valid, 1, "valid", reset=True)
        control = delay(m, soon, 1, "control")
        lane_bits = config.ic_lanes * config.weight_format.bits
        bits, width = config.act_format.bits, config.act_format.lane_bits
        enable = Signal()
        m.d.comb += enable.eq(soon_valid & ~soon.pool)
        for p in range(config.pixels):
            m.submodules[f"pool_{p}"] = pool = self.pools[p]
            m.d.comb += [
                pool.acts.eq(delay(m, self.acts[p], wait, f"acts_{p}")),
                pool.enable.eq(valid & control.pool),
                pool.clear.eq(control.clear),
                self.maxima[p].eq(pool.codes),
            ]
            for n in range(config.oc_lanes):
                m.submodules[f"dot_{p}_{n}"] = dot = self.dots[p][n]
                m.submodules[f"acc_{p}_{n}"] = acc = Accumulator(
                    config.acc_bits, len(dot.dot), config.term_radix_bits
                )
                m.d.comb += [
                    dot.acts.eq(
                        Cat(
                            self.acts[p].word_select(lane, width)[:bits]
                            for lane in range(config.ic_lanes)
                        )
                    ),
                    dot.weights.eq(self.weights.word_select(n, lane_bits)),
                    acc.dot.eq(dot.dot),
                    acc.carry.eq(dot.carry),
                    acc.enable.eq(enable),
                    acc.clear.eq(soon.clear),
                    acc.shift.eq(soon.shift),
                    self.acc[p][n].eq(acc.acc),
                ]
        m.d.comb += [
            self.done.eq(delay(m, valid, 1, "done", reset=True)),
            self.done_control.eq(delay(m, control, 1, "done_control")),
        ]
        return m
