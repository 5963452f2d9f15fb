"""Encoding, decoding and assembling of instructions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigbit_hw.arch import assembler, isa
from sigbit_hw.arch.isa import Opcode

LEGAL_TOKENS = {
    o: [m for m in range(8) if not m >> isa.ENGINE_OF[o] & 1] if o in isa.ENGINE_OF else [0]
    for o in Opcode
}


@st.composite
def instructions(draw):
    opcode = draw(st.sampled_from(list(Opcode)))
    values = {f.name: draw(st.integers(f.min, f.max)) for f in isa.fields_of(opcode)[1:]}
    values["wait"] = draw(st.sampled_from(LEGAL_TOKENS[opcode]))
    values["signal"] = (
        draw(st.sampled_from(LEGAL_TOKENS[opcode])) if opcode in isa.SIGNALLING else 0
    )
    return isa.instruction(opcode, values)


@given(instructions())
def test_decode_inverts_encode(instr):
    word = instr.encode()
    assert 0 <= word < 1 << isa.WORD_BITS
    assert isa.decode(word) == instr


@given(st.lists(instructions(), max_size=8))
def test_bytes_and_listing_round_trip(program):
    data = isa.pack(program)
    assert data.size == len(program) * isa.WORD_BYTES
    assert isa.unpack(data) == program
    assert assembler.assemble(assembler.listing(program)) == program


@given(instructions(), st.data())
def test_each_field_has_its_own_bits(instr, data):
    """Changing one field changes just the bits that its place in the layout gives it."""
    start = 0
    fields = isa.fields_of(instr.opcode)
    target = data.draw(
        st.sampled_from([f.name for f in fields if f.name not in ("opcode", "wait", "signal")])
    )
    for field in fields:
        if field.name == target:
            value = data.draw(st.integers(field.min, field.max))
            changed = replace(instr, **{target: value}).encode()
            mask = ((1 << field.width) - 1) << start
            assert changed & ~mask == instr.encode() & ~mask
            assert (changed & mask) >> start == value % (1 << field.width)
        start += field.width


@pytest.mark.parametrize("opcode", list(Opcode))
def test_layouts_fit_and_names_are_unique(opcode):
    fields = isa.fields_of(opcode)
    assert fields[-1].end <= isa.WORD_BITS
    assert [f.first for f in fields] == [0, *(f.end for f in fields[:-1])]
    assert len({f.name for f in fields}) == len(fields)


@pytest.mark.parametrize("opcode", list(Opcode))
def test_every_field_refuses_what_it_cannot_hold(opcode):
    for field in isa.fields_of(opcode)[1:]:
        for value in (field.min - 1, field.max + 1):
            with pytest.raises(ValueError, match=rf"{opcode.name}.{field.name} must be in"):
                isa.instruction(opcode, {field.name: value})


@pytest.mark.parametrize(
    ("opcode", "word"),
    [
        (Opcode.HALT, 0x3FFF401),
        (Opcode.LOAD, 0x1FFFE8FFFF5FF6FF7FFFF8FFFF9FFFFFAFFFFFFFB3FFF762),
        (Opcode.FILL, 0x7FFFB3FFFDFFE3FE7FFFEBFFFEFF3FFF763),
        (Opcode.SEG, 0x7FF7BFFFC1FFFE2FFFF27FFF9BFFFD1FFFEAFFFF6BE3FCFFFFD33FFF454),
        (Opcode.OUT, 0x7FC9FFFE65FFFEAFFFF67FFFBBFFFE27FD3FFFEFFFFF3FFF455),
        (Opcode.EXEC, 0x3FFC3FFC7FFFCBFFFCFFFFD3FFFD7FDBFBE03FFF6D6),
        (Opcode.STORE, 0x7FFFABFFFDBFDFFE3FFFE7FFFEBFFFFEFFFFFFFF3FFF5B7),
    ],
)
def test_words_stay_those_of_stored_programs(opcode, word):
    """Tokens for all others, and the k-th further field k below its maximum."""
    values = {f.name: max(f.min, f.max - k) for k, f in enumerate(isa.fields_of(opcode)[1:])} | {
        "wait": LEGAL_TOKENS[opcode][-1],
        "signal": LEGAL_TOKENS[opcode][-1] if opcode in isa.SIGNALLING else 0,
    }
    assert isa.instruction(opcode, values).encode() == word


def test_decode_refuses_illegal_words():
    with pytest.raises(ValueError, match="illegal opcode 0"):
        isa.decode(0)
    for opcode in range(len(Opcode) + 1, 16):
        with pytest.raises(ValueError, match=f"illegal opcode {opcode}"):
            isa.decode(opcode)
    word = isa.Exec().encode()
    with pytest.raises(ValueError, match="beyond its last field"):
        isa.decode(word | 1 << 255)
    zero_run = isa.Exec(run=1).encode()
    run = isa.field_of(Opcode.EXEC, "run")
    with pytest.raises(ValueError, match=r"EXEC.run must be in \[1,"):
        isa.decode(zero_run & ~(1 << run.first))


def test_tokens_have_rules():
    for opcode, engine in isa.ENGINE_OF.items():
        with pytest.raises(ValueError, match="its own engine"):
            isa.instruction(opcode, {"wait": 1 << engine})
    for opcode in (Opcode.SEG, Opcode.OUT):
        with pytest.raises(ValueError, match="must not signal"):
            isa.instruction(opcode, {"signal": 1})
    with pytest.raises(ValueError, match="must not signal"):
        isa.Halt(signal=1)
    with pytest.raises(ValueError, match="must not wait"):
        isa.Halt(wait=1)


def test_instruction_interface():
    instr = isa.Fill(n0=3)
    assert (instr.n0, instr.n1, instr.d1) == (3, 1, 0)
    assert instr == isa.Fill(n0=3)
    assert len({instr, isa.Fill(n0=3), replace(instr, n0=4)}) == 2
    with pytest.raises(AttributeError):
        _ = instr.run
    with pytest.raises(TypeError, match="run"):
        isa.Fill(run=1)
    with pytest.raises(ValueError, match=r"FILL has the fields wait, .*, d2, not run"):
        isa.instruction(Opcode.FILL, {"run": 1})


def test_values_have_the_types_of_their_fields():
    """Whatever integers they come from: NumPy's are narrower than a word."""
    load = isa.Load(kind=np.int64(1), address=np.uint32(1 << 31))
    assert (load.kind, load.address) == (isa.LoadKind.ACTS, 1 << 31)
    assert (type(load.kind), type(load.address)) == (isa.LoadKind, int)
    execute = isa.Exec(mode=1, drain=np.bool_(True), run=np.int8(5))
    assert (execute.mode, execute.drain, execute.keep) == (isa.Mode.MAX, True, False)
    assert {type(execute.drain), type(execute.keep)} == {bool}
    assert isa.decode(execute.encode()) == execute
    for opcode in Opcode:
        default = isa.instruction(opcode, {})
        for field in isa.fields_of(opcode)[1:]:
            assert type(getattr(default, field.name)) is field.kind
            assert getattr(default, field.name) == field.default


def test_unpack_names_the_instruction():
    data = isa.pack([isa.Halt()] * 3).copy()
    data[isa.WORD_BYTES] = 0
    with pytest.raises(ValueError, match="instruction 1: illegal opcode 0"):
        isa.unpack(data)
    with pytest.raises(ValueError, match="multiple of 32 bytes"):
        isa.unpack(np.zeros(33, np.uint8))


def test_assembler_skips_comments_and_names_lines():
    text = "# a program\n\n  0  FILL n0=0x10 signal=COMPUTE+STORE # fill\nHALT\n"
    program = assembler.assemble(text)
    assert program == [isa.Fill(n0=16, signal=6), isa.Halt()]
    for text in ("JUMP", "FILL n0=x", "FILL q=1", "LOAD kind=ROM", "FILL signal=NOBODY"):
        with pytest.raises(ValueError, match=r"line 2: cannot assemble"):
            assembler.assemble("HALT\n" + text)
