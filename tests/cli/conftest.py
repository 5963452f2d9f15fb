"""Fixtures of the command line's tests: a caller, and a small Program."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from sigbit.cli.invocation import invoke
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import ExecInfo, LayerInfo, Port, Program


class Answer(NamedTuple):
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def sigbit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """``sigbit("arch", "list")`` runs the command line in this process."""
    monkeypatch.delenv("SIGBIT_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        code = invoke([str(a) for a in arguments])
        return Answer(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(sigbit) -> Callable[..., str]:
    """As ``sigbit``, for a user's mistake: exit code 2 and one line on stderr: its text."""

    def call(*arguments: str | Path) -> str:
        answer = sigbit(*arguments)
        assert answer.code == 2, answer
        assert answer.err.startswith("error: "), answer
        assert "Traceback" not in answer.err
        assert answer.out == ""
        return answer.err.removeprefix("error: ").rstrip("\n")

    return call


@pytest.fixture
def program() -> Program:
    """A legal Program of one layer for ``nano``: it passes its input through a 1x1 convolution."""
    kind, load, compute, store = isa.LoadKind, *(1 << engine for engine in isa.Engine)
    code = [
        isa.Load(kind=kind.WEIGHTS, address=1024, beats=1),
        isa.Load(kind=kind.PARAMS, address=1032, beats=4),
        isa.Load(kind=kind.TABLE, address=1064, beats=16),
        isa.Load(kind=kind.ACTS, address=512, beats=4, n0=16, signal=compute),
        isa.Seg(index=0, base=0, d_block=2, d_row=2),
        isa.Out(base=64, d_slot=1, d_pix=1, d_col=1, d_line=1, d_row=1),
        isa.Exec(
            drain=1,
            n_seg=1,
            n_rows=2,
            run=8,
            wrap=4,
            block_step=2,
            group_step=1,
            wait=load,
            signal=store,
        ),
        isa.Store(address=4096, beats=4, src=64, n0=16, wait=compute),
        isa.Halt(),
    ]
    port = {"planes": 1, "phases": 1, "scale": 0.5, "zero": 0, "low": -7, "high": 7}
    return Program(
        name="tiny",
        config=PRESETS["nano"],
        instructions=isa.pack(code),
        image=np.zeros(168, np.uint8),
        image_offset=1024,
        program_offset=0,
        memory_bytes=8192,
        write_window=(4096, 8192),
        inputs=(Port("x", (4, 4, 4), 512, **port),),
        outputs=(Port("y", (4, 4, 4), 4096, **port),),
        layers=(LayerInfo("conv", "conv", (4, 4, 4), 1, 0.5, 0, 256),),
        execs=(ExecInfo(6, "conv", 0, 0, 0, 4, 4),),
    )


@pytest.fixture
def bare() -> Program:
    """One EXEC of two steps a block and nothing else: only to be counted, it could not run."""
    config = PRESETS["nano"]
    instructions = [
        isa.Seg(index=0, base=0, n_ic=2, d_ic=16, d_block=2),
        isa.Out(base=64, d_slot=1),
        isa.Exec(
            drain=1,
            n_seg=1,
            n_rows=2,
            run=8,
            wrap=4,
            block_step=2,
            group_step=1,
        ),
        isa.Halt(),
    ]
    port = {"planes": 1, "phases": 1, "scale": 0.5, "zero": 0, "low": -7, "high": 7}
    return Program(
        name="tiny",
        config=config,
        instructions=isa.pack(instructions),
        image=np.zeros(64, np.uint8),
        image_offset=1024,
        program_offset=0,
        memory_bytes=4096,
        write_window=(2048, 4096),
        inputs=(Port("x", (4, 4, 4), 512, **port),),
        outputs=(Port("y", (4, 4, 4), 2048, **port),),
        layers=(LayerInfo("conv", "conv", (4, 4, 4), 1, 0.5, 0, 256),),
        execs=(ExecInfo(2, "conv", 0, 0, 0, 4, 4),),
    )


@pytest.fixture
def program_file(program: Program, tmp_path: Path) -> Path:
    """The Program as a file."""
    path = tmp_path / "tiny.sigbit"
    program.save(path)
    return path
