"""docs/isa.md from the tables of the contract: ``python -m sigbit_hw.arch.docs [FILE]``."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from sigbit_hw.arch import isa, regs
from sigbit_hw.arch.isa import Engine, Field, LoadKind, Mode, Opcode

_INTRODUCTION = f"""\
# Instruction set and registers

Generated from `sigbit_hw.arch` by `python -m sigbit_hw.arch.docs docs/isa.md`; a test keeps it up
to date. The semantics are executed by `sigbit_sim.interp`; the slots that an `EXEC` reads and
writes are defined in `sigbit_hw.arch.addressing`.

## Instructions

An instruction is {isa.WORD_BITS} bits ({isa.WORD_BYTES} bytes), little-endian, fields from bit 0;
the bits beyond the last field are 0. Fields are unsigned unless marked signed (two's complement).

An instruction takes one token from every engine in `wait`, runs, and gives one token to every
engine in `signal`. A counter holds at most {isa.TOKEN_MAX} tokens. `SEG`, `OUT` and `HALT` do not
signal; no instruction exchanges tokens with its own engine. Instructions of one engine run in
program order, `HALT` after all of them.
"""

_REGISTERS = """\
32-bit registers, AXI4-Lite. Bits that are not in the column *bits* read 0, regardless of what is
written to them. A write takes effect, also on the interrupt line, when it is answered. The
accelerator is idle when it is not busy and nothing is outstanding on the bus.
"""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"


def _fields(fields: Sequence[Field]) -> str:
    rows = (
        (
            f"`{f.name}`",
            f"{f.end - 1}:{f.first}",
            f"{f.width}{' signed' if f.signed else ''}",
            f"{f.min} … {f.max}",
            f.doc,
        )
        for f in fields
    )
    return _table(("field", "bits", "width", "values", "meaning"), rows)


def render() -> str:
    """Return the text of the page."""
    parts = [
        _INTRODUCTION,
        _table(
            ("opcode", "mnemonic", "engine", "bits used"),
            (
                (
                    int(o),
                    f"`{o.name}`",
                    isa.ENGINE_OF[o].name if o in isa.ENGINE_OF else "sequencer",
                    isa.fields_of(o)[-1].end,
                )
                for o in Opcode
            ),
        ),
    ]
    parts += ["### Header of every instruction\n", _fields(isa.HEADER)]
    for opcode in Opcode:
        if isa.LAYOUTS[opcode]:
            parts += [f"### {opcode.name}\n", _fields(isa.LAYOUTS[opcode])]
    for title, enum in (
        ("Engines (bits of `wait` and `signal`)", Engine),
        ("`LOAD.kind`", LoadKind),
        ("`EXEC.mode`", Mode),
    ):
        parts += [f"### {title}\n", _table(("value", "name"), ((int(e), e.name) for e in enum))]
    parts += [
        "## Registers\n",
        _REGISTERS,
        _table(
            ("offset", "name", "access", "bits", "reset", "meaning"),
            (
                (
                    f"0x{r.offset:02x}",
                    f"`{r.name}`",
                    r.access.value,
                    f"0x{r.mask:08x}",
                    regs.RW_RESET.get(r.name, 0) if r.access in regs.OWNED else "",
                    r.doc,
                )
                for r in regs.REGISTERS
            ),
        ),
    ]
    parts += [
        "## Error causes\n",
        _table(
            ("value", "name", "meaning"),
            ((int(c), f"`{c.name}`", regs.CAUSE_DOC[c]) for c in regs.Cause),
        ),
    ]
    parts += [
        "## Counters\n",
        _table(("name", "counts"), ((f"`{name}`", doc) for name, doc in regs.COUNTERS)),
    ]
    return "\n".join(parts)


def main() -> None:
    """Write the page to the given file, or print it."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(render(), encoding="utf-8")
    else:
        sys.stdout.write(render())


if __name__ == "__main__":
    main()
