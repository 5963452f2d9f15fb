"""The board: a program goes through the serial line, runs, and leaves the interpreter's outputs."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil

from sigbit.runtime import unpack_outputs, window_of
from sigbit_boards.ulx3s.board import (
    MEMORY_BYTES,
    PINS,
    SerialAccelerator,
    board_clock,
    constraints,
    pll_dividers,
)
from sigbit_boards.ulx3s.serial_host import BoardError, SerialHost
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.gateware.emit import deduplicate
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_tools.toolchain import find_verilator, synth_tool, verilator_env

NANO = PRESETS["nano"]
DIVISOR = 4
HERE = Path(__file__).parent


class Pipe:
    """A serial line that is the simulator's standard input and output."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def write(self, data: bytes, /) -> None:
        self._in.write(data)
        self._in.flush()

    def read(self, size: int, /) -> bytes:
        return self._out.read(size)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board in Verilator."""
    folder = tmp_path_factory.mktemp("board")
    text = rtlil.convert(SerialAccelerator(NANO, DIVISOR), name="board", emit_src=False)
    (folder / "board.il").write_text(deduplicate(text))
    commands = "read_rtlil board.il; proc -nomux -norom; memory_collect; write_verilog board.v"
    subprocess.run([synth_tool("yosys"), "-q", "-p", commands], cwd=folder, check=True)
    subprocess.run(
        [
            str(find_verilator().command),
            "--cc",
            "--exe",
            "--build",
            "--top-module",
            "board",
            "-Wno-fatal",
            "-Wno-lint",
            "-O3",
            "--x-assign",
            "fast",
            "--x-initial",
            "fast",
            "-CFLAGS",
            "-std=c++20",
            "--Mdir",
            "obj",
            "-o",
            "board",
            "board.v",
            str(HERE / "serial_line.cpp"),
        ],
        cwd=folder,
        env=verilator_env(),
        check=True,
        capture_output=True,
    )
    return folder / "obj" / "board"


@pytest.fixture
def host(model: Path) -> Iterator[SerialHost]:
    process = subprocess.Popen(
        [str(model), str(DIVISOR)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        try:
            yield SerialHost(Pipe(process))
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.sim
def test_programs_run_over_the_serial_line(host: SerialHost, rng: np.random.Generator) -> None:
    compared = 0
    for _ in range(2):
        program = random_program(NANO, rng, execs=2)
        assert program.memory_bytes <= MEMORY_BYTES
        inputs = random_inputs(program, rng)
        window = window_of(program, inputs, 0)
        host.run(program, window, timeout=3600)  # a hang, on whatever machine
        got = unpack_outputs(program, window)
        expected = Interp(NANO).run(program, inputs).outputs
        assert got.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(got[name], values, name)
            compared += values.size
    assert compared > 0


@pytest.mark.slow
@pytest.mark.sim
def test_the_host_knows_and_clears_the_accelerator(
    host: SerialHost, rng: np.random.Generator
) -> None:
    """After the scrub a Program that only stores what is on chip finds zeros."""
    assert host.config.digest == NANO.digest
    program = random_program(NANO, rng, execs=1)
    code = [isa.Store(address=4096, n0=1024, beats=256), isa.Halt()]
    probe = replace(
        program,
        instructions=isa.pack(code),
        program_offset=0,
        memory_bytes=6144,
        write_window=(4096, 6144),
        image=program.image[:0],
        inputs=(),
        outputs=(),
        layers=(),
        execs=(),
    )
    fill = isa.pack([isa.Fill(n0=1024, code=5), isa.Halt()])
    filling = replace(probe, instructions=fill)
    host.run(filling, filling.memory(), timeout=3600)
    found = []
    for scrub in (False, True):
        if scrub:
            host.scrub(timeout=3600)
        window = probe.memory()
        host.run(probe, window, timeout=3600)
        found.append(window[4096:].any())
    assert found == [True, False]


@pytest.mark.slow
@pytest.mark.sim
def test_memory_keeps_words_and_errors_are_told(host: SerialHost, rng: np.random.Generator) -> None:
    words = {
        int(a) * 4: int(w)
        for a, w in zip(
            rng.choice(MEMORY_BYTES // 4, 30, replace=False),
            rng.integers(0, 1 << 32, 30),
            strict=True,
        )
    }
    for address, word in words.items():
        host.write(1 << 31 | address, word)
    assert {a: host.read(1 << 31 | a) for a in words} == words
    program = random_program(NANO, rng, execs=1)
    window = window_of(program, random_inputs(program, rng), 0)
    start = program.program_offset
    window[start] ^= 0xFF
    with pytest.raises(BoardError, match="illegal opcode"):
        host.run(program, window, timeout=3600)  # a hang, on whatever machine
    window[start] ^= 0xFF
    host.run(program, window, timeout=3600)


def test_a_silent_line_is_told() -> None:
    class Silent:
        def write(self, data: bytes, /) -> None:
            pass

        def read(self, size: int, /) -> bytes:
            return b""

    with pytest.raises(BoardError, match="0 bytes of 4"):
        SerialHost(Silent())


@pytest.mark.parametrize("clock", [10e6, 25e6, 62.5e6, 90e6, 120e6, 133e6])
def test_the_clock_generator_stays_within_its_limits(clock: float) -> None:
    reference, feedback, output = pll_dividers(clock)
    made = 25e6 * feedback / reference
    assert 0.9 * clock <= made <= clock
    assert 25e6 / reference >= 3.125e6
    assert 400e6 <= made * output <= 800e6


def test_a_clock_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="not 5 MHz"):
        pll_dividers(5e6)


def test_a_board_of_several_ports_is_refused() -> None:
    with pytest.raises(ValueError, match="one memory port, zcu102 needs 4"):
        board_clock(PRESETS["zcu102"], 90e6)


def test_every_pin_has_a_site_and_the_oscillator_a_frequency() -> None:
    text = constraints()
    assert all(f'"{name}" SITE "{site}"' in text for name, (site, _) in PINS.items())
    assert 'FREQUENCY PORT "clk25" 25 MHZ' in text
