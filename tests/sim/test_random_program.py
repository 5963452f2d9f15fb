"""Random programs are legal: strict, free of races, and busy."""

from collections import Counter, deque
from dataclasses import replace

import numpy as np
import pytest

from sigbit_hw.arch import addressing, isa
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import Engine, Instr, Opcode
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program


def shuffled(program: Program, rng: np.random.Generator) -> Program:
    """The program in another order that engines running concurrently could give."""
    queues = {
        e: deque(i for i in program.listing if isa.ENGINE_OF.get(i.opcode) == e) for e in Engine
    }
    tokens: Counter[tuple[Engine, Engine]] = Counter()
    order: list[Instr] = []
    while any(queues.values()):
        ready = [
            e
            for e, queue in queues.items()
            if queue and all(tokens[giver, e] for giver in Engine if queue[0].wait >> giver & 1)
        ]
        assert ready, "deadlock"
        engine = Engine(rng.choice(ready))
        instr = queues[engine].popleft()
        for other in Engine:
            tokens[other, engine] -= instr.wait >> other & 1
            tokens[engine, other] += instr.signal >> other & 1
        order.append(instr)
    assert not +tokens, "tokens left over"
    return replace(program, instructions=isa.pack([*order, isa.Halt()]), execs=())


@pytest.mark.parametrize("preset", ["nano", "micro", "mobile", "zcu102"])
def test_any_order_the_tokens_allow_gives_the_same_outputs(preset, rng):
    config = PRESETS[preset]
    device = Interp(config, strict=True)
    reordered = 0
    for _ in range(12):
        program = random_program(config, rng)
        inputs = random_inputs(program, rng)
        expected = device.run(program, inputs).outputs
        for _ in range(3):
            other = shuffled(program, rng)
            got = device.run(other, inputs).outputs
            for name, value in expected.items():
                np.testing.assert_array_equal(got[name], value)
            reordered += other.listing != program.listing
    assert reordered > 20


def test_programs_cover_the_instruction_set(rng):
    seen: Counter[str] = Counter()
    for _ in range(10):
        program = random_program(PRESETS["nano"], rng)
        stored: set[int] = set()
        for instr in program.listing:
            if instr.opcode == Opcode.STORE:
                stored |= {instr.address + program.config.bus_bytes * k for k in range(instr.beats)}
            seen["spill"] += instr.opcode == Opcode.LOAD and instr.address in stored
            seen[instr.opcode.name] += 1
            for name in ("wait", "signal", "mode", "keep", "sync", "shift", "kind"):
                seen[name] += bool(getattr(instr, name, 0))
            seen["no drain"] += isinstance(instr, isa.Exec) and not instr.drain
    assert all(
        seen[name] >= 3
        for name in (
            *(o.name for o in Opcode),
            "wait",
            "signal",
            "mode",
            "keep",
            "sync",
            "shift",
            "kind",
            "no drain",
            "spill",
        )
    ), seen


@pytest.mark.parametrize("preset", ["mobile", "zcu102"])
def test_programs_cover_lines_within_blocks(preset, rng):
    """Draining EXECs with no, one and several line ends in a block, and blocks of several
    pixels a cycle."""
    config = PRESETS[preset]
    ends: Counter[int] = Counter()
    for _ in range(8):
        for instr in random_program(config, rng).listing:
            if instr.opcode == Opcode.EXEC and instr.drain and instr.run > 1:
                lanes = addressing.valid_lanes(instr, config)
                ends[min(2, addressing.line_ends(instr, config)[:, :-1][lanes].max())] += 1
    assert config.drain_pixels > 1
    assert all(ends[k] >= 3 for k in range(3)), ends


def test_results_are_spread(rng):
    """A device that computes nothing must not agree by chance: layers hold many values."""
    large = []
    for _ in range(3):
        program = random_program(PRESETS["nano"], rng, execs=8)
        result = Interp(program.config).run(program, random_inputs(program, rng), layers=True)
        assert len(result.layers) >= 8
        large += [v for v in result.layers.values() if v.size >= 24]
    assert sum(len(np.unique(v)) > 4 for v in large) > len(large) // 2 > 3


def test_same_seed_same_program():
    first, second = (random_program(PRESETS["nano"], np.random.default_rng(5)) for _ in range(2))
    assert first.digest == second.digest


def test_arguments_are_checked(rng):
    with pytest.raises(ValueError, match="execs must be in"):
        random_program(PRESETS["nano"], rng, execs=0)
    with pytest.raises(ValueError, match="area must be in"):
        random_program(PRESETS["nano"], rng, area=4)
