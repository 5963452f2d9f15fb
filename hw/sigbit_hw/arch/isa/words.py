"""Conversion between instructions and the words and bytes of memory."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.isa.fields import OPCODE_BITS
from sigbit_hw.arch.isa.instructions import Instr, fields_of, instruction
from sigbit_hw.arch.isa.opcodes import WORD_BYTES, Opcode


def opcode_of(word: int) -> Opcode:
    """Opcode of a word; raises ``ValueError`` if the number is not an opcode."""
    number = word & ((1 << OPCODE_BITS) - 1)
    try:
        return Opcode(number)
    except ValueError:
        raise ValueError(
            f"illegal opcode {number}; legal are "
            f"{', '.join(f'{o.name} ({o.value})' for o in Opcode)}"
        ) from None


def decode(word: int) -> Instr:
    """Instruction of a word; raises ``ValueError`` if its opcode or a field is illegal, or spare
    bits are set."""
    opcode = opcode_of(word)
    fields = fields_of(opcode)[1:]
    if word >> fields[-1].end:
        raise ValueError(f"{opcode.name} has bits set beyond its last field")
    values = {}
    for f in fields:
        raw = word >> f.first & ((1 << f.width) - 1)
        values[f.name] = raw - (1 << f.width) if f.signed and raw >> (f.width - 1) else raw
    return instruction(opcode, values)


def pack(program: Iterable[Instr]) -> NDArray[np.uint8]:
    """Instructions as bytes in memory order, shape ``[instructions * WORD_BYTES]``."""
    return np.frombuffer(
        b"".join(i.encode().to_bytes(WORD_BYTES, "little") for i in program), np.uint8
    )


def unpack(data: NDArray[np.uint8]) -> list[Instr]:
    """Instructions of :func:`pack`'s bytes; ``ValueError`` names the index of the first illegal
    one."""
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
