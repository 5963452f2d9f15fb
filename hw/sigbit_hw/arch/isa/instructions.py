"""The instructions, one class each, with all their fields: the table from which gateware,
documentation and assembler are generated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, TypedDict

from sigbit_hw.arch.isa.fields import HEADER, Field, Header, bits, flag, layout_of
from sigbit_hw.arch.isa.opcodes import (
    ADDRESS_BITS,
    BEATS_BITS,
    PARAM_GROUP_BITS,
    SEGMENT_BITS,
    SLOT_BITS,
    STEP_BITS,
    TABLE_BITS,
    WEIGHT_WORD_BITS,
    LoadKind,
    Mode,
    Opcode,
)


class Block(TypedDict):
    """Fields of ``LOAD``, ``FILL`` and ``STORE`` that describe the layout of a block of slots."""

    n0: int
    n1: int
    n2: int
    d1: int
    d2: int


def _step(doc: str) -> Any:
    """Declare a distance between slots."""
    return bits(STEP_BITS, doc, signed=True)


def _address(doc: str) -> Any:
    return bits(ADDRESS_BITS, f"byte offset into the DMA window, a multiple of the bus width{doc}")


def _n0() -> Any:
    return bits(
        SLOT_BITS,
        "consecutive slots of a run (ACTS, FILL, STORE), or items: words, groups, tables",
        least=1,
    )


def _n1() -> Any:
    return bits(12, "runs of a plane", least=1)


def _n2() -> Any:
    return bits(12, "planes", least=1)


def _d1() -> Any:
    return _step("slots from one run's start to the next's")


def _d2() -> Any:
    return _step("slots from one plane's start to the next's")


@dataclass(frozen=True, kw_only=True, slots=True)
class Halt(Header):
    """End the program."""

    opcode: ClassVar[Opcode] = Opcode.HALT


@dataclass(frozen=True, kw_only=True, slots=True)
class Load(Header):
    """Transfer data from the DMA window to an on-chip memory."""

    opcode: ClassVar[Opcode] = Opcode.LOAD
    kind: LoadKind = bits(
        2,
        "LoadKind; the data lie densely in memory from `address` on",
        default=LoadKind.WEIGHTS,
    )
    address: int = _address("")
    beats: int = bits(BEATS_BITS, "bus beats that the items fill, the last one padded", least=1)
    dst: int = bits(SLOT_BITS, "first weight word, slot, parameter group or table")
    n0: int = _n0()
    n1: int = _n1()
    n2: int = _n2()
    d1: int = _d1()
    d2: int = _d2()


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill(Header):
    """Write one code to activation slots."""

    opcode: ClassVar[Opcode] = Opcode.FILL
    code: int = bits(8, "activation code written to every lane of every slot")
    dst: int = bits(SLOT_BITS, "first slot")
    n0: int = _n0()
    n1: int = _n1()
    n2: int = _n2()
    d1: int = _d1()
    d2: int = _d2()


@dataclass(frozen=True, kw_only=True, slots=True)
class Seg(Header):
    """Write an entry of the segment table: the operands of an EXEC."""

    opcode: ClassVar[Opcode] = Opcode.SEG
    index: int = bits(SEGMENT_BITS, "entry of the segment table")
    shift: bool = flag("shift the accumulators left by the radix before this segment's first step")
    base: int = bits(SLOT_BITS, "slot of lane 0 at the first step of the first block")
    n_ic: int = bits(11, "steps of the innermost loop (channel slots)", least=1)
    n_kx: int = bits(5, "steps of the middle loop (kernel columns)", least=1)
    n_ky: int = bits(5, "steps of the outer loop (kernel rows)", least=1)
    d_ic: int = _step("slots added at an innermost step")
    d_kx: int = _step("slots added when the middle loop steps (from the last innermost position)")
    d_ky: int = _step("slots added when the outer loop steps (from the last inner position)")
    gap: int = _step(
        "slots skipped where an output line ends: a lane past k line ends reads k * gap "
        "further; a multiple of pixels"
    )
    d_block: int = _step(
        "slots from a block's base to the next's in a run if pixels // wrap output lines "
        "end in the block; one more line end adds gap"
    )
    d_row: int = _step("slots from the last block's base of a row to the first's of the next")
    d_ocb: int = _step(
        "slots from the last block's base of an output-channel block to the next's first"
    )
    words: int = bits(
        WEIGHT_WORD_BITS,
        "weight word of the first step, counted from the output-channel block's first one; one "
        "word per step",
    )

    @property
    def steps(self) -> int:
        """Steps per block: iterations of the three loops, and also weight words."""
        return self.n_ky * self.n_kx * self.n_ic


@dataclass(frozen=True, kw_only=True, slots=True)
class Out(Header):
    """Set the output descriptor: addresses and post-processing of the next EXEC's results."""

    opcode: ClassVar[Opcode] = Opcode.OUT
    base: int = bits(SLOT_BITS, "slot of the first output pixel, first channel slot, plane 0")
    d_slot: int = _step(
        "slots between channel slots (odd: the drain's slots then lie in different banks)"
    )
    n_slots: int = bits(
        11, "channel slots of the output; writes of later ones are suppressed", least=1
    )
    phases: int = bits(4, "column phases of the output layout", least=1)
    d_pix: int = _step("slots from a pixel to the next one, in the next phase")
    d_col: int = _step("slots from a pixel in the last phase to the next one, in phase 0")
    d_line: int = _step(
        "slots from the last pixel of a line to the first of the next in the same row run"
    )
    d_row: int = _step("slots from the last pixel of a row run to the first of the next")
    n_planes: int = bits(3, "output planes; plane j is looked up in table + j", least=1)
    d_plane: int = _step("slots between planes")
    param: int = bits(PARAM_GROUP_BITS, "first parameter group")
    table: int = bits(TABLE_BITS, "first activation table")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exec(Header):
    """Run a loop nest of array steps."""

    opcode: ClassVar[Opcode] = Opcode.EXEC
    mode: Mode = bits(1, "Mode", default=Mode.MAC)
    keep: bool = flag("do not clear the accumulators before the first step")
    drain: bool = flag("requantize and write the accumulators after the last step of every block")
    sync: bool = flag("wait until every earlier EXEC has written all its outputs")
    n_seg: int = bits(SEGMENT_BITS + 1, "segments, taken from entry 0 on", least=1)
    n_ocb: int = bits(
        11,
        "output-channel blocks (MAC: of oc_lanes; MAX: of ic_lanes channels)",
        least=1,
    )
    n_rows: int = bits(12, "row runs", least=1)
    run: int = bits(SLOT_BITS, "output pixels of a row run", least=1)
    wrap: int = bits(
        SLOT_BITS,
        "output pixels of a line, at least WRAP_MIN and at least `pixels` if that is less; "
        "a line ends inside a run after every `wrap` pixels",
        least=1,
    )
    block_step: int = bits(SLOT_BITS, "pixels % wrap: columns from one block to the next")
    group_step: int = bits(
        SLOT_BITS, "drain_pixels % wrap: columns from one drain cycle to the next"
    )
    weights: int = bits(
        WEIGHT_WORD_BITS,
        "first weight word of the first output-channel block; every block of its pixels uses the "
        "same words",
    )
    block_words: int = bits(
        WEIGHT_WORD_BITS, "weight words from an output-channel block's first to the next's"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Store(Header):
    """Transfer activation slots to the DMA window."""

    opcode: ClassVar[Opcode] = Opcode.STORE
    address: int = _address("; written densely")
    beats: int = bits(
        BEATS_BITS,
        "bus beats that the slots fill; bytes of the last one beyond the slots are not written",
        least=1,
    )
    src: int = bits(SLOT_BITS, "first slot")
    n0: int = _n0()
    n1: int = _n1()
    n2: int = _n2()
    d1: int = _d1()
    d2: int = _d2()


Instr = Halt | Load | Fill | Seg | Out | Exec | Store
"""Any instruction."""

CLASSES: Mapping[Opcode, type[Instr]] = MappingProxyType(
    {c.opcode: c for c in (Halt, Load, Fill, Seg, Out, Exec, Store)}
)
"""Instruction class by opcode."""

LAYOUTS: Mapping[Opcode, tuple[Field, ...]] = MappingProxyType(
    {o: layout_of(c).fields[len(HEADER) - 1 :] for o, c in CLASSES.items()}
)
"""Fields after the header, by opcode."""


def instruction(opcode: Opcode, values: Mapping[str, int]) -> Instr:
    """Instruction with fields that are known only at run time; ``ValueError`` names a field that it
    does not have or that is out of range."""
    if unknown := values.keys() - {f.name for f in fields_of(opcode)[1:]}:
        known = ", ".join(f.name for f in fields_of(opcode)[1:])
        raise ValueError(f"{opcode.name} has the fields {known}, not {', '.join(sorted(unknown))}")
    make: Callable[..., Instr] = CLASSES[opcode]
    return make(**values)


def fields_of(opcode: Opcode) -> tuple[Field, ...]:
    """All fields of an instruction, header first, in order from bit 0."""
    return HEADER + LAYOUTS[opcode]


def field_of(opcode: Opcode, name: str) -> Field:
    """The field ``name`` of an instruction."""
    return next(f for f in fields_of(opcode) if f.name == name)
