"""A board as a device: Programs stay in its memory with their states, only inputs and outputs are
transferred."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from sigbit.runtime import (
    BoardError,
    Check,
    DeviceError,
    KeptStates,
    RunResult,
    check_stored,
    unlimited,
)
from sigbit.runtime.device import Inputs, packed_inputs, port_parts, unpack_outputs
from sigbit_boards.host import registers
from sigbit_boards.host.residents import Place, Residents
from sigbit_boards.host.steps import (
    Await,
    ReadMemory,
    Step,
    Transport,
    WriteMemory,
)
from sigbit_hw.arch import bus, launch, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program, ProgramError
from sigbit_hw.arch.regs import Cause
from sigbit_hw.arch.scrub import scrub_program

Ints = NDArray[np.int64]

_AWAIT = 0.05
"""Seconds for which the board waits for an interrupt before it answers that there is none."""
_IDLE = 2.0
"""Seconds granted to the accelerator's bus to become idle."""


class BoardDevice:
    """An accelerator on a board.

    Nothing is opened before the first run. If the board has not answered, the next run opens it
    again; Programs are then written to its memory again.

    Parameters
    ----------
    name : str
        Name of the device on the command line.
    config : ArchConfig
        Expected accelerator.
    connect : callable
        Function that opens the board; raises :class:`BoardError` if that fails.
    """

    sees_layers = False

    def __init__(self, name: str, config: ArchConfig, connect: Callable[[], Transport]) -> None:
        self.name, self.config = name, config
        self._connect = connect
        self._transport: Transport | None = None
        self._residents = Residents(0)
        self._ready: tuple[str, Place] | None = None
        """Digest and location of the Program that the registers describe."""
        self._states = KeptStates()
        """States of Programs that had to leave the memory."""
        self._moved: set[str] = set()
        """Digests of the Programs whose states are not the initial ones."""
        self._lost: set[str] = set()
        """Digests of those whose states are lost."""

    def run(
        self,
        program: Program,
        inputs: Inputs,
        *,
        layers: bool = False,
        on_image: Callable[[int], None] | None = None,
        check: Check = unlimited,
    ) -> RunResult:
        """Run all images; see :class:`sigbit.runtime.Device`. Nothing of a run that ``check`` ends
        continues. Raises :class:`BoardError` if the board does not answer."""
        program.require(self.config)
        stored = check_stored(program, inputs)
        if layers:
            raise ProgramError(
                f"{self.name} returns outputs only: layers are available on interp, rtl and netlist"
            )
        results: list[tuple[dict[str, Ints], dict[str, int]]] = []
        runs = len(next(iter(stored.values()))) // program.images
        known = self._transport is not None
        self._refuse_lost(program)
        while len(results) < runs:
            kept = program.digest in self._moved
            try:
                with self._recovering(program):
                    results.append(self._run_once(program, stored, len(results), check))
            except BoardError:
                if not known or kept:
                    raise
                known = False  # restarted, or reconnected, since its last use
                continue
            known = False
            with self._recovering(program):
                for image in range(program.images):
                    if on_image:
                        on_image((len(results) - 1) * program.images + image)
        counters = [found for _, found in results]
        return RunResult(
            outputs={
                port.name: np.concatenate([found[port.name] for found, _ in results])
                for port in program.outputs
            },
            cycles=np.array([found["CYCLES"] for found in counters], np.int64),
            counters=counters,
        )

    def reset_state(self, program: Program, names: Collection[str] = ()) -> None:
        """Return to initial states; see :class:`sigbit.runtime.Device`."""
        self._states.reset(program, names)
        place = self._residents.find(program)
        if place is not None and program.digest in self._moved and self._transport is not None:
            steps: list[Step] = [
                WriteMemory(place.base + part.start, data.tobytes())
                for name, part, data in program.initial_states()
                if not names or name in names
            ]
            with self._recovering(program):
                self._transport.carry_out(steps, unlimited)
        if not names:
            self._moved.discard(program.digest)
            self._lost.discard(program.digest)

    def _refuse_lost(self, program: Program) -> None:
        """Raise once if the states of ``program`` are lost."""
        if program.digest in self._lost:
            self._lost.discard(program.digest)
            raise BoardError(
                f"{self.name}: the board was restarted or disconnected, and the states of "
                f"{program.name} are lost: the next run begins with the initial ones"
            )

    def _forget_states(self) -> None:
        """Return to the initial states of all Programs."""
        self._states.clear()
        self._moved.clear()
        self._lost.clear()

    def scrub(self) -> None:
        """Clear the accelerator: :func:`~sigbit_hw.arch.scrub.scrub_program`, soft reset, registers
        as after a reset. The former content of the board's memory is overwritten before it can be
        read, and all states are forgotten."""
        program = scrub_program(self.config)
        with self._recovering():
            transport = self._open(unlimited)
            self._residents.clear()
            self._forget_states()
            self._start(transport, program, [], [], unlimited)
            self._residents.clear()
            self._soft_reset(transport)
            transport.carry_out(registers.writes(launch.blank(self.config)), unlimited)

    def reset(self) -> None:
        """Stop the current run, and discard all state of the board."""
        with self._recovering():
            transport = self._open(unlimited)
            self._residents.clear()
            self._forget_states()
            self._soft_reset(transport)

    def close(self) -> None:
        """Close the board; the states in its memory are lost."""
        transport, self._transport, self._ready = self._transport, None, None
        lost = self._moved & self._residents.digests
        self._residents = Residents(0)
        self._lost |= lost
        self._moved -= lost
        if transport is not None:
            transport.close()

    # Connection

    def _open(self, check: Check) -> Transport:
        """Open the board, identified and idle."""
        if self._transport is None:
            transport = self._connect()
            try:
                self._identify(transport, check)
                self._soft_reset(transport)
            except BaseException:
                transport.close()
                raise
            self._transport = transport
            page = self.config.ports * bus.PAGE_BYTES
            self._residents = Residents(transport.memory_bytes, page)
        return self._transport

    def _identify(self, transport: Transport, check: Check) -> None:
        wanted = launch.identity(self.config)
        step, read = registers.block(next(iter(wanted)), list(wanted)[-1])
        found = read(*transport.carry_out([step], check))
        for name, value in wanted.items():
            if found[name] != value:
                raise ProgramError(
                    f"the accelerator on {self.name} is not {self.config.name}, which the Program "
                    f"was compiled for: its {name} is {found[name]:#010x}, not {value:#010x}"
                )

    @contextmanager
    def _recovering(self, program: Program | None = None) -> Iterator[None]:
        """Leave the accelerator stopped on any exception, the states of ``program`` initial, and
        the board closed if it is gone."""
        try:
            yield
        except BaseException as error:
            if program is not None and program.states:
                self._residents.forget(program)
                self._states.reset(program)
                self._moved.discard(program.digest)
            if isinstance(error, BoardError):
                self.close()
                raise
            self._ready = None
            try:
                if self._transport is not None:
                    self._soft_reset(self._transport)
            except BoardError:
                self.close()
            raise

    # Runs

    def _run_once(
        self, program: Program, stored: Mapping[str, Ints], run: int, check: Check
    ) -> tuple[dict[str, Ints], dict[str, int]]:
        """Outputs and counters of one run."""
        transport = self._open(check)
        parts = [(part.start, data) for part, data in packed_inputs(program, stored, run)]
        wanted = [part for port in program.outputs for part in port_parts(program, port)]
        data, counters = self._start(transport, program, parts, wanted, check)
        memory = np.zeros(program.memory_bytes, np.uint8)
        for part, found in zip(wanted, data, strict=True):
            memory[part] = np.frombuffer(found, np.uint8)
        return unpack_outputs(program, memory), counters

    def _start(
        self,
        transport: Transport,
        program: Program,
        inputs: Sequence[tuple[int, NDArray[np.uint8]]],
        outputs: Sequence[slice],
        check: Check,
    ) -> tuple[list[bytes], dict[str, int]]:
        """Run a Program on inputs at their offsets; return its outputs and counters."""

        def write(program: Program, place: Place) -> None:
            memory = program.memory()
            self._states.put(program, memory)
            transport.carry_out([WriteMemory(place.base, memory.tobytes())], check)
            self._states.reset(program)

        def leave(program: Program, place: Place) -> None:
            memory = np.zeros(program.memory_bytes, np.uint8)
            parts = [part for part, _ in self._states.of(program)]
            reads = [ReadMemory(place.base + p.start, p.stop - p.start) for p in parts]
            for part, found in zip(parts, transport.carry_out(reads, check), strict=True):
                memory[part] = np.frombuffer(found, np.uint8)
            self._states.keep(program, memory)

        place = self._residents.place(program, write, leave)
        if program.states:
            self._moved.add(program.digest)
        steps: list[Step] = [
            WriteMemory(place.base + offset, data.tobytes()) for offset, data in inputs
        ]
        if self._ready != (program.digest, place):
            bases = transport.bases(place.base)
            steps += registers.writes(launch.set_up_program(program, bases))
        self._ready = (program.digest, place)
        steps += registers.writes(launch.START)
        state, read_state = registers.block("STATUS", "CAUSE_INDEX")
        counts, read_counts = registers.block("CYCLES", "OVERFLOW")
        last: list[Step] = [Await(_AWAIT), state, counts]
        last += [ReadMemory(place.base + p.start, p.stop - p.start) for p in outputs]
        found = transport.carry_out([*steps, *last], check)[len(steps) :]
        while not found[0][0]:  # data read after the wait belong to a run that is still active
            found = transport.carry_out(last, check)
        self._judge(program, read_state(found[1]))
        return found[3:], launch.counters(read_counts(found[2]).__getitem__)

    def _judge(self, program: Program, state: Mapping[str, int]) -> None:
        """Raise the error that the accelerator reports, if any."""
        if state["IRQ_STATUS"] & regs.IRQ_REFUSED:
            raise BoardError(
                f"{self.name}: the accelerator refused to be started: does another program use it?"
            )
        if state["IRQ_STATUS"] & regs.IRQ_ERROR:
            raise DeviceError(Cause(state["CAUSE"]), state["CAUSE_INDEX"], program)

    def _soft_reset(self, transport: Transport) -> None:
        self._ready = None
        reset = registers.writes({"CONTROL": regs.CONTROL_SOFT_RESET})
        step, read = registers.block("STATUS", "STATUS")
        end = time.monotonic() + _IDLE
        while True:
            found = transport.carry_out([*reset, step], unlimited)[-1]
            if read(found)["STATUS"] & regs.STATUS_BUS_IDLE:
                return
            if time.monotonic() > end:
                raise BoardError(
                    f"{self.name}: the accelerator's bus does not become idle: load the bitstream "
                    f"again"
                )
