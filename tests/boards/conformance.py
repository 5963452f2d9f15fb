"""What every device must do: the same Programs, codes, errors and counters, however they end."""

import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest

from sigbit.runtime import Device, DeviceError, RunCancelled, RunTimeout, Session
from sigbit_hw.arch import isa, regs
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program, ProgramError
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program

NANO = PRESETS["nano"]


@dataclass(frozen=True)
class Job:
    """A Program, inputs of some images, and the interpreter's outputs."""

    program: Program
    inputs: dict
    outputs: dict

    def right(self, device: Device, images: list[int] | None = None) -> int:
        """Run it; compare all codes, and return how many."""
        on_image = None if images is None else images.append
        result = device.run(self.program, self.inputs, on_image=on_image)
        assert result.outputs.keys() == self.outputs.keys()
        for name, values in self.outputs.items():
            np.testing.assert_array_equal(result.outputs[name], values, name)
        return sum(values.size for values in self.outputs.values())


def jobs(count: int = 2, images: int = 2) -> list[Job]:
    """The same ones for every device."""
    rng = np.random.default_rng(15)
    found = []
    for _ in range(count):
        program = random_program(NANO, rng, execs=2)
        inputs = random_inputs(program, rng, images)
        found.append(Job(program, inputs, Interp(NANO).run(program, inputs).outputs))
    return found


JOBS = jobs()


def broken(program: Program) -> Program:
    """Its second instruction has an opcode that does not exist."""
    code = program.instructions.copy()
    code[isa.WORD_BYTES] = 0xFF
    return replace(program, instructions=code)


BROKEN = broken(JOBS[0].program)
PROGRAMS = [*(job.program for job in JOBS), BROKEN]


class Conformance:
    """To be inherited, with a fixture ``device``."""

    def test_programs_in_turn_give_their_codes(self, device: Device) -> None:
        images: list[int] = []
        assert sum(job.right(device, images) for job in JOBS * 2) > 0
        assert images == [0, 1] * (2 * len(JOBS))

    def test_counters(self, device: Device) -> None:
        result = device.run(JOBS[0].program, JOBS[0].inputs)
        if result.cycles is None:
            assert not result.counters
            return
        assert result.cycles.tolist() == [found["CYCLES"] for found in result.counters]
        names = {name for name, _ in regs.COUNTERS}
        for found in result.counters:
            assert found.keys() <= names
            assert found["CYCLES"] > 0
            assert found["RETIRED"] == len(JOBS[0].program.instructions) // isa.WORD_BYTES - 1

    def test_an_error_has_cause_and_place_and_is_over(self, device: Device) -> None:
        with pytest.raises(DeviceError) as wanted:
            Interp(NANO).run(BROKEN, JOBS[0].inputs)
        for _ in range(2):
            with pytest.raises(DeviceError) as found:
                device.run(BROKEN, JOBS[0].inputs)
            assert str(found.value) == str(wanted.value)
            assert (found.value.cause, found.value.index) == (regs.Cause.ILLEGAL, 1)
        for job in JOBS:
            job.right(device)

    def test_what_does_not_fit_is_refused(self, device: Device) -> None:
        (first, *_) = JOBS
        with pytest.raises(ProgramError, match="micro"):
            device.run(replace(first.program, config=PRESETS["micro"]), first.inputs)
        wrong = {name: values[:, :, :, :0] for name, values in first.inputs.items()}
        with pytest.raises(ProgramError, match="must have shape"):
            device.run(first.program, wrong)
        first.right(device)

    def test_layers_are_given_or_refused(self, device: Device) -> None:
        (first, *_) = JOBS
        if device.sees_layers:
            assert device.run(first.program, first.inputs, layers=True).layers
        else:
            with pytest.raises(ProgramError, match="outputs only"):
                device.run(first.program, first.inputs, layers=True)

    def test_a_run_can_be_cancelled(self, device: Device) -> None:
        """At its first look and at later ones; the next run is right."""
        (first, *_) = JOBS
        cancel = threading.Event()
        cancel.set()
        session = Session(first.program, device)
        with pytest.raises(RunCancelled, match="was cancelled"):
            session.run_stored(first.inputs, cancel=cancel)
        for later in (2, 5):
            left = later

            def check() -> None:
                nonlocal left
                left -= 1
                if not left:
                    raise RunCancelled("later")

            try:
                device.run(first.program, first.inputs, check=check)
            except RunCancelled:
                assert left == 0
            first.right(device)

    def test_a_run_can_time_out(self, device: Device) -> None:
        (first, *_) = JOBS
        with pytest.raises(RunTimeout, match="not done within 0 s"):
            Session(first.program, device).run_stored(first.inputs, timeout=0)
        first.right(device)

    def test_reset_and_scrub_leave_it_ready(self, device: Device) -> None:
        (first, second) = JOBS
        first.right(device)
        device.reset()
        second.right(device)
        device.scrub()
        first.right(device)
