"""Fields of instructions: their declaration in a class, and the tables derived from it.

An instruction is a frozen dataclass whose fields, in their order, are those of the word from bit 0
up; :func:`bits` and :func:`flag` declare them. Encoding, decoding, checks, documentation and the
gateware's views all read the same tables, :func:`layout_of`.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar

from sigbit_hw.arch.isa.opcodes import ENGINE_OF, SIGNALLING, TAG_BITS, Engine, Opcode

OPCODE_BITS = 4


@dataclass(frozen=True)
class Field:
    """One field: ``width`` bits starting at bit ``first`` of the word, two's complement if
    ``signed``; ``least`` is the smallest legal value, ``kind`` the Python type of its values."""

    name: str
    first: int
    width: int
    doc: str
    signed: bool = False
    least: int | None = None
    kind: type[int] = int

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

    @property
    def default(self) -> int:
        """Value of a field that is not given: the smallest legal value if that is positive, else
        0."""
        return max(self.min, 0)

    @property
    def end(self) -> int:
        """Position after the last bit."""
        return self.first + self.width


def bits(
    width: int, doc: str, *, signed: bool = False, least: int | None = None, default: int = 0
) -> Any:
    """Declare a field of an instruction; its values have the type of ``default``."""
    table = {"width": width, "doc": doc, "signed": signed, "least": least, "kind": type(default)}
    return dataclasses.field(default=default if least is None else least, metadata={"bits": table})


def flag(doc: str) -> Any:
    """Declare a one-bit field, True or False."""
    return bits(1, doc, default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Fields and behaviour common to all instructions.

    Fields that are not given have their smallest legal value if that is positive, else 0;
    ``ValueError`` names a field that is out of range. ``dataclasses.replace`` changes fields.
    """

    opcode: ClassVar[Opcode]
    wait: int = bits(
        len(Engine),
        "engines to take one token from before starting (bit per engine; own bit illegal)",
    )
    signal: int = bits(
        len(Engine),
        "engines to give one token to after finishing (bit per engine; own bit illegal)",
    )
    tag: int = bits(TAG_BITS, "user-defined number for traces: the compiler's index of the layer")

    def __post_init__(self) -> None:
        layout = layout_of(type(self))
        for value, (name, low, high, kind) in zip(layout.values(self), layout.rules, strict=True):
            if not low <= value <= high:
                raise ValueError(
                    f"{self.opcode.name}.{name} must be in [{low}, {high}], not {value}"
                )
            if type(value) is not kind:
                object.__setattr__(self, name, kind(value))
        if self.wait or self.signal:
            self._check_tokens()

    def _check_tokens(self) -> None:
        opcode = self.opcode
        if opcode in ENGINE_OF and (self.wait | self.signal) >> ENGINE_OF[opcode] & 1:
            raise ValueError(f"{opcode.name} must not exchange tokens with its own engine")
        if opcode not in SIGNALLING and self.signal:
            raise ValueError(f"{opcode.name} must not signal; let the EXEC do it")
        if opcode not in ENGINE_OF and self.wait:
            raise ValueError(f"{opcode.name} must not wait for tokens; it waits until all is idle")

    def encode(self) -> int:
        """Return the instruction as a ``WORD_BITS``-bit unsigned integer."""
        layout = layout_of(type(self))
        word = int(self.opcode)
        for value, (first, mask) in zip(layout.values(self), layout.places, strict=True):
            word |= (value & mask) << first
        return word


@dataclass(frozen=True)
class Layout:
    """Fields of an instruction class except the opcode: ``values`` extracts them from an
    instruction, ``rules`` holds their names, bounds and types, ``places`` their first bits and
    masks."""

    fields: tuple[Field, ...]
    values: Callable[[Any], tuple[int, ...]]
    rules: tuple[tuple[str, int, int, type[int]], ...]
    places: tuple[tuple[int, int], ...]


_LAYOUTS: dict[type[Header], Layout] = {}


def layout_of(instruction: type[Header]) -> Layout:
    """Return the layout of an instruction class."""
    if instruction not in _LAYOUTS:
        found: list[Field] = []
        first = OPCODE_BITS
        for declared in dataclasses.fields(instruction):
            field = Field(declared.name, first, **declared.metadata["bits"])
            found.append(field)
            first = field.end
        _LAYOUTS[instruction] = Layout(
            tuple(found),
            attrgetter(*(f.name for f in found)),
            tuple((f.name, f.min, f.max, f.kind) for f in found),
            tuple((f.first, (1 << f.width) - 1) for f in found),
        )
    return _LAYOUTS[instruction]


HEADER = (Field("opcode", 0, OPCODE_BITS, "operation"), *layout_of(Header).fields)
"""Fields at the start of every instruction."""
