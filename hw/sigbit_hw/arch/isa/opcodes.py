"""Numbering of the instruction set: opcodes, engines, kinds and modes, and the widths shared by
several instructions."""

from enum import IntEnum, unique
from functools import cache
from types import MappingProxyType

WORD_BITS = 256
WORD_BYTES = WORD_BITS // 8
WRAP_MIN = 4
"""Minimum number of output pixels per line in a run of several lines (`EXEC.wrap`)."""
TOKEN_MAX = 15
"""Maximum value of a token counter; one more token is the error ``TOKEN_OVERFLOW``."""


@unique
class Engine(IntEnum):
    """Engines, numbered by their bits in the token masks."""

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
"""Opcodes that may signal tokens."""


@unique
class LoadKind(IntEnum):
    """Destination of a ``LOAD``."""

    WEIGHTS = 0
    ACTS = 1
    PARAMS = 2
    TABLE = 3


@unique
class Mode(IntEnum):
    """Operation of an ``EXEC``: multiply-accumulate, or running maximum of the activations."""

    MAC = 0
    MAX = 1


SLOT_BITS = 20
"""Width of a slot number, and of counts of slots and pixels."""
STEP_BITS = SLOT_BITS + 1
"""Width of a distance between slots, two's complement."""
WEIGHT_WORD_BITS = 16
"""Width of a weight word number."""
PARAM_GROUP_BITS = 12
"""Width of a parameter group number."""
TABLE_BITS = 4
"""Width of an activation table number."""
SEGMENT_BITS = 4
"""Width of a segment number."""
ADDRESS_BITS = 32
"""Width of an address in the DMA window."""
BEATS_BITS = 24
"""Width of the number of bus beats of a transfer."""
TAG_BITS = 16
"""Width of the tag, a number that programs are free to choose."""
INDEX_BITS = 24
"""Width of an instruction's index in its program."""
