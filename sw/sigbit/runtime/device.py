"""The Device protocol, common to interpreter, simulators and boards."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sigbit.runtime.limits import Check, unlimited
from sigbit_hw import driver
from sigbit_hw.arch import isa
from sigbit_hw.arch.assembler import listing
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Port, Program, ProgramError
from sigbit_hw.arch.regs import CAUSE_DOC, Cause
from sigbit_tools.errors import SigbitError

Ints = NDArray[np.int64]
Inputs = Ints | Mapping[str, Ints]
"""Stored integers ``[N, C, H, W]``: of the only input, or of every input by port name."""


class DeviceError(SigbitError):
    """The accelerator stopped with ``cause`` at instruction ``index``, which the message names."""

    def __init__(self, cause: Cause, index: int, program: Program | None = None) -> None:
        self.cause = cause
        self.index = index
        where = f"instruction {index}"
        if program is not None:
            where = f"{program.name}: {where}{_describe(program, index)}"
        super().__init__(f"{where}: {cause.name}: {CAUSE_DOC[cause]}")


class BoardError(SigbitError):
    """Raised for a board that is missing, no longer answers, or is of another kind than
    expected."""


def _describe(program: Program, index: int) -> str:
    """Return the listing line and the layer of an instruction, as far as it can be decoded."""
    word = program.instructions[index * isa.WORD_BYTES : (index + 1) * isa.WORD_BYTES]
    if word.size < isa.WORD_BYTES:
        return " (past the end of the program)"
    try:
        instr = isa.decode(int.from_bytes(word.tobytes(), "little"))
    except ValueError as error:
        return f" ({error})"
    text = " ".join(listing([instr]).split()[1:])
    known = instr.tag < len(program.layers)
    return f" ({text})" + (f" of layer {program.layers[instr.tag].name!r}" if known else "")


@dataclass(frozen=True)
class Event:
    """One instruction on an engine: from cycle ``start`` to the cycle before ``end``."""

    engine: isa.Engine
    index: int
    start: int
    end: int


@dataclass
class RunResult:
    """Results of a device for N images, in runs of ``Program.images``.

    ``outputs`` and ``layers`` hold stored integers ``[N, C, H, W]`` by name; ``layers`` is empty
    unless asked for. ``cycles`` ``[runs]`` is ``None`` and ``counters`` empty if the device does
    not count; ``timeline`` describes the first run and may be empty.
    """

    outputs: dict[str, Ints]
    layers: dict[str, Ints] = field(default_factory=dict)
    cycles: Ints | None = None
    counters: list[dict[str, int]] = field(default_factory=list)
    timeline: list[Event] = field(default_factory=list)


class Device(Protocol):
    """A device that runs Programs compiled for its ``config``."""

    @property
    def name(self) -> str:
        """Name of this device on the command line."""

    @property
    def config(self) -> ArchConfig:
        """Configuration of the accelerator."""

    @property
    def sees_layers(self) -> bool:
        """True if the device can return the layers of a run, not only its outputs."""

    def run(
        self,
        program: Program,
        inputs: Inputs,
        *,
        layers: bool = False,
        on_image: Callable[[int], None] | None = None,
        check: Check = unlimited,
    ) -> RunResult:
        """Run all images, whose number is a multiple of ``program.images``; ``on_image(i)`` is
        called when image i is done, ``check()`` repeatedly. An exception raised by ``check`` ends
        the run; the device then runs the next one normally.

        Raises :class:`ProgramError` for a Program or inputs that do not fit, or layers that are not
        available, :class:`DeviceError` when the accelerator stops with an error.
        """

    def reset_state(self, program: Program, names: Collection[str] = ()) -> None:
        """Return to the initial states of ``program``: of all, or of those with ``names``.

        Between two runs of a Program its states stay as the first one left them, whatever else
        runs in between. They are initial before its first run, and after a run that began and ended
        with an exception, :meth:`scrub` and :meth:`reset`. Raises :class:`ProgramError` for unknown
        names.
        """

    def scrub(self) -> None:
        """Clear all memories on chip, all registers and all states, so that later runs cannot read
        data of earlier ones."""

    def reset(self) -> None:
        """Stop any run and return to the initial state; all Programs' states become initial."""


def check_stored(program: Program, inputs: Inputs) -> dict[str, Ints]:
    """Return ``inputs`` by port name as int64 ``[N, C, H, W]``; raise :class:`ProgramError` if a
    shape, type, value or the number of images is wrong."""
    if not isinstance(inputs, Mapping):
        inputs = {only_input(program).name: inputs}
    wanted = {port.name for port in program.inputs}
    if set(inputs) != wanted:
        raise ProgramError(
            f"{program.name} needs the inputs {sorted(wanted)}, not {sorted(inputs)}"
        )
    stored = {port.name: _checked(port, inputs[port.name]) for port in program.inputs}
    counts = {name: len(array) for name, array in stored.items()}
    if len(set(counts.values())) > 1:
        raise ProgramError(f"all inputs must have the same number of images, not {counts}")
    for name, count in counts.items():
        if count % program.images:
            raise ProgramError(
                f"{name}: {program.name} takes {program.images} images per run: their number must "
                f"be a multiple of that, not {count}; Session.run takes any number"
            )
    return stored


def only_input(program: Program) -> Port:
    """Return the input port; raise :class:`ProgramError` if there are several."""
    if len(program.inputs) != 1:
        raise ProgramError(
            f"{program.name} has the inputs {[p.name for p in program.inputs]}: "
            "give a dict of arrays by name"
        )
    return program.inputs[0]


def _checked(port: Port, array: Ints) -> Ints:
    array = np.asarray(array)
    if array.dtype.kind not in "iu":
        raise ProgramError(
            f"{port.name}: stored integers must have an integer type, not {array.dtype}"
        )
    if array.ndim != 4 or array.shape[1:] != tuple(port.shape) or not len(array):
        shape = ", ".join(map(str, port.shape))
        raise ProgramError(
            f"{port.name} must have shape [N, {shape}] with N >= 1, not {list(array.shape)}"
        )
    array = array.astype(np.int64)
    if array.min() < port.low or array.max() > port.high:
        raise ProgramError(
            f"{port.name}: stored integers must be in [{port.low}, {port.high}], "
            f"not [{array.min()}, {array.max()}]"
        )
    return array


def window_of(program: Program, stored: Mapping[str, Ints], run: int) -> NDArray[np.uint8]:
    """Return the DMA window before run number ``run``: program, constants, initial states and the
    inputs of :func:`packed_inputs`, the rest 0."""
    memory = program.memory()
    for part, data in packed_inputs(program, stored, run):
        memory[part] = data
    return memory


def packed_inputs(
    program: Program, stored: Mapping[str, Ints], run: int
) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Yield the slices of the DMA window for the inputs of run number ``run``, and their bytes:
    ``program.images`` images of every port, from ``run * program.images`` on."""
    first = run * program.images
    for port in program.inputs:
        for image, part in enumerate(port_parts(program, port)):
            data = np.empty(part.stop - part.start, np.uint8)
            driver.pack(port, stored[port.name][first + image], program.config, data)
            yield part, data


def unpack_outputs(program: Program, memory: NDArray[np.uint8]) -> dict[str, Ints]:
    """Return the stored integers ``[program.images, C, H, W]`` of every output in the DMA window
    after a run."""
    return {
        port.name: np.stack(
            [
                driver.unpack(port, memory[part], program.config)
                for part in port_parts(program, port)
            ]
        )
        for port in program.outputs
    }


def port_parts(program: Program, port: Port) -> list[slice]:
    """Return the slice of the DMA window for every image of a port."""
    size = port.bytes(program.config)
    starts = [port.offset + image * size for image in range(program.images)]
    return [slice(start, start + size) for start in starts]
