"""Hostile changes of Programs: words, fields, addresses, tokens, order, registers."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from sigbit_hw.arch import isa
from sigbit_hw.arch.isa import WORD_BYTES, Field, Opcode
from sigbit_hw.arch.program import Program

Rng = np.random.Generator


@dataclass
class Changed:
    """A Program's words, as numbers, and the registers that a hostile driver sets otherwise."""

    program: Program
    words: list[int]
    registers: dict[str, int] = field(default_factory=dict)

    def opcode(self, at: int) -> Opcode | None:
        """Opcode of a word; None if it has none."""
        try:
            return isa.opcode_of(self.words[at])
        except ValueError:
            return None

    def fields(self, at: int) -> tuple[Field, ...]:
        """Fields of a word after its opcode."""
        opcode = self.opcode(at)
        return isa.fields_of(opcode)[1:] if opcode is not None else ()

    def write(self, at: int, where: Field, value: int) -> None:
        """Set a field of a word, whatever is legal."""
        mask = (1 << where.width) - 1
        self.words[at] = self.words[at] & ~(mask << where.first) | (value & mask) << where.first

    def any(self, rng: Rng, *opcodes: Opcode) -> int:
        """Index of a word with one of ``opcodes``, or of any word if there is none."""
        found = [k for k in range(len(self.words)) if self.opcode(k) in opcodes]
        return int(rng.choice(found or range(len(self.words))))

    def result(self) -> Program:
        """The changed Program."""
        data = b"".join(word.to_bytes(WORD_BYTES, "little") for word in self.words)
        words = np.frombuffer(data, np.uint8)
        return replace(self.program, instructions=words, layers=(), execs=())


def _random_word(c: Changed, rng: Rng) -> None:
    c.words[c.any(rng)] = int.from_bytes(rng.bytes(WORD_BYTES), "little")


def _random_body(c: Changed, rng: Rng) -> None:
    opcode = Opcode(rng.choice(list(Opcode)))
    fields = isa.fields_of(opcode)
    body = int.from_bytes(rng.bytes(WORD_BYTES), "little") & (1 << fields[-1].end) - 1
    c.words[c.any(rng)] = body >> isa.HEADER[-1].end << isa.HEADER[-1].end | opcode


def _field(c: Changed, rng: Rng) -> None:
    at = c.any(rng)
    f = c.fields(at)[rng.integers(len(c.fields(at)))]
    edges = (f.min, f.max, f.min + 1, f.max - 1, 0, 1, -1, 2, f.max // 2)
    near = int(rng.choice(edges))
    c.write(at, f, near if rng.random() < 0.5 else int(rng.integers(f.min, f.max + 1)))


def _neighbour(c: Changed, rng: Rng) -> None:
    at = c.any(rng)
    f = c.fields(at)[rng.integers(len(c.fields(at)))]
    c.write(at, f, (c.words[at] >> f.first) + int(rng.choice([-2, -1, 1, 2])))


def _extent(c: Changed, rng: Rng) -> None:
    at = c.any(rng, Opcode.SEG, Opcode.OUT, Opcode.EXEC)
    names = len(isa.HEADER) - 1
    f = c.fields(at)[names:][rng.integers(len(c.fields(at)[names:]))]
    value = c.words[at] >> f.first & (1 << f.width) - 1
    c.write(at, f, int(rng.choice([value + 1, value - 1, 2 * value, -value, 0, 1, 2, 3, 4, 8])))


def _bits(c: Changed, rng: Rng) -> None:
    for _ in range(rng.integers(1, 4)):
        c.words[c.any(rng)] ^= 1 << int(rng.integers(8 * WORD_BYTES))


def _address(c: Changed, rng: Rng) -> None:
    at = c.any(rng, Opcode.LOAD, Opcode.STORE)
    opcode, beat = c.opcode(at), c.program.config.bus_bytes
    if opcode not in (Opcode.LOAD, Opcode.STORE):
        return
    beats = isa.field_of(opcode, "beats")
    size = (c.words[at] >> beats.first & (1 << beats.width) - 1) * beat
    low, high = c.program.write_window
    edge = int(rng.choice([0, low, high, c.program.memory_bytes, 1 << 32]))
    off = int(rng.choice([0, size, size + beat, size - beat, beat, -beat, beat // 2]))
    c.write(at, isa.field_of(opcode, "address"), edge - off)


def _huge(c: Changed, rng: Rng) -> None:
    at = c.any(rng, *(o for o in Opcode if o is not Opcode.HALT))
    for f in c.fields(at):
        if (f.name.startswith("n") or f.name in ("run", "wrap", "beats")) and rng.random() < 0.5:
            c.write(at, f, f.max)


def _zeros(c: Changed, rng: Rng) -> None:
    at = c.any(rng)
    for f in c.fields(at):
        if rng.random() < 0.3:
            c.write(at, f, 0)


def _tokens(c: Changed, rng: Rng) -> None:
    for _ in range(rng.integers(1, 5)):
        at = c.any(rng)
        found = [f for f in c.fields(at) if f.name in ("wait", "signal")]
        if found:
            c.write(at, found[rng.integers(len(found))], int(rng.integers(8)))


def _order(c: Changed, rng: Rng) -> None:
    one, other = (int(k) for k in rng.integers(len(c.words) - 1, size=2))
    match rng.integers(3):
        case 0:
            del c.words[one]
        case 1:
            c.words.insert(one, c.words[other])
        case _:
            c.words[one], c.words[other] = c.words[other], c.words[one]


def _count(c: Changed, rng: Rng) -> None:
    count = len(c.words)
    values = (0, 1, count - 1, count + 1, count + 100, (1 << 24) - 1, 1 << 31, 0xFFFF_FFFF)
    c.registers["PROGRAM_COUNT"] = int(rng.choice(values))


def _offset(c: Changed, rng: Rng) -> None:
    begin, size = c.program.program_offset, c.program.memory_bytes
    values = (begin + WORD_BYTES, begin + 64, begin - 64, 0xFFFF_FFC0, size, size - 64, 0)
    c.registers["PROGRAM_OFFSET"] = int(rng.choice(values)) & 0xFFFF_FFFF


def _window(c: Changed, rng: Rng) -> None:
    (low, high), size = c.program.write_window, c.program.memory_bytes
    name = str(rng.choice(["MEM_SIZE", "WRITE_LO", "WRITE_HI"]))
    c.registers[name] = int(rng.choice([0, 1, low + 1, high - 1, size - 1, size // 2]))


def _own_code(c: Changed, rng: Rng) -> None:
    """A STORE over the instructions, which the Program declares as its own to write."""
    at = c.any(rng, Opcode.STORE)
    if c.opcode(at) is not Opcode.STORE:
        return
    bytes_ = len(c.words) * WORD_BYTES
    beat = c.program.config.bus_bytes
    to = c.program.program_offset + beat * int(rng.integers(0, bytes_ // beat))
    c.write(at, isa.field_of(Opcode.STORE, "address"), to)
    c.program = replace(c.program, write_window=(0, c.program.memory_bytes))


MUTATIONS: dict[str, Callable[[Changed, Rng], None]] = {
    "random word": _random_word,
    "random body": _random_body,
    "field": _field,
    "neighbour": _neighbour,
    "extent": _extent,
    "bits": _bits,
    "address": _address,
    "huge": _huge,
    "zeros": _zeros,
    "tokens": _tokens,
    "order": _order,
    "count": _count,
    "offset": _offset,
    "window": _window,
    "own code": _own_code,
}


def hostile(program: Program, kind: str, rng: Rng) -> Changed:
    """``program`` with a change of a kind of :data:`MUTATIONS`, which may have changed nothing."""
    rows = program.instructions.reshape(-1, WORD_BYTES)
    changed = Changed(program, [int.from_bytes(row.tobytes(), "little") for row in rows])
    MUTATIONS[kind](changed, rng)
    return changed
