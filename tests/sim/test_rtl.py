"""The RTL device against the interpreter, and the errors it reports, in the native harness."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sigbit.ir.integer import Conv, MaxPool
from sigbit.runtime import DeviceError, RunResult, compare
from sigbit_hw.arch import addressing, images, isa, regs
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import Engine, LoadKind, Opcode
from sigbit_hw.arch.numerics import TABLE_ENTRIES
from sigbit_hw.arch.program import Program, ProgramError
from sigbit_hw.arch.regs import OFFSET, Cause
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.checkpoint import CheckpointError
from sigbit_sim.rtl.device import BASES, HangError, RtlDevice
from sigbit_sim.rtl.native.build import library
from sigbit_sim.rtl.native.model import Hang, ModelError, Stop
from sigbit_sim.rtl.progress import Progress, array_steps
from sigbit_sim.verification.faults import (
    END,
    INPUT,
    OUTPUT,
    PIXELS,
    copy_code,
    copy_program,
    fault_cases,
)
from sigbit_sim.verification.networks import random_network
from sigbit_synthesis.emitted import cached_verilog
from verify.errors import provoke

pytestmark = pytest.mark.sim

NANO = PRESETS["nano"]
WIDE = replace(
    NANO, name="wide", oc_lanes=8, post_lanes=8, bus_bits=128, burst_beats=4, outstanding_reads=2
)
"""Two slots drained a cycle, a bus of 128 bits, short bursts."""
TWO = replace(NANO, name="two_ports", oc_lanes=8, bus_bits=128, ports=2)
FOUR = replace(NANO, name="four_ports", oc_lanes=16, bus_bits=256, ports=4, burst_beats=4)
MEMORIES: dict[str, dict[str, Any]] = {
    "default": {},
    "fast": {"memory": MemoryTiming(1)},
    "slow": {"memory": MemoryTiming(90, Fraction(1, 3), 100, 7)},
    "stalling": {"memory": MemoryTiming(17), "stalls": 0.4},
}


def run_both(
    device: RtlDevice, program: Program, rng: np.random.Generator, images: int = 2
) -> RunResult:
    """Run random images on `device` and the interpreter; all codes must be equal."""
    inputs = random_inputs(program, rng, images)
    expected = Interp(program.config).run(program, inputs, layers=True)
    got = device.run(program, inputs, layers=True)
    assert len(got.layers) == len(program.execs) > 0
    assert got.layers.keys() == expected.layers.keys()
    assert got.outputs.keys() == expected.outputs.keys()
    assert not compare({**expected.layers, **expected.outputs}, {**got.layers, **got.outputs})
    return got


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("config", [NANO, WIDE], ids=lambda c: c.name)
def test_random_programs(
    config: ArchConfig, memory: str, rng: np.random.Generator, seed: int
) -> None:
    device = RtlDevice(config, seed=seed, max_cycles=200_000, **MEMORIES[memory])
    for _ in range(10):
        run_both(device, random_program(config, rng), rng)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("config", [NANO, WIDE], ids=lambda c: c.name)
def test_networks(config: ArchConfig, memory: str, rng: np.random.Generator, seed: int) -> None:
    """Every layer of compiled networks is the integer model's."""
    device = RtlDevice(config, seed=seed, **MEMORIES[memory])
    for layers in (1, 2, 4):
        graph, program = random_network(rng, config, layers)
        inputs = {n.name: rng.integers(n.low, n.high + 1, (2, *n.type.shape)) for n in graph.inputs}
        golden = graph.evaluate({name: torch.from_numpy(x) for name, x in inputs.items()})
        got = device.run(program, inputs, layers=True)
        layers_of = {n.name for n in graph.nodes if isinstance(n, Conv | MaxPool)}
        assert set(got.layers) == layers_of
        assert set(got.outputs) == set(graph.outputs)
        assert not compare(golden, {**got.layers, **got.outputs})


@pytest.mark.parametrize("config", [TWO, FOUR], ids=lambda c: c.name)
def test_ports(config: ArchConfig, rng: np.random.Generator, seed: int) -> None:
    """Random programs with memories of different speeds on the ports."""
    for round_ in range(4):
        device = RtlDevice(config, memory=MemoryTiming(100), max_cycles=400_000)
        for port in range(config.ports):
            device.model.timing(
                MemoryTiming(int(rng.integers(1, 100)), Fraction(int(rng.integers(2, 9)), 8)),
                float(rng.random() * 0.5),
                seed + round_,
                port=port,
            )
        for _ in range(3):
            run_both(device, random_program(config, rng), rng, images=1)


@pytest.mark.parametrize("port", range(FOUR.ports))
def test_errors_on_one_port(port: int, rng: np.random.Generator, seed: int) -> None:
    device = RtlDevice(FOUR, stalls=0.2, seed=seed, watchdog=4000, max_cycles=100_000)
    cases = [case for case in fault_cases(FOUR) if case.faults or case.hang]
    assert len(cases) > 8
    for case in cases:
        error = provoke(device, case, port)
        assert (error.cause, error.index) == (case.cause, case.index), case.name
        assert device.soft_reset()
    run_both(device, random_program(FOUR, rng), rng, images=1)
    assert device.model.violations == []


def test_a_checkpoint_changes_nothing(tmp_path: Path, rng: np.random.Generator) -> None:
    """Stopped in every slice of a run of several images and gone on with, each time by a new
    device: outputs, layers, counters, timeline and feeding are those of a run without a break."""
    program = random_program(TWO, rng)
    inputs = random_inputs(program, rng, 2)
    memory: dict[str, Any] = {
        "memory": MemoryTiming(30, Fraction(2, 3), 200, 11),
        "stalls": 0.3,
        "seed": 5,
    }
    plain = RtlDevice(TWO, **memory)
    expected = plain.run(program, inputs, layers=True)
    assert expected.cycles is not None
    file, breaks = tmp_path / "checkpoint", 0
    step = int(expected.cycles[0]) // 3

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sigbit_sim.rtl.device.SLICE", step)
        device = RtlDevice(TWO, checkpoint=file, progress=interrupt, **memory)
        for _ in range(6):
            with pytest.raises(KeyboardInterrupt):
                device.run(program, inputs, layers=True)
            assert file.exists()
            breaks += 1
            device = RtlDevice(TWO, checkpoint=file, progress=interrupt, **memory)
        with pytest.raises(CheckpointError, match="belongs to another"):
            RtlDevice(TWO, checkpoint=file, **memory).run(program, inputs)
        device = RtlDevice(TWO, checkpoint=file, **memory)
        got = device.run(program, inputs, layers=True)
    assert not file.exists()
    assert breaks == 6
    assert not compare({**expected.layers, **expected.outputs}, {**got.layers, **got.outputs})
    assert (got.cycles == expected.cycles).all()
    assert got.counters == expected.counters
    assert got.timeline == expected.timeline
    assert device.feeds == plain.feeds


def test_progress(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigbit_sim.rtl.device.SLICE", 500)
    program = random_program(NANO, rng)
    seen: list[Progress] = []
    result = RtlDevice(NANO, progress=seen.append).run(program, random_inputs(program, rng, 2))
    assert result.cycles is not None
    assert [p.run for p in seen] == sorted(p.run for p in seen)
    for run in (0, 1):
        own = [p for p in seen if p.run == run]
        assert len(own) == -(-(int(result.cycles[run]) + 10) // 500)
        assert [p.retired for p in own] == sorted(p.retired for p in own)
        assert own[-1].retired == own[-1].instructions > 0
    assert seen[-1].remaining == 0
    assert "run 2 of 2" in str(seen[-1])
    assert array_steps(program) == result.counters[0]["COMPUTE_BUSY"]


def test_equal_images_take_equal_cycles(rng: np.random.Generator) -> None:
    program = random_program(NANO, rng)
    inputs = {name: np.repeat(x, 3, axis=0) for name, x in random_inputs(program, rng).items()}
    seen: list[int] = []
    got = RtlDevice(NANO).run(program, inputs, on_image=seen.append)
    assert seen == [0, 1, 2]
    assert got.cycles is not None
    assert len(set(got.cycles.tolist())) == 1
    assert got.counters == [got.counters[0]] * 3
    assert set(got.counters[0]) == {name for name, _ in regs.COUNTERS}
    assert got.counters[0]["RETIRED"] == len(program.listing) - 1


def test_a_slow_memory_costs_cycles(rng: np.random.Generator) -> None:
    program = random_program(NANO, rng)
    inputs = random_inputs(program, rng)

    def cycles(*memory: Any) -> int:
        result = RtlDevice(NANO, memory=MemoryTiming(*memory)).run(program, inputs)
        assert result.cycles is not None
        return int(result.cycles[0])

    assert cycles(1) < cycles(40) < cycles(200)
    assert cycles() < cycles(40, Fraction(1, 2)) < cycles(40, Fraction(1, 10))
    assert cycles() < cycles(40, Fraction(1), 50, 10) < cycles(40, Fraction(1), 50, 25)


def test_timeline_and_feeding(rng: np.random.Generator) -> None:
    program = random_program(NANO, rng)
    device = RtlDevice(NANO)
    result = device.run(program, random_inputs(program, rng))
    tracked = {
        i: instr for i, instr in enumerate(program.listing) if instr.opcode in isa.SIGNALLING
    }
    assert {event.index: event.engine for event in result.timeline} == {
        i: isa.ENGINE_OF[instr.opcode] for i, instr in tracked.items()
    }
    assert result.cycles is not None
    for engine in Engine:
        events = [event for event in result.timeline if event.engine == engine]
        assert [event.index for event in events] == sorted(event.index for event in events)
        assert all(0 <= event.start < event.end <= result.cycles[0] + 8 for event in events)
    segments: dict[int, isa.Instr] = {}
    steps = {}
    for index, instr in enumerate(program.listing):
        if instr.opcode == Opcode.SEG:
            segments[instr.index] = instr
        elif instr.opcode == Opcode.EXEC:
            taps = sum(s.n_ky * s.n_kx * s.n_ic for s in map(segments.get, range(instr.n_seg)) if s)
            blocks = addressing.blocks_of_run(instr, NANO)
            steps[index] = instr.n_ocb * instr.n_rows * blocks * taps
    assert {index: feed.count for index, feed in device.feeds.items()} == steps
    assert result.counters[0]["COMPUTE_BUSY"] == sum(steps.values())
    assert all(feed.count <= feed.last - feed.first + 1 for feed in device.feeds.values())


CASES = [case.name for case in fault_cases(NANO)]


@pytest.mark.parametrize("stalls", [None, 0.3])
@pytest.mark.parametrize("name", CASES)
def test_errors(name: str, stalls: float | None, rng: np.random.Generator, seed: int) -> None:
    case = next(c for c in fault_cases(NANO) if c.name == name)
    device = RtlDevice(NANO, stalls=stalls, seed=seed, watchdog=4000, max_cycles=100_000)
    error = provoke(device, case)
    assert (error.cause, error.index) == (case.cause, case.index)
    assert case.cause.name in str(error)
    run_both(device, random_program(NANO, rng), rng, images=1)
    assert device.model.violations == []


def test_every_cause_is_provoked() -> None:
    """By a program or an answer of the bus; registers and slaves that err have tests of their
    own."""
    elsewhere = {Cause.NONE, Cause.BASE, Cause.BUS_PROTOCOL, Cause.CYCLE_LIMIT}
    assert {case.cause for case in fault_cases(NANO)} == set(Cause) - elsewhere


def test_only_the_output_is_written(rng: np.random.Generator) -> None:
    program = copy_program(NANO)
    device = RtlDevice(NANO)
    inputs = random_inputs(program, rng)
    result = device.run(program, inputs)
    np.testing.assert_array_equal(result.outputs["output"], inputs["input"])
    memory = rng.integers(0, 256, END, np.uint8)
    memory[: program.instructions.size] = program.instructions
    before = memory.copy()
    device.model.connect([memory], BASES[:1])
    device.model.write(OFFSET["CONTROL"], regs.CONTROL_START)
    assert device.model.run(10_000, 5_000) == Stop.IRQ
    size = PIXELS * NANO.slot_bytes
    before[OUTPUT : OUTPUT + size] = before[INPUT : INPUT + size]
    np.testing.assert_array_equal(memory, before)


def test_hang_without_a_cause_says_what_engines_do(monkeypatch: pytest.MonkeyPatch) -> None:
    program = copy_program(NANO)
    device = RtlDevice(NANO, watchdog=1000)
    device.model.hang(Hang.B)
    watchdog = OFFSET["WATCHDOG"]
    write = device.model.write
    monkeypatch.setattr(device.model, "write", lambda at, v: write(at, 0 if at == watchdog else v))
    with pytest.raises(
        HangError,
        match=r"no progress; LOAD finished instruction 1; "
        r"COMPUTE never started; STORE at instruction 2 \(STORE\)",
    ):
        device.run(program, np.zeros((1, *program.inputs[0].shape), np.int64))


def test_tables_that_are_written_are_progress() -> None:
    """The bus rests while the entries of wide beats are written, for longer than WATCHDOG."""
    entries = np.zeros((FOUR.tables, TABLE_ENTRIES), np.int64)
    beats = images.beats(images.pack_table(entries, FOUR).size, FOUR)
    code = [isa.Load(kind=LoadKind.TABLE, beats=beats, n0=FOUR.tables), isa.Halt()]
    device = RtlDevice(FOUR, memory=MemoryTiming(4), watchdog=3 * TABLE_ENTRIES)
    program = copy_program(FOUR, code)
    result = device.run(program, np.zeros((1, *program.inputs[0].shape), np.int64))
    limit = device.model.read(OFFSET["WATCHDOG"])
    assert limit < TABLE_ENTRIES * FOUR.tables < result.cycles[0]


def test_a_run_that_would_take_for_ever(rng: np.random.Generator) -> None:
    """One legal EXEC of 8.7e18 cycles, in which the array never rests: the limit ends it."""
    code = [
        isa.Seg(index=0, n_ic=2047, n_kx=31, n_ky=31),
        isa.Exec(n_seg=1, run=(1 << 20) - 1, n_rows=4095, n_ocb=2047, wrap=(1 << 20) - 1),
        isa.Halt(),
    ]
    program = copy_program(NANO, code)
    device = RtlDevice(NANO, watchdog=200, max_cycles=20_000)
    inputs = np.zeros((1, *program.inputs[0].shape), np.int64)
    with pytest.raises(DeviceError, match="CYCLE_LIMIT") as error:
        device.run(program, inputs)
    assert (error.value.cause, error.value.index) == (Cause.CYCLE_LIMIT, 1)
    assert 20_000 <= device.model.read(OFFSET["CYCLES"]) <= 20_008
    run_both(device, random_program(NANO, rng), rng, images=1)


def test_program_for_another_accelerator_is_refused() -> None:
    device = RtlDevice(replace(NANO, tables=4))
    with pytest.raises(ProgramError, match="compiled for nano"):
        device.run(copy_program(NANO), np.zeros((1, NANO.ic_lanes, 1, 24), np.int64))


def test_wrong_hardware_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    device = RtlDevice(replace(NANO, tables=4))
    monkeypatch.setattr("sigbit_sim.rtl.device.library", lambda *_, **__: library(NANO))
    with pytest.raises(ProgramError, match="DIGEST_LO is"):
        device.run(copy_program(device.config), np.zeros((1, NANO.ic_lanes, 1, 24), np.int64))


def test_breaches_of_axi_are_seen() -> None:
    """A planted fault: bursts announce half the transfer size."""
    verilog = cached_verilog(NANO, traced=True)
    faulty = verilog.replace("assign m_axi_arsize = 3'h3;", "assign m_axi_arsize = 3'h2;")
    assert faulty != verilog
    device = RtlDevice(NANO, verilog=faulty)
    program = copy_program(NANO)
    with pytest.raises(ModelError, match=r"breaches of AXI, first: .* AR: size 2 on a 8-byte bus"):
        device.run(program, np.zeros((1, *program.inputs[0].shape), np.int64))


def test_copy_code_is_what_the_interpreter_runs(rng: np.random.Generator) -> None:
    program = copy_program(WIDE, copy_code(WIDE))
    inputs = random_inputs(program, rng, 2)
    expected = Interp(WIDE).run(program, inputs).outputs["output"]
    np.testing.assert_array_equal(expected, inputs["input"])
    np.testing.assert_array_equal(RtlDevice(WIDE).run(program, inputs).outputs["output"], expected)
