"""The instruction set: opcodes, fields and their bit positions, encoding and decoding.

An instruction is :data:`WORD_BITS` bits, little-endian in memory, its fields packed from bit 0 in
the order of :data:`LAYOUTS`. Every instruction starts with the header (opcode, tokens, tag).
Semantics are stated field by field here and executed by ``sigbit_sim.interp.device``.

Engines run concurrently, each taking its own instructions in program order: LOAD (``LOAD``,
``FILL``), COMPUTE (``SEG``, ``OUT``, ``EXEC``) and STORE (``STORE``). An instruction first takes
one token from every engine in its ``wait`` mask, then runs, then gives one to every engine in its
``signal`` mask. A legal program is also correct when its instructions run one after another in
program order; tokens only ever go forward.
"""

from dataclasses import dataclass
from enum import IntEnum, unique
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD_BITS = 256
WORD_BYTES = WORD_BITS // 8
WRAP_MIN = 4
"""Least output pixels of a line in a run of several lines (`EXEC.wrap`)."""
TOKEN_MAX = 15
"""A token counter holds at most this many; one more is the error ``TOKEN_OVERFLOW``."""


@unique
class Engine(IntEnum):
    """Engines, numbered as their bits in the token masks."""

    LOAD = 0
    COMPUTE = 1
    STORE = 2


@unique
class Opcode(IntEnum):
    """Operations; 0 is illegal so that blank memory stops the machine."""

    HALT = 1
    LOAD = 2
    FILL = 3
    SEG = 4
    OUT = 5
    EXEC = 6
    STORE = 7


ENGINE_OF = MappingProxyType(
    {
        Opcode.LOAD: Engine.LOAD,
        Opcode.FILL: Engine.LOAD,
        Opcode.SEG: Engine.COMPUTE,
        Opcode.OUT: Engine.COMPUTE,
        Opcode.EXEC: Engine.COMPUTE,
        Opcode.STORE: Engine.STORE,
    }
)
"""The engine that runs an opcode; ``HALT`` belongs to the sequencer."""

SIGNALLING = frozenset({Opcode.LOAD, Opcode.FILL, Opcode.EXEC, Opcode.STORE})
"""Opcodes that may give tokens."""


@unique
class LoadKind(IntEnum):
    """Destination of a ``LOAD``."""

    WEIGHTS = 0
    ACTS = 1
    PARAMS = 2
    TABLE = 3


@unique
class Mode(IntEnum):
    """What ``EXEC`` does with its operands: multiply-accumulate, or running maximum of the
    activations."""

    MAC = 0
    MAX = 1


@dataclass(frozen=True)
class Field:
    """One field: ``width`` bits, two's complement if ``signed``; ``least`` is the smallest legal
    value."""

    name: str
    width: int
    doc: str
    signed: bool = False
    least: int | None = None

    @property
    def min(self) -> int:
        """Smallest encodable legal value."""
        if self.least is not None:
            return self.least
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        """Largest encodable value."""
        return (1 << (self.width - self.signed)) - 1


SLOT_BITS = 20
STEP_BITS = SLOT_BITS + 1
ADDRESS_BITS = 32
TAG_BITS = 16


def _step(name: str, doc: str) -> Field:
    return Field(name, STEP_BITS, doc, signed=True)


HEADER = (
    Field("opcode", 4, "operation"),
    Field(
        "wait",
        3,
        "engines to take one token from before starting (bit per engine; own bit illegal)",
    ),
    Field(
        "signal",
        3,
        "engines to give one token to after finishing (bit per engine; own bit illegal)",
    ),
    Field("tag", TAG_BITS, "free number for traces: the compiler's index of the layer"),
)

_BLOCK3D = (
    Field(
        "n0",
        SLOT_BITS,
        "consecutive slots of a run (ACTS, FILL, STORE), or items: words, groups, tables",
        least=1,
    ),
    Field("n1", 12, "runs of a plane", least=1),
    Field("n2", 12, "planes", least=1),
    _step("d1", "slots from one run's start to the next's"),
    _step("d2", "slots from one plane's start to the next's"),
)

LAYOUTS = MappingProxyType(
    {
        Opcode.HALT: (),
        Opcode.LOAD: (
            Field("kind", 2, "LoadKind; the data lie densely in memory from `address` on"),
            Field(
                "address",
                ADDRESS_BITS,
                "byte offset into the DMA window, a multiple of the bus width",
            ),
            Field("beats", 24, "bus beats that the items fill, the last one padded", least=1),
            Field("dst", SLOT_BITS, "first weight word, slot, parameter group or table"),
            *_BLOCK3D,
        ),
        Opcode.FILL: (
            Field("code", 8, "activation code written to every lane of every slot"),
            Field("dst", SLOT_BITS, "first slot"),
            *_BLOCK3D,
        ),
        Opcode.SEG: (
            Field("index", 4, "entry of the segment table"),
            Field(
                "shift",
                1,
                "shift the accumulators left by the radix before this segment's first step",
            ),
            Field("base", SLOT_BITS, "slot of lane 0 at the first step of the first block"),
            Field("n_ic", 11, "steps of the innermost loop (channel slots)", least=1),
            Field("n_kx", 5, "steps of the middle loop (kernel columns)", least=1),
            Field("n_ky", 5, "steps of the outer loop (kernel rows)", least=1),
            _step("d_ic", "slots added at an innermost step"),
            _step(
                "d_kx", "slots added when the middle loop steps (from the last innermost position)"
            ),
            _step("d_ky", "slots added when the outer loop steps (from the last inner position)"),
            _step(
                "gap",
                "slots skipped where an output line ends: a lane past k line ends reads k * gap "
                "further; a multiple of pixels",
            ),
            _step(
                "d_block",
                "slots from a block's base to the next's in a run if pixels // wrap output lines "
                "end in the block; one line end more adds gap",
            ),
            _step("d_row", "slots from the last block's base of a row to the first's of the next"),
            _step(
                "d_ocb",
                "slots from the last block's base of an output-channel block to the next's first",
            ),
            Field(
                "words",
                16,
                "weight word of the first step, from the output-channel block's first one on; one "
                "word a step",
            ),
        ),
        Opcode.OUT: (
            Field("base", SLOT_BITS, "slot of the first output pixel, first channel slot, plane 0"),
            _step(
                "d_slot",
                "slots between channel slots (odd: the drain's slots then lie in different banks)",
            ),
            Field(
                "n_slots",
                11,
                "channel slots of the output; writes of later ones are suppressed",
                least=1,
            ),
            Field("phases", 4, "column phases of the output layout", least=1),
            _step("d_pix", "slots from a pixel to the next one, in the next phase"),
            _step("d_col", "slots from a pixel in the last phase to the next one, in phase 0"),
            _step(
                "d_line",
                "slots from the last pixel of a line to the first of the next in the same row run",
            ),
            _step("d_row", "slots from the last pixel of a row run to the first of the next"),
            Field("n_planes", 3, "output planes; plane j is looked up in table + j", least=1),
            _step("d_plane", "slots between planes"),
            Field("param", 12, "first parameter group"),
            Field("table", 4, "first activation table"),
        ),
        Opcode.EXEC: (
            Field("mode", 1, "Mode"),
            Field("keep", 1, "do not clear the accumulators before the first step"),
            Field(
                "drain",
                1,
                "requantize and write the accumulators after the last step of every block",
            ),
            Field("sync", 1, "wait until every earlier EXEC has written all its outputs"),
            Field("n_seg", 5, "segments, taken from entry 0 on", least=1),
            Field(
                "n_ocb",
                11,
                "output-channel blocks (MAC: of oc_lanes; MAX: of ic_lanes channels)",
                least=1,
            ),
            Field("n_rows", 12, "row runs", least=1),
            Field("run", SLOT_BITS, "output pixels of a row run", least=1),
            Field(
                "wrap",
                SLOT_BITS,
                "output pixels of a line, at least WRAP_MIN and at least `pixels` if that is less; "
                "a line ends inside a run after every `wrap` pixels",
                least=1,
            ),
            Field("block_step", SLOT_BITS, "pixels % wrap: columns from a block to the next"),
            Field(
                "group_step",
                SLOT_BITS,
                "drain_pixels % wrap: columns from a cycle of the drain to the next",
            ),
            Field(
                "weights",
                16,
                "first weight word of the first output-channel block; the same words again for "
                "every block of its pixels",
            ),
            Field(
                "block_words",
                16,
                "weight words from an output-channel block's first to the next's",
            ),
        ),
        Opcode.STORE: (
            Field(
                "address",
                ADDRESS_BITS,
                "byte offset into the DMA window, a multiple of the bus width; written densely",
            ),
            Field(
                "beats",
                24,
                "bus beats that the slots fill; bytes of the last one past them are not written",
                least=1,
            ),
            Field("src", SLOT_BITS, "first slot"),
            *_BLOCK3D,
        ),
    }
)
"""Fields after the header, by opcode."""


def fields_of(opcode: Opcode) -> tuple[Field, ...]:
    """All fields of an instruction, header first, from bit 0 up."""
    return HEADER + LAYOUTS[opcode]


@dataclass(frozen=True)
class Instr:
    """One instruction.

    ``Instr(Opcode.EXEC, run=64, …)``: fields that are not given are at their least legal value if
    that is positive, else 0; ``ValueError`` names an unknown or out-of-range field.
    """

    opcode: Opcode
    values: MappingProxyType[str, int]

    def __init__(self, opcode: Opcode, **values: int) -> None:
        known = {f.name: f for f in fields_of(opcode)}
        if unknown := set(values) - set(known) | ({"opcode"} & set(values)):
            raise ValueError(
                f"{opcode.name} has no field {sorted(unknown)}; "
                f"it has {sorted(set(known) - {'opcode'})}"
            )
        full = {name: max(f.min, 0) for name, f in known.items()} | {"opcode": int(opcode)}
        full |= {name: int(value) for name, value in values.items()}
        for name, value in full.items():
            if not known[name].min <= value <= known[name].max:
                raise ValueError(
                    f"{opcode.name}.{name} must be in [{known[name].min}, {known[name].max}], "
                    f"not {value}"
                )
        if opcode in ENGINE_OF and (full["wait"] | full["signal"]) >> ENGINE_OF[opcode] & 1:
            raise ValueError(f"{opcode.name} must not exchange tokens with its own engine")
        if opcode not in SIGNALLING and full["signal"]:
            raise ValueError(f"{opcode.name} must not signal; let the EXEC do it")
        if opcode not in ENGINE_OF and full["wait"]:
            raise ValueError(f"{opcode.name} must not wait for tokens; it waits until all is idle")
        object.__setattr__(self, "opcode", opcode)
        object.__setattr__(self, "values", MappingProxyType(full))

    def __getattr__(self, name: str) -> int:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instr) and dict(self.values) == dict(other.values)

    def __hash__(self) -> int:
        return hash(self.encode())

    def replace(self, **values: int) -> "Instr":
        """A copy with some fields changed."""
        return Instr(
            self.opcode, **{k: v for k, v in self.values.items() if k != "opcode"} | values
        )

    def encode(self) -> int:
        """The instruction as a :data:`WORD_BITS`-bit unsigned integer."""
        word, position = 0, 0
        for f in fields_of(self.opcode):
            word |= (self.values[f.name] & ((1 << f.width) - 1)) << position
            position += f.width
        return word


def decode(word: int) -> Instr:
    """The instruction of a word; ``ValueError`` if its opcode or a field is illegal, or spare bits
    are set."""
    try:
        opcode = Opcode(word & ((1 << HEADER[0].width) - 1))
    except ValueError:
        raise ValueError(
            f"illegal opcode {word & 15}; legal are "
            f"{', '.join(f'{o.name} ({o.value})' for o in Opcode)}"
        ) from None
    values: dict[str, Any] = {}
    for f in fields_of(opcode):
        raw = word & ((1 << f.width) - 1)
        values[f.name] = raw - (1 << f.width) if f.signed and raw >> (f.width - 1) else raw
        word >>= f.width
    if word:
        raise ValueError(f"{opcode.name} has bits set beyond its last field")
    del values["opcode"]
    return Instr(opcode, **values)


def pack(program: list[Instr]) -> NDArray[np.uint8]:
    """Instructions as bytes in memory order, shape ``[len(program) * WORD_BYTES]``."""
    return np.frombuffer(
        b"".join(i.encode().to_bytes(WORD_BYTES, "little") for i in program), np.uint8
    )


def unpack(data: NDArray[np.uint8]) -> list[Instr]:
    """Instructions of :func:`pack`'s bytes; ``ValueError`` names the first illegal one by its
    index."""
    if data.size % WORD_BYTES:
        raise ValueError(
            f"an instruction stream must be a multiple of {WORD_BYTES} bytes, not {data.size}"
        )
    program = []
    for index, row in enumerate(data.reshape(-1, WORD_BYTES)):
        try:
            program.append(decode(int.from_bytes(row.tobytes(), "little")))
        except ValueError as error:
            raise ValueError(f"instruction {index}: {error}") from None
    return program
