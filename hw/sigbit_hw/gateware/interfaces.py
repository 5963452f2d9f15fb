"""Signatures between the blocks of the accelerator, from the viewpoint of the side that drives
``Out``."""

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import ceil_log2

from sigbit_hw.arch import isa, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import INDEX_BITS
from sigbit_hw.arch.numerics import TABLE_ENTRIES
from sigbit_hw.arch.params import ITEM_BYTES

ENGINES = len(isa.Engine)

INSTRUCTION = data.StructLayout({"word": isa.WORD_BITS, "index": INDEX_BITS})
"""An instruction whose tokens have been taken, and its index."""

InstructionStream = stream.Signature(INSTRUCTION)


def instruction_layout(opcode: isa.Opcode) -> data.StructLayout:
    """Bit layout of an instruction, generated from ``isa.LAYOUTS``: a view for
    ``word[:layout.size]``."""
    from amaranth.hdl import signed, unsigned

    return data.StructLayout(
        {f.name: signed(f.width) if f.signed else unsigned(f.width) for f in isa.fields_of(opcode)}
    )


class Retire(Signature):
    """``valid`` for one cycle when a signalling instruction has finished, in order, with its
    ``signal`` mask."""

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "signal": Out(ENGINES), "index": Out(INDEX_BITS)})


class Error(Signature):
    """``valid`` for at least one cycle with a ``regs.Cause`` and the instruction's index."""

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "cause": Out(regs.CAUSE_BITS), "index": Out(INDEX_BITS)})


class ActWrite(Signature):
    """Writes of consecutive slots to the activation memory, stalled while the drain uses a port.

    A transfer writes the first ``count`` (at least 1) of ``data`` to ``slot``, ``slot + 1``, …, all
    of them in one later cycle. ``busy``: an earlier transfer has not been written before this
    cycle; once it is low, every earlier transfer can be read.
    """

    def __init__(self, config: ArchConfig) -> None:
        slots = config.slots_per_move
        payload = data.StructLayout(
            {
                "slot": ceil_log2(config.act_slots),
                "count": range(slots + 1),
                "data": data.ArrayLayout(config.slot_bits, slots),
            }
        )
        super().__init__({"stream": Out(stream.Signature(payload)), "busy": In(1)})


class ActRead(Signature):
    """Reads of ``count`` (at least 1) consecutive slots from ``slot`` on: a stream of requests;
    ``data`` with ``valid`` follows each, in order, without back-pressure. Slot ``slot + i`` is
    element ``(lane + i) % slots_per_move`` of its ``slots``.

    ``data`` is a structure because Yosys gives bit k of a wire the name that element k of an array
    port has.
    """

    def __init__(self, config: ArchConfig) -> None:
        slots = config.slots_per_move
        request = data.StructLayout(
            {
                "slot": ceil_log2(config.act_slots),
                "count": range(slots + 1),
                "lane": range(slots),
            }
        )
        super().__init__(
            {
                "request": Out(stream.Signature(request)),
                "valid": In(1),
                "data": In(data.StructLayout({"slots": data.ArrayLayout(config.slot_bits, slots)})),
            }
        )


class WeightWrite(Signature):
    """Write of one bus beat to part ``part`` of weight word ``word``; always accepted."""

    def __init__(self, config: ArchConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "word": Out(ceil_log2(config.weight_words)),
                "part": Out(ceil_log2(config.weight_word_bits // config.bus_bits)),
                "data": Out(config.bus_bits),
            }
        )


class ParamWrite(Signature):
    """Write of the 8-byte parameter item of ``lane`` in ``group``; always accepted."""

    def __init__(self, config: ArchConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "group": Out(ceil_log2(config.param_groups)),
                "lane": Out(ceil_log2(config.param_lanes)),
                "item": Out(8 * ITEM_BYTES),
            }
        )


class TableWrite(Signature):
    """Write of entry ``entry`` of ``table``; always accepted."""

    def __init__(self, config: ArchConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "table": Out(ceil_log2(config.tables)),
                "entry": Out(ceil_log2(TABLE_ENTRIES)),
                "code": Out(config.act_format.bits),
            }
        )


class ActTrace(Signature):
    """All writes to the activation memory in this cycle, bank by bank, from any source; for
    checkers."""

    def __init__(self, config: ArchConfig) -> None:
        bank = {
            "valid": Out(1),
            "word": Out(ceil_log2(config.act_slots // config.pixels)),
            "data": Out(config.slot_bits),
        }
        super().__init__({f"bank_{b}": Out(Signature(bank)) for b in range(config.pixels)})
