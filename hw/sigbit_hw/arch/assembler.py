"""Assembler text of programs: listing and its inverse."""

from sigbit_hw.arch.isa import Engine, Instr, LoadKind, Mode, Opcode, fields_of


def listing(program: list[Instr]) -> str:
    """Assembler text, one instruction a line: index, mnemonic, fields that differ from the default,
    tokens."""
    lines = []
    for index, instr in enumerate(program):
        default = {f.name: max(f.min, 0) for f in fields_of(instr.opcode)}
        parts = []
        for f in fields_of(instr.opcode)[1:]:
            value = instr.values[f.name]
            if f.name in ("wait", "signal"):
                if value:
                    parts.append(f"{f.name}={'+'.join(e.name for e in Engine if value >> e & 1)}")
            elif f.name == "kind":
                parts.append(f"kind={LoadKind(value).name}")
            elif f.name == "mode":
                parts.append(f"mode={Mode(value).name}")
            elif value != default[f.name]:
                parts.append(f"{f.name}={value}")
        lines.append(f"{index:6d}  {instr.opcode.name:<5} {' '.join(parts)}".rstrip())
    return "\n".join(lines)


def assemble(text: str) -> list[Instr]:
    """Instructions of :func:`listing`'s text; blank lines and ``#`` comments are skipped; the index
    is optional."""
    program = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if words and words[0].isdigit():
            words = words[1:]
        if not words:
            continue
        try:
            opcode = Opcode[words[0]]
            values: dict[str, int] = {}
            for word in words[1:]:
                name, _, text_value = word.partition("=")
                if name in ("wait", "signal"):
                    values[name] = sum(1 << Engine[e] for e in text_value.split("+"))
                else:
                    enums = {"kind": LoadKind, "mode": Mode}
                    values[name] = (
                        int(enums[name][text_value]) if name in enums else int(text_value, 0)
                    )
            program.append(Instr(opcode, **values))
        except (KeyError, ValueError) as error:
            raise ValueError(f"line {number}: cannot assemble {line.strip()!r}: {error}") from None
    return program
