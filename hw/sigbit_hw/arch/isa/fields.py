"""Fields of instructions: what a class of instructions declares, and what follows from it.

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
    """One field: ``width`` bits from bit ``first`` of the word on, two's complement if ``signed``;
    ``least`` is the smallest legal value, ``kind`` the Python type of its values."""

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
        """The value of a field that is not given: the least legal one if that is positive, else
        0."""
        return max(self.min, 0)

    @property
    def end(self) -> int:
        """The bit after the last."""
        return self.first + self.width


def bits(
    width: int, doc: str, *, signed: bool = False, least: int | None = None, default: int = 0
) -> Any:
    """Declare a field of an instruction; the type of ``default`` is that of its values."""
    table = {"width": width, "doc": doc, "signed": signed, "least": least, "kind": type(default)}
    return dataclasses.field(default=default if least is None else least, metadata={"bits": table})


def flag(doc: str) -> Any:
    """Declare a field of one bit, True or False."""
    return bits(1, doc, default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What all instructions have in common.

    Fields that are not given are at their least legal value if that is positive, else 0;
    ``ValueError`` names one that is out of range. ``dataclasses.replace`` changes fields.
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
    tag: int = bits(TAG_BITS, "free number for traces: the compiler's index of the layer")

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
        """The instruction as a ``WORD_BITS``-bit unsigned integer."""
        layout = layout_of(type(self))
        word = int(self.opcode)
        for value, (first, mask) in zip(layout.values(self), layout.places, strict=True):
            word |= (value & mask) << first
        return word


@dataclass(frozen=True)
class Layout:
    """The fields of a class of instructions but for the opcode: ``values`` takes them out of one,
    ``rules`` are their names, bounds and types, ``places`` their first bits and masks."""

    fields: tuple[Field, ...]
    values: Callable[[Any], tuple[int, ...]]
    rules: tuple[tuple[str, int, int, type[int]], ...]
    places: tuple[tuple[int, int], ...]


_LAYOUTS: dict[type[Header], Layout] = {}


def layout_of(instruction: type[Header]) -> Layout:
    """The table of a class of instructions."""
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
"""The fields with which every instruction starts."""
