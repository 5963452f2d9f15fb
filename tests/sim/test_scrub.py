"""Two owners of one accelerator: after the scrub nothing of the first one can be read, before it
everything can."""

from dataclasses import replace

import numpy as np
import pytest

from sigbit.compiler.order.hazards import verify_hazards
from sigbit.runtime import Session
from sigbit_hw.arch import addressing, images, regs
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import Fill, Load, LoadKind, Opcode
from sigbit_hw.arch.regs import OFFSET
from sigbit_hw.arch.scrub import scrub_program
from sigbit_sim.cycles import predict
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from verify.owners import (
    CONFIGS,
    END,
    NANO,
    TWO,
    execute,
    plain_window,
    probes,
    secret_is_scrubbed,
    secrets,
    segments,
)


@pytest.mark.sim
@pytest.mark.parametrize("name", CONFIGS)
def test_nothing_of_the_first_owner_is_left(name: str, rng: np.random.Generator) -> None:
    """The second owner's probes find what they find in an accelerator that has just been reset."""
    for what, probe in probes(CONFIGS[name]).items():
        secret_is_scrubbed(what, probe, CONFIGS[name], rng)


@pytest.mark.sim
@pytest.mark.parametrize("name", CONFIGS)
def test_segments_are_those_of_the_scrub(name: str, rng: np.random.Generator) -> None:
    config = CONFIGS[name]
    device = RtlDevice(config)
    theirs = rng.integers(0, 256, END).astype(np.uint8)
    mine = plain_window(config, rng)
    execute(secrets(config), device, theirs)
    before = execute(segments(config, own=False), device, mine)
    device.scrub()
    after = execute(segments(config, own=False), device, mine)
    assert after == execute(segments(config, own=True), device, mine) != before


@pytest.mark.sim
@pytest.mark.parametrize("name", CONFIGS)
def test_registers_and_cycles(name: str, rng: np.random.Generator) -> None:
    """Registers are as after a reset; the cycles are those of the model; Programs run as before."""
    config = CONFIGS[name]
    device = RtlDevice(config)
    fresh = {r.name: device.model.read(r.offset) for r in regs.REGISTERS}
    program = random_program(config, rng)
    inputs = random_inputs(program, rng)
    expected = Interp(config).run(program, inputs).outputs
    for _ in range(2):
        device.run(program, inputs)
        cycles = []
        read = device.model.read
        soft_reset = device.soft_reset

        def spy() -> bool:
            cycles.append(read(OFFSET["CYCLES"]))  # noqa: B023
            return soft_reset()  # noqa: B023

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(device, "soft_reset", spy)
            device.scrub()
        assert cycles == [predict(scrub_program(config)).cycles]
        assert {r.name: device.model.read(r.offset) for r in regs.REGISTERS} == fresh
    for port, values in device.run(program, inputs).outputs.items():
        np.testing.assert_array_equal(values, expected[port])


@pytest.mark.parametrize(
    "config",
    [*PRESETS.values(), TWO, replace(NANO, act_slots=1 << 20, weight_words=1 << 15)],
    ids=lambda c: f"{c.name}-{c.act_slots}",
)
def test_the_scrub_is_a_program_like_others(config: ArchConfig) -> None:
    """It is safe, and writes every entry of every memory."""
    program = scrub_program(config)
    verify_hazards(program)
    written = {kind: np.zeros(images.depth(kind, config), bool) for kind in LoadKind}
    for instr in program.listing:
        if isinstance(instr, Load | Fill):
            kind = instr.kind if isinstance(instr, Load) else LoadKind.ACTS
            written[kind][addressing.block_slots(instr)] = True
    assert all(entries.all() for entries in written.values())
    assert not program.memory()[program.instructions.size :].any()
    assert program.memory_bytes <= 1 << 16


def test_the_scrub_fills_every_queue() -> None:
    """As many slots as STORE reads ahead, and two bursts of each of two ways to the bus: of nano,
    16 and 4 bursts of 16 beats of 4 slots."""
    *_, store, _ = scrub_program(NANO).listing
    assert (store.opcode, store.n0, store.beats) == (Opcode.STORE, 16 + 4 * 16 * 4, 68)


def test_a_session_of_another_owner_scrubs(rng: np.random.Generator) -> None:
    scrubs: list[str] = []

    class Watched(Interp):
        def scrub(self) -> None:
            scrubs.append("scrub")
            super().scrub()

    program = random_program(NANO, rng, execs=1)
    x = random_inputs(program, rng)["x"]
    device, other = Watched(NANO), Watched(NANO)
    ann, bob = (Session(program, device, owner=name) for name in ("ann", "bob"))
    for session, count in (
        (ann, 0),
        (ann, 0),
        (Session(program, device, owner="ann"), 0),
        (bob, 1),
        (bob, 1),
        (ann, 2),
        (Session(program, device), 3),
        (Session(program, other, owner="bob"), 3),
    ):
        session.run_stored({"x": x})
        assert len(scrubs) == count
