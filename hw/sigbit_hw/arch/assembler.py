"""Assembler text of programs: listing and its inverse."""

from collections.abc import Iterable
from enum import IntEnum

from sigbit_hw.arch.isa import Engine, Field, Instr, Opcode, engines_of, fields_of, instruction

_TOKENS = ("wait", "signal")
"""Fields that are engine masks."""


def listing(program: Iterable[Instr]) -> str:
    """Assembler text, one instruction per line: index, mnemonic, fields that differ from the
    default, tokens."""
    lines = []
    for index, instr in enumerate(program):
        parts = [
            f"{f.name}={_text(f, value)}"
            for f in fields_of(instr.opcode)[1:]
            if (value := getattr(instr, f.name)) != f.default or issubclass(f.kind, IntEnum)
        ]
        lines.append(f"{index:6d}  {instr.opcode.name:<5} {' '.join(parts)}".rstrip())
    return "\n".join(lines)


def _text(field: Field, value: int) -> str:
    """Text of a value in the listing."""
    if field.name in _TOKENS:
        return "+".join(e.name for e in engines_of(value))
    return value.name if isinstance(value, IntEnum) else str(int(value))


def _value(field: Field, text: str) -> int:
    """Inverse of :func:`_text`."""
    if field.name in _TOKENS:
        return sum(1 << Engine[name] for name in text.split("+"))
    return field.kind[text] if issubclass(field.kind, IntEnum) else int(text, 0)


def assemble(text: str) -> list[Instr]:
    """Parse the text of :func:`listing` into instructions; blank lines and ``#`` comments are
    skipped, the index is optional."""
    program = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if words and words[0].isdigit():
            words = words[1:]
        if not words:
            continue
        try:
            program.append(_instruction(*words))
        except ValueError as error:
            raise ValueError(f"line {number}: cannot assemble {line.strip()!r}: {error}") from None
    return program


def _instruction(mnemonic: str, *assignments: str) -> Instr:
    if mnemonic not in Opcode.__members__:
        raise ValueError(f"the mnemonics are {', '.join(Opcode.__members__)}, not {mnemonic}")
    opcode = Opcode[mnemonic]
    known = {f.name: f for f in fields_of(opcode)[1:]}
    values: dict[str, int] = {}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        if name not in known:
            raise ValueError(f"{mnemonic} has the fields {', '.join(known)}, not {name}")
        try:
            values[name] = _value(known[name], text)
        except (KeyError, ValueError):
            raise ValueError(f"{name} cannot be {text!r}: {_allowed(known[name])}") from None
    return instruction(opcode, values)


def _allowed(field: Field) -> str:
    """Allowed texts of a field, for error messages."""
    if field.name in _TOKENS:
        return f"give engines joined by +, of {', '.join(Engine.__members__)}"
    if issubclass(field.kind, IntEnum):
        return f"give one of {', '.join(field.kind.__members__)}"
    return f"give an integer in [{field.min}, {field.max}]"
