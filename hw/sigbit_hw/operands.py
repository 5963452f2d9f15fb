"""Operand fetch: from steps to bank addresses, and from banks to lanes."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sigbit_hw.agu import step_layout
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.array import CONTROL
from sigbit_hw.buffers import ActMemory, WeightMemory
from sigbit_hw.pipeline import delay


class OperandFetch(wiring.Component):
    """Walks every segment's slots, addresses the banks, rotates what they give to the lanes.

    Lane p of a step at slot F reads slot F + p, and ``wrap_words`` words further if it is wrapped.
    So bank b serves lane ``(b - F) % pixels``; its word is ``F // pixels``, or the next if
    ``b < F % pixels``.

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

    One step a cycle.
    """

    address_cycles = 3
    latency = address_cycles + ActMemory.read_latency + 1

    def __init__(self, config: ArchConfig) -> None:
        self.config = config
        word_bits = ceil_log2(config.act_slots // config.pixels)
        super().__init__({
            "valid": In(1),
            "step": In(step_layout(config)),
            "words": Out(word_bits).array(config.pixels),
            "slots": In(config.slot_bits).array(config.pixels),
            "weight": Out(ceil_log2(config.weight_words)),
            "fed": Out(1),
            "control": Out(CONTROL),
            "acts": Out(config.slot_bits).array(config.pixels),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, step = self.config, self.step
        pixels, lane_bits = config.pixels, ceil_log2(config.pixels)

        # Cycle 1: the slot of lane 0.
        slot = Signal(ceil_log2(config.act_slots), reset_less=True)
        start = Signal(slot.shape())
        m.submodules.positions = positions = memory.Memory(
            shape=slot.shape(), depth=config.segments, init=[])
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
        wrapped = delay(m, step.wrapped, 1, "wrapped")
        wrap_words = delay(m, step.wrap_words, 1, "wrap_words")

        # Cycle 2: its word, the same with wrap, and for every bank whether its lane is wrapped.
        rotation, word = slot[:lane_bits], slot[lane_bits:]
        plain, further = (Signal(word.shape(), name=name, reset_less=True)
                          for name in ("plain", "further"))
        bank_wrapped, bank_next = (Signal(pixels, name=name, reset_less=True)
                                   for name in ("bank_wrapped", "bank_next"))
        m.d.sync += [
            plain.eq(word),
            further.eq(word + wrap_words),
            bank_wrapped.eq(Cat(wrapped.bit_select((b - rotation)[:lane_bits], 1)
                                for b in range(pixels))),
            bank_next.eq(Cat(b < rotation for b in range(pixels))),
        ]

        # Cycle 3: every bank's word. Then the memory; then lane p takes bank (slot + p) % pixels.
        last_rotation = delay(m, rotation, 2 + ActMemory.read_latency, "rotation")
        for b in range(pixels):
            m.d.sync += self.words[b].eq(
                Mux(bank_wrapped[b], further, plain) + bank_next[b])
        with m.Switch(last_rotation):
            for r in range(pixels):
                with m.Case(r):
                    m.d.sync += [lane.eq(self.slots[(r + p) % pixels])
                                 for p, lane in enumerate(self.acts)]
        m.d.comb += [
            self.weight.eq(delay(
                m, step.weight, self.latency - WeightMemory.read_latency, "weight")),
            self.fed.eq(delay(m, self.valid, self.latency, "fed", reset=True)),
            self.control.eq(delay(m, step.control, self.latency, "control")),
        ]
        return m
