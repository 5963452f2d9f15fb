"""Operand fetch: from steps to bank addresses, and from banks to lanes."""

from math import gcd

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import WRAP_MIN
from sigbit_hw.gateware.compute.agu import step_layout
from sigbit_hw.gateware.compute.array import CONTROL
from sigbit_hw.gateware.compute.buffers import ActMemory, WeightMemory
from sigbit_hw.gateware.parts.pipeline import choose, delay


def most_line_ends(pixels: int) -> int:
    """Maximum number of output lines that can end before the last lane of a block."""

    def ends(wrap: int) -> int:
        return (wrap - gcd(wrap, pixels) + pixels - 1) // wrap  # with the first lane farthest right

    return max(map(ends, range(min(WRAP_MIN, pixels), pixels + 2)))


def number_of(flags: list[Value]) -> Value:
    """Number of set ``flags``; set flags precede all others."""
    if not flags:
        return Const(0, 0)
    half = 1 << (len(flags).bit_length() - 1)
    most = flags[half - 1]
    return Cat(Mux(most, number_of(flags[half:]), number_of(flags[: half - 1])), most)


class OperandFetch(wiring.Component):
    """Tracks every segment's slots, addresses the banks, and rotates the slots read to the lanes.

    Lane p of a step at slot F reads slot F + p, and ``gap_words`` words further for each output
    line that has ended before it. So bank b serves lane ``(b - F) % pixels``; its word is
    ``F // pixels``, or the next if ``b < F % pixels``, and the gaps.

    Members
    -------
    ``valid : In(1)``, ``step : In(step_layout)``
        A step of the nest walker.
    ``words : Out(word).array(pixels)``, ``slots : In(slot_bits).array(pixels)``
        Port A of the activation memory.
    ``weight : Out(word)``
        Address of the weight memory, timed so that its word arrives together with the activations.
    ``fed : Out(1)``, ``control : Out(CONTROL)``, ``acts : Out(slot_bits).array(pixels)``
        The step of :attr:`latency` cycles ago with its activations, lane by lane.

    One step per cycle.
    """

    address_cycles = 4
    latency = address_cycles + ActMemory.read_latency + 1

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        word_bits = ceil_log2(config.act_slots // config.pixels)
        super().__init__(
            {
                "valid": In(1),
                "step": In(step_layout(config)),
                "words": Out(word_bits).array(config.pixels),
                "slots": In(config.slot_bits).array(config.pixels),
                "weight": Out(ceil_log2(config.weight_words)),
                "fed": Out(1),
                "control": Out(CONTROL),
                "acts": Out(config.slot_bits).array(config.pixels),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, step = self.config, self.step
        pixels, lane_bits = config.pixels, ceil_log2(config.pixels)

        # Cycle 1: the slot of lane 0.
        slot = Signal(ceil_log2(config.act_slots), reset_less=True)
        start = Signal(slot.shape())
        m.submodules.positions = positions = memory.Memory(
            shape=slot.shape(), depth=config.segments, init=[]
        )
        reader, writer = positions.read_port(domain="comb"), positions.write_port()
        m.d.comb += [
            reader.addr.eq(step.segment),
            start.eq(Mux(step.fresh, step.base, reader.data)),
            writer.addr.eq(step.segment),
            writer.data.eq(start + step.advance),
            writer.en.eq(self.valid & step.first),
        ]
        with m.If(self.valid):
            m.d.sync += slot.eq(Mux(step.first, start, slot + step.step))
        # In parallel, the lanes before which lines end, and the words for 1, 2, … gaps.
        most = most_line_ends(pixels)
        ends = [delay(m, step.room + j * step.line, 1, f"end_{j}") for j in range(most)]
        gaps = [
            delay(m, (k * step.gap_words)[: len(step.gap_words)], 1, f"gaps_{k}")
            for k in range(1, most + 1)
        ]

        # Cycle 2: lanes counted from bank 0 on, so that the banks below the rotation come after all
        # others; the word of lane 0 after this number of gaps.
        rotation, word = slot[:lane_bits], slot[lane_bits:]
        ends = [delay(m, rotation + end, 1, f"bank_end_{j}") for j, end in enumerate(ends)]
        words = [
            delay(m, value[: len(word)], 1, f"word_after_{k}")
            for k, value in enumerate([word, *(word + gap for gap in gaps)])
        ]
        first_bank = delay(m, rotation, 1, "first_bank")

        # Cycle 3: the number of lines that have ended before the lane of each bank.
        words = [delay(m, value, 1, f"choice_{k}") for k, value in enumerate(words)]
        counts, next_word = [], []
        for b in range(pixels):
            below = first_bank > b
            passed = [
                (end[lane_bits:] < below) | ((end[lane_bits:] == below) & (end[:lane_bits] <= b))
                for end in ends
            ]
            counts.append(delay(m, number_of(passed), 1, f"count_{b}"))
            next_word.append(delay(m, below, 1, f"next_{b}"))

        # Cycle 4: every bank's word. Then the memory; then lane p takes bank (slot + p) % pixels,
        # in rotations by two bits of the slot each.
        for b in range(pixels):
            chosen = Signal(word.shape(), name=f"chosen_{b}")
            with m.Switch(counts[b]):
                for k, value in enumerate(words):
                    with m.Case(k):
                        m.d.comb += chosen.eq(value)
            m.d.sync += self.words[b].eq(chosen + next_word[b])
        last_rotation = delay(m, rotation, 3 + ActMemory.read_latency, "rotation")
        lanes = list(self.slots)
        for low in range(0, lane_bits, 2):
            turns = last_rotation[low : low + 2]
            lanes = [
                choose(turns, [lanes[(p + (r << low)) % pixels] for r in range(1 << len(turns))])
                for p in range(pixels)
            ]
        m.d.sync += [act.eq(lane) for act, lane in zip(self.acts, lanes, strict=True)]
        m.d.comb += [
            self.weight.eq(
                delay(m, step.weight, self.latency - WeightMemory.read_latency, "weight")
            ),
            self.fed.eq(delay(m, self.valid, self.latency, "fed", reset=True)),
            self.control.eq(delay(m, step.control, self.latency, "control")),
        ]
        return m
