"""A Program on a device, alone or compared with the interpreter code by code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit.errors import UserError
from sigbit.flows.details.codes import activation_codes
from sigbit.flows.details.timeline import measured
from sigbit.flows.devices import (
    AnyDevice,
    DeviceName,
    device_name,
    open_device,
    target_name,
)
from sigbit.flows.host import host_operations
from sigbit.flows.inspect import InspectedProgram, inspect
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch, plain
from sigbit.inputs.programs import load_program
from sigbit.inputs.vectors import check_vectors
from sigbit.report.grids import GridUse
from sigbit.report.spans import Timeline
from sigbit.runtime import (
    Device,
    Mismatch,
    RunResult,
    Session,
    own_outputs,
    results,
    stored_inputs,
)
from sigbit.runtime import compare as differences
from sigbit_hw.arch.program import Program
from sigbit_sim.memory import MemoryTiming

Inputs = ArrayLike | Mapping[str, ArrayLike]
"""Samples in the network's own shape, ``[N, *shape]``; for several inputs, by name."""
Kept = Literal["outputs", "layers", "details"]
"""Parts of a run's result to keep: each includes those before it."""


@dataclass(frozen=True)
class Compared:
    """Number of codes compared, and the layers in which some differ."""

    codes: int
    mismatches: tuple[Mismatch, ...]

    @property
    def different(self) -> int:
        """Number of codes that differ."""
        return sum(mismatch.count for mismatch in self.mismatches)


@dataclass(frozen=True)
class RunDetails:
    """Data of a run for reports only.

    Parameters
    ----------
    program : InspectedProgram
        The Program, taken apart.
    timeline : Timeline, optional
        Activity of the engines in the first run, as the device measured it; None if it does not
        measure it.
    activations : tuple of GridUse
        Use of the grids by the layers' values; empty if the device cannot return layers.
    """

    program: InspectedProgram
    timeline: Timeline | None
    activations: tuple[GridUse, ...]


@dataclass(frozen=True, kw_only=True)
class ProgramRun(Result):
    """Results of a device on a set of images.

    Parameters
    ----------
    program : Program
    device : str
    outputs : mapping
        Results ``[N, *shape]`` by name, equivalent to the float model's: the host's operations are
        applied; NaN pads samples with fewer values than others. The accelerator's outputs as
        stored integers if the inputs were.
    layers : mapping
        Stored integers ``[N, C, H, W]`` of every layer, if they were requested.
    cycles : array, optional
        Cycles of each run; None if the device does not count.
    counters : list
        Performance counters of each run.
    compared : mapping
        Comparisons and their results; empty without a comparison.
    clipped : mapping
        Share of the nonzero values outside the storable range, by input.
    details : RunDetails, optional
        None if they were not requested.
    """

    program: Program
    device: str
    outputs: Mapping[str, NDArray[Any]]
    layers: Mapping[str, NDArray[np.int64]]
    cycles: NDArray[np.int64] | None
    counters: list[dict[str, int]]
    compared: Mapping[str, Compared]
    clipped: Mapping[str, float]
    details: RunDetails | None

    @property
    def images(self) -> int:
        """Number of images that were run."""
        return len(next(iter(self.outputs.values())))

    @property
    def mismatches(self) -> int:
        """Number of codes that differ, in all comparisons together."""
        return sum(found.different for found in self.compared.values())

    def to_json(self) -> dict[str, Any]:
        """Return the figures and the results by name; layers are left out."""
        return {
            "schema_version": self.schema_version,
            "program": self.program.name,
            "program_digest": self.program.digest,
            "arch": self.program.config.name,
            "device": self.device,
            "images": self.images,
            "cycles": plain(self.cycles),
            "counters": plain(self.counters),
            "compared": {what: found.codes for what, found in self.compared.items()},
            "checked": {what: plain(found.mismatches) for what, found in self.compared.items()},
            "mismatches": self.mismatches,
            "clipped": plain(self.clipped),
            "host": plain(host_operations(self.program.host)),
            "outputs": {name: _numbers(values) for name, values in self.outputs.items()},
            "details": plain(self.details),
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }


def run(
    program: Program | str | Path,
    inputs: Inputs,
    device: str = "interp",
    *,
    target: str = "xcup",
    latency: int = 40,
    stored: bool = False,
    keep: Kept = "outputs",
    tell: Tell = silent,
) -> ProgramRun:
    """Run a Program.

    Raises :class:`~sigbit_hw.arch.program.ProgramError` for files that hold no Program and inputs
    that do not fit it, :class:`~sigbit.runtime.DeviceError` if the accelerator stops.

    Parameters
    ----------
    program : Program, str or Path
        The Program, or the name of its file.
    inputs : array or mapping of arrays
        In the network's own shapes, with the sample axis in front. The samples of a Program with
        states are steps in time, the first of which begins with the initial states.
    device : str
        "interp", "rtl", "netlist", or a board and its port such as "ulx3s:/dev/ttyUSB0".
    target : str
        Target that provides a netlist's cells: "xcup" or "ecp5".
    latency : int
        Memory latency of RTL and netlist, in cycles.
    stored : bool
        Inputs and outputs are stored integers instead of real values: ``real = scale * (stored +
        zero)``. Nothing is done on the host.
    keep : "outputs", "layers" or "details"
        Also keep every layer's stored integers; also collect the data of a report.
    """
    watch = Stopwatch()
    runs = _Runs(load_program(program), inputs, stored, target, latency, tell)
    name = device_name(device)
    opened = runs.open(name)
    layers = keep == "layers" or (keep == "details" and opened.sees_layers)
    return runs.result(name, runs.run(name, opened, layers), {}, keep == "details", watch)


def compare(
    program: Program | str | Path,
    inputs: Inputs,
    device: str = "rtl",
    *,
    target: str = "xcup",
    latency: int = 40,
    stored: bool = False,
    details: bool = False,
    tell: Tell = silent,
) -> ProgramRun:
    """Run a Program on the interpreter and on ``device``, and compare the codes of all layers; of
    the outputs alone if the device cannot return layers, as boards cannot.

    The test vectors of the Program run on both and are compared with the codes stored in it.
    Parameters and exceptions are those of :func:`run`, but ``device`` cannot be the interpreter. A
    difference is not an exception: see :attr:`ProgramRun.mismatches`.
    """
    watch = Stopwatch()
    runs = _Runs(load_program(program), inputs, stored, target, latency, tell)
    golden, name = DeviceName.INTERP, device_name(device)
    if name is golden:
        raise UserError(f"{golden} is what others are compared with: give rtl, netlist or a board")
    found: dict[str, Compared] = {}
    done: dict[AnyDevice, RunResult] = {}
    for each in (golden, name):
        opened = runs.open(each)
        done[each] = runs.run(each, opened, layers=opened.sees_layers)
        if runs.program.vectors:
            tell(f"{each}: test vectors")
            codes, bad = check_vectors(runs.program, opened)
            found[f"test vectors, {each}"] = Compared(codes, tuple(bad))
    want, got = done[golden], done[name]
    if got.layers:
        found[f"layers, {name} against {golden}"] = _compared(want.layers, got.layers)
    found[f"outputs, {name} against {golden}"] = _compared(want.outputs, got.outputs)
    return runs.result(name, done[name], found, details, watch)


def check_stream(program: Program, stream: bool) -> None:
    """Raise :class:`UserError` unless ``stream`` is said of Programs with states, and of no
    others."""
    if program.states and not stream:
        names = ", ".join(port.name for port in program.states)
        raise UserError(
            f"{program.name} passes states ({names}) from each sample to the next: add --stream, "
            "and give the samples in their order in time"
        )
    if stream and not program.states:
        raise UserError(f"--stream: {program.name} has no states: leave it out")


class _Runs:
    """Images for one Program, and devices to run them."""

    def __init__(
        self,
        program: Program,
        inputs: Inputs,
        stored: bool,
        target: str,
        latency: int,
        tell: Tell,
    ) -> None:
        self.program = program
        self._are_stored = stored
        self._stored = stored_inputs(program, inputs, stored=stored)
        self._clipped = {} if stored else _clipped(program, inputs)
        self._target, self._latency = target_name(target), latency
        self._tell = tell

    def open(self, name: AnyDevice) -> Device:
        memory = MemoryTiming(self._latency)
        return open_device(name, self.program.config, memory, self._target, self._tell)

    def run(self, name: AnyDevice, device: Device, layers: bool) -> RunResult:
        count = len(next(iter(self._stored.values())))
        what = f"{name}: running {self.program.name}"
        self._tell(what, 0, count)
        return Session(self.program, device).run_stored(
            self._stored,
            layers=layers,
            on_image=lambda image: self._tell(what, image + 1, count),
        )

    def result(
        self,
        name: AnyDevice,
        result: RunResult,
        compared: Mapping[str, Compared],
        details: bool,
        watch: Stopwatch,
    ) -> ProgramRun:
        return ProgramRun(
            program=self.program,
            device=str(name),
            outputs=(own_outputs if self._are_stored else results)(self.program, result.outputs),
            layers=result.layers,
            cycles=result.cycles,
            counters=result.counters,
            compared=compared,
            clipped=self._clipped,
            details=self._details(result) if details else None,
            **watch.read(),
        )

    def _details(self, result: RunResult) -> RunDetails:
        return RunDetails(
            inspect(self.program, latency=self._latency, details=True),
            measured(self.program, result),
            activation_codes(self.program, result.layers),
        )


def _clipped(program: Program, inputs: Inputs) -> dict[str, float]:
    given = inputs if isinstance(inputs, Mapping) else {program.inputs[0].name: inputs}
    return {port.name: port.clipped(given[port.name]) for port in program.inputs}


def _numbers(values: NDArray[Any]) -> Any:
    """Return nested lists; null for values that a sample lacks, which are NaN."""
    if values.dtype.kind != "f" or not np.isnan(values).any():
        return plain(values)
    found = values.astype(object)
    found[np.isnan(values)] = None
    return found.tolist()


def _compared(want: Mapping[str, ArrayLike], got: Mapping[str, NDArray[np.int64]]) -> Compared:
    return Compared(sum(a.size for a in got.values()), tuple(differences(want, got)))
