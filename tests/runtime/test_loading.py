"""Programs that may run: verified once, whoever made them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sigbit.compiler import compile_graph
from sigbit.compiler.order import verdict
from sigbit.compiler.random_graph import random_graph
from sigbit.runtime import Session, load_program, verified
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program, ProgramError
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program

NANO = PRESETS["nano"]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the Programs that the verifier looks at."""
    seen: list[str] = []
    verify = verdict.verify_hazards

    def look(program: Program) -> None:
        seen.append(program.name)
        verify(program)

    monkeypatch.setattr(verdict, "verify_hazards", look)
    monkeypatch.setattr(verdict, "_safe", {})
    return seen


@pytest.fixture
def program(rng: np.random.Generator) -> Program:
    return random_program(NANO, rng, execs=2)


def unsafe(program: Program) -> Program:
    """The Program without its first LOAD or FILL, whose target is read by others."""
    code = program.listing
    first = next(i for i, instr in enumerate(code) if isinstance(instr, isa.Load | isa.Fill))
    return replace(
        program, instructions=isa.pack(code[:first] + code[first + 1 :]), layers=(), execs=()
    )


def test_every_program_is_looked_at_once(
    program: Program, looks: list[str], tmp_path: Path
) -> None:
    program.save(tmp_path / "net.sigbit")
    for _ in range(2):
        load_program(tmp_path / "net.sigbit")
        Session(tmp_path / "net.sigbit", Interp(NANO))
        Session(program, Interp(NANO))
    assert looks == [program.name]


def test_what_the_compiler_made_is_known(looks: list[str], rng: np.random.Generator) -> None:
    compiled = compile_graph(random_graph(rng, NANO, layers=2), NANO)
    assert verified(compiled) is compiled
    assert looks == []


def test_unsafe_programs_do_not_run(
    program: Program, looks: list[str], tmp_path: Path, rng: np.random.Generator
) -> None:
    bad = unsafe(program)
    bad.save(tmp_path / "net.sigbit")
    message = f"program {bad.name!r} must not run on any device: instruction "
    for _ in range(2):  # a refusal is not remembered as anything else
        with pytest.raises(ProgramError, match=message):
            Session(bad, Interp(NANO))
        with pytest.raises(ProgramError, match=rf"net\.sigbit: {message}"):
            load_program(tmp_path / "net.sigbit")
    assert len(looks) == 4
    with pytest.raises(ProgramError, match="never written"):
        Interp(NANO, strict=True).run(bad, random_inputs(bad, rng))


def test_verdicts_are_forgotten(looks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "REMEMBERED", 2)
    programs = [random_program(NANO, np.random.default_rng(k), execs=1) for k in range(3)]
    for program in [*programs, programs[2], programs[0]]:
        verified(program)
    assert len(looks) == 4
