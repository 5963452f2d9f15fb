"""The instruction set: opcodes, fields and their bit positions, encoding and decoding.

An instruction is :data:`WORD_BITS` bits, little-endian in memory, its fields packed from bit 0 in
the order in which its class declares them. Every instruction starts with the header (opcode,
tokens, tag). Semantics are stated field by field and executed by ``sigbit_sim.interp.device``.

Engines run concurrently, each taking its own instructions in program order: LOAD (``LOAD``,
``FILL``), COMPUTE (``SEG``, ``OUT``, ``EXEC``) and STORE (``STORE``). An instruction first takes
one token from every engine in its ``wait`` mask, then runs, then gives one to every engine in its
``signal`` mask. A legal program is also correct when its instructions run one after another in
program order; tokens only ever go forward.
"""

from sigbit_hw.arch.isa.fields import HEADER, Field, Header
from sigbit_hw.arch.isa.instructions import (
    CLASSES,
    LAYOUTS,
    Block,
    Exec,
    Fill,
    Halt,
    Instr,
    Load,
    Out,
    Seg,
    Store,
    field_of,
    fields_of,
    instruction,
)
from sigbit_hw.arch.isa.opcodes import (
    ADDRESS_BITS,
    BEATS_BITS,
    ENGINE_OF,
    INDEX_BITS,
    PARAM_GROUP_BITS,
    SEGMENT_BITS,
    SIGNALLING,
    SLOT_BITS,
    STEP_BITS,
    TABLE_BITS,
    TAG_BITS,
    TOKEN_MAX,
    WEIGHT_WORD_BITS,
    WORD_BITS,
    WORD_BYTES,
    WRAP_MIN,
    Engine,
    LoadKind,
    Mode,
    Opcode,
    engines_of,
)
from sigbit_hw.arch.isa.words import decode, opcode_of, pack, unpack

__all__ = [
    "ADDRESS_BITS",
    "BEATS_BITS",
    "CLASSES",
    "ENGINE_OF",
    "HEADER",
    "INDEX_BITS",
    "LAYOUTS",
    "PARAM_GROUP_BITS",
    "SEGMENT_BITS",
    "SIGNALLING",
    "SLOT_BITS",
    "STEP_BITS",
    "TABLE_BITS",
    "TAG_BITS",
    "TOKEN_MAX",
    "WEIGHT_WORD_BITS",
    "WORD_BITS",
    "WORD_BYTES",
    "WRAP_MIN",
    "Block",
    "Engine",
    "Exec",
    "Field",
    "Fill",
    "Halt",
    "Header",
    "Instr",
    "Load",
    "LoadKind",
    "Mode",
    "Opcode",
    "Out",
    "Seg",
    "Store",
    "decode",
    "engines_of",
    "field_of",
    "fields_of",
    "instruction",
    "opcode_of",
    "pack",
    "unpack",
]
