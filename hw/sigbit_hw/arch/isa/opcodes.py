"""Numbers of the instruction set: opcodes, engines, kinds and modes, and the widths that several
instructions share."""

from enum import IntEnum, unique
from functools import cache
from types import MappingProxyType

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


@cache
def engines_of(mask: int) -> tuple[Engine, ...]:
    """The engines in a token mask."""
    return tuple(engine for engine in Engine if mask >> engine & 1)


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


SLOT_BITS = 20
"""Width of a slot's number, and of counts of slots and pixels."""
STEP_BITS = SLOT_BITS + 1
"""Width of a distance between slots, two's complement."""
WEIGHT_WORD_BITS = 16
"""Width of a weight word's number."""
PARAM_GROUP_BITS = 12
"""Width of a parameter group's number."""
TABLE_BITS = 4
"""Width of an activation table's number."""
SEGMENT_BITS = 4
"""Width of a segment's number."""
ADDRESS_BITS = 32
"""Width of an address in the DMA window."""
BEATS_BITS = 24
"""Width of a transfer's number of bus beats."""
TAG_BITS = 16
"""Width of the free number."""
INDEX_BITS = 24
"""Width of an instruction's index in its program."""
