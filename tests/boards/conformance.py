"""What every device must do: the same Programs, codes, errors and counters, however they end."""

import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from sigbit.compiler import compile_graph
from sigbit.compiler.random_states import random_stateful
from sigbit.ir.streaming import stream
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


class Stream:
    """A Program with states, inputs of some steps, and the integer model's outputs."""

    STEPS = 6

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        graph = random_stateful(rng, NANO)
        self.program = compile_graph(graph, NANO)
        self.inputs = {
            port.name: rng.integers(port.low, port.high + 1, (self.STEPS, *port.shape))
            for port in self.program.inputs
        }
        self._graph = graph
        self._values = self.golden(0, self.STEPS)

    def golden(self, first: int, end: int, *initial: str) -> dict[str, np.ndarray]:
        """All tensors in steps [first, end) with the states of the steps before, but those with
        names ``initial``, or all of them at step 0, as in the beginning."""
        graph = self._graph
        if first:
            kept = {
                name: self._values[tensor][first - 1]
                for name, tensor in graph.kept
                if name not in initial
            }
            states = (replace(s, initial=kept.get(s.input, s.initial)) for s in graph.states)
            graph = replace(graph, states=tuple(states))
        given = {n: torch.from_numpy(x[first:end]) for n, x in self.inputs.items()}
        return {name: value.numpy() for name, value in stream(graph, given).items()}

    def right(self, device: Device, first: int, end: int, wanted: dict | None = None) -> None:
        """Run steps [first, end), and compare all codes with those ``wanted``, those of one stream
        if there are none."""
        given = {name: x[first:end] for name, x in self.inputs.items()}
        found = device.run(self.program, given).outputs
        assert set(found) == {port.name for port in self.program.outputs}
        for name, values in found.items():
            golden = self._values[name][first:end] if wanted is None else wanted[name]
            np.testing.assert_array_equal(values, golden, name)

    def again(self, device: Device) -> None:
        """See that the states are initial."""
        self.right(device, 2, 4, self.golden(2, 4, *(port.name for port in self.program.states)))


STREAMS = [Stream(5), Stream(8)]

BROKEN = broken(JOBS[0].program)
PROGRAMS = [*(job.program for job in JOBS), BROKEN]
STATEFUL = [each.program for each in STREAMS]


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

    def test_states_stay_from_run_to_run(self, device: Device) -> None:
        """Whatever runs in between."""
        a, b = STREAMS
        for each in STREAMS:
            device.reset_state(each.program)
        a.right(device, 0, 2)
        b.right(device, 0, 1)
        JOBS[0].right(device)
        a.right(device, 2, 3)
        b.right(device, 1, 4)
        a.right(device, 3, 6)
        b.right(device, 4, 6)

    def test_states_are_reset(self, device: Device) -> None:
        (a, b) = STREAMS
        first = a.program.states[0].name
        for each in STREAMS:
            device.reset_state(each.program)
            each.right(device, 0, 2)
        device.reset_state(a.program, [first])
        a.right(device, 2, 4, a.golden(2, 4, first))
        device.reset_state(a.program)
        a.again(device)
        b.right(device, 2, 3)
        with pytest.raises(ProgramError, match=r"has no states \['zz'\]; it has \['"):
            device.reset_state(b.program, ["zz"])
        b.right(device, 3, 6)

    def test_states_are_initial_after_an_exception(self, device: Device) -> None:
        (a, b) = STREAMS
        for each in STREAMS:
            device.reset_state(each.program)
            each.right(device, 0, 2)

        def check() -> None:
            raise RunCancelled("at once")

        with pytest.raises(RunCancelled):
            device.run(a.program, a.inputs, check=check)
        a.again(device)
        b.right(device, 2, 4)
        device.reset()
        a.again(device)
        device.scrub()
        a.again(device)
        b.again(device)
