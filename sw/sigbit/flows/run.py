"""A Program on a device, alone or compared with the interpreter code by code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit.errors import UserError
from sigbit.flows.devices import (
    AnyDevice,
    DeviceName,
    device_name,
    open_device,
    preparing,
    target_name,
)
from sigbit.flows.host import host_operations
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch, plain
from sigbit.inputs.programs import load_program
from sigbit.inputs.vectors import check_vectors
from sigbit.runtime import Device, Mismatch, RunResult, Session, results, stored_inputs
from sigbit.runtime import compare as differences
from sigbit_hw.arch.program import Program
from sigbit_sim.memory import MemoryTiming

Inputs = ArrayLike | Mapping[str, ArrayLike]
"""Images ``[N, C, H, W]`` or one ``[C, H, W]``; those of several inputs by name."""


@dataclass(frozen=True)
class Compared:
    """Codes that were compared, and the layers in which some differ."""

    codes: int
    mismatches: tuple[Mismatch, ...]

    @property
    def different(self) -> int:
        """Codes that differ."""
        return sum(mismatch.count for mismatch in self.mismatches)


@dataclass(frozen=True, kw_only=True)
class ProgramRun(Result):
    """What a device made of some images.

    Parameters
    ----------
    program : Program
    device : str
    outputs : mapping
        Results ``[N, ...]`` by name, as those of the float model: what the Program leaves to the
        host is done. NaN where samples have sizes of their own, and others more.
    layers : mapping
        Stored integers ``[N, C, H, W]`` of every layer, if they were asked for.
    cycles : array, optional
        Cycles of each run; None where the device does not count.
    counters : list
        Performance counters of each run.
    compared : mapping
        What was compared, and what came of it; empty without a comparison.
    """

    program: Program
    device: str
    outputs: Mapping[str, NDArray[Any]]
    layers: Mapping[str, NDArray[np.int64]]
    cycles: NDArray[np.int64] | None
    counters: list[dict[str, int]]
    compared: Mapping[str, Compared]

    @property
    def images(self) -> int:
        """Images that were run."""
        return len(next(iter(self.outputs.values())))

    @property
    def mismatches(self) -> int:
        """Codes that differ, in all comparisons together."""
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
            "host": plain(host_operations(self.program.host)),
            "outputs": {name: _numbers(values) for name, values in self.outputs.items()},
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
    layers: bool = False,
    tell: Tell = silent,
) -> ProgramRun:
    """Run a Program.

    Raises :class:`~sigbit_hw.arch.program.ProgramError` for files that hold no Program and inputs
    that it does not take, :class:`~sigbit.runtime.DeviceError` if the accelerator stops.

    Parameters
    ----------
    program : Program, str or Path
        The Program, or the name of its file.
    inputs : array or mapping of arrays
        Floating-point arrays are real values, integers are in units of the input's scale.
    device : str
        "interp", "rtl", "netlist", or a board and its port such as "ulx3s:/dev/ttyUSB0".
    target : str
        Whose cells a netlist is made of: "xcup" or "ecp5".
    latency : int
        Memory latency of RTL and netlist, in cycles.
    layers : bool
        Keep every layer's stored integers.
    """
    watch = Stopwatch()
    runs = _Runs(load_program(program), inputs, target, latency, tell)
    name = device_name(device)
    result = runs.run(name, runs.open(name), layers)
    return runs.result(name, result, {}, watch)


def compare(
    program: Program | str | Path,
    inputs: Inputs,
    device: str = "rtl",
    *,
    target: str = "xcup",
    latency: int = 40,
    tell: Tell = silent,
) -> ProgramRun:
    """Run a Program on the interpreter and on ``device``, and compare the codes of all layers; of
    the outputs alone where the device does not see layers, as boards do not.

    The test vectors of the Program run on both and are compared with the codes that it keeps.
    Parameters and exceptions are those of :func:`run`, but ``device`` cannot be the interpreter. A
    difference is not an exception: see :attr:`ProgramRun.mismatches`.
    """
    watch = Stopwatch()
    runs = _Runs(load_program(program), inputs, target, latency, tell)
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
    return runs.result(name, done[name], found, watch)


class _Runs:
    """Images for one Program, and devices to run them."""

    def __init__(
        self, program: Program, inputs: Inputs, target: str, latency: int, tell: Tell
    ) -> None:
        self.program = program
        self._stored = stored_inputs(program, inputs)
        self._target, self._memory = target_name(target), MemoryTiming(latency)
        self._tell = tell

    def open(self, name: AnyDevice) -> Device:
        self._tell(preparing(name))
        return open_device(name, self.program.config, self._memory, self._target)

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
        watch: Stopwatch,
    ) -> ProgramRun:
        return ProgramRun(
            program=self.program,
            device=str(name),
            outputs=results(self.program, result.outputs),
            layers=result.layers,
            cycles=result.cycles,
            counters=result.counters,
            compared=compared,
            **watch.read(),
        )


def _numbers(values: NDArray[Any]) -> Any:
    """Nested lists; null for what a sample has not, which is NaN."""
    if values.dtype.kind != "f" or not np.isnan(values).any():
        return plain(values)
    return np.where(np.isnan(values), None, values.astype(object)).tolist()


def _compared(want: Mapping[str, ArrayLike], got: Mapping[str, NDArray[np.int64]]) -> Compared:
    return Compared(sum(a.size for a in got.values()), tuple(differences(want, got)))
