"""A Program on a device, with users' arrays as inputs."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit.runtime.device import Device, RunResult, check_stored, only_input
from sigbit.runtime.host import own_outputs, results
from sigbit.runtime.limits import until
from sigbit.runtime.loading import load_program, verified
from sigbit_hw.arch.program import Port, Program, ProgramError

Ints = NDArray[np.int64]


def stored_inputs(
    program: Program, inputs: ArrayLike | Mapping[str, ArrayLike], *, stored: bool = False
) -> dict[str, Ints]:
    """Return stored integers ``[N, C, H, W]`` by port name from users' arrays, which have the
    network's own shapes with the sample axis in front.

    Numbers of any type are real values, quantized by ``Port.quantize`` (nearest, clipped; NaN and
    infinity are errors). With ``stored`` they are stored integers already, which must have an
    integer type and lie in the port's range.
    """
    if not isinstance(inputs, Mapping):
        inputs = {only_input(program).name: inputs}
    ports = {port.name: port for port in program.inputs}
    if unknown := set(inputs) - set(ports):
        raise ProgramError(
            f"{program.name} has no inputs {sorted(unknown)}; it has {sorted(ports)}"
        )
    found = {name: _stored(ports[name], x, stored) for name, x in inputs.items()}
    return check_stored(replace(program, images=1), found)


def _stored(port: Port, x: ArrayLike, stored: bool) -> Ints:
    array = np.asarray(x)
    kinds, wanted = ("iu", "stored integers") if stored else ("fiu", "numbers")
    if array.dtype.kind not in kinds:
        raise ProgramError(f"{port.name} must hold {wanted}, not {array.dtype}")
    return port.arranged(array.astype(np.int64)) if stored else port.quantize(array)


@dataclass
class SessionResult(RunResult):
    """A :class:`~sigbit.runtime.RunResult` with the network's results: ``results`` by its own names
    ``[N, *shape]``, in its own shapes. They are real values, with the host's steps applied, or
    stored integers if the inputs were."""

    results: dict[str, NDArray[Any]] = field(default_factory=dict)


_owners: WeakKeyDictionary[Device, str] = WeakKeyDictionary()
"""Owner whose data each device may still hold."""


class Session:
    """A Program, or the file of one, bound to a device; raises :class:`ProgramError` if it must not
    run on any device, or was compiled for another one.

    ``owner`` names the owner of the Program and its data. A device that ran for another owner
    before is scrubbed, so that this owner's Program cannot read the other owner's data.

    The samples of a Program with states are steps in time: every run continues where the last one
    ended, within a call and from call to call. A Program of several images keeps as many streams
    apart: its samples are those of the first step of all streams, then those of the second, and so
    on. The first run of a session begins with the initial states, and a device has one set of them
    for each Program, which later sessions take over.
    """

    def __init__(self, program: Program | str | Path, device: Device, *, owner: str = "") -> None:
        if isinstance(program, Program):
            self.program = verified(program)
        else:
            self.program = load_program(program)
        self.device = device
        self.owner = owner
        self.program.require(device.config)
        self._begun = False

    def reset_state(self, *names: str) -> None:
        """Return to the initial states: of all, or of those with ``names``."""
        self.device.reset_state(self.program, names)

    def run(
        self,
        inputs: ArrayLike | Mapping[str, ArrayLike],
        *,
        stored: bool = False,
        layers: bool = False,
        on_image: Callable[[int], None] | None = None,
        timeout: float | None = None,
        cancel: threading.Event | None = None,
    ) -> SessionResult:
        """Run ``inputs`` in the network's own shapes, any number of samples: real values, or stored
        integers if ``stored``; the results have the same kind.

        Raises :class:`~sigbit.runtime.RunTimeout` if the run is not done within ``timeout``
        seconds, :class:`~sigbit.runtime.RunCancelled` soon after another thread has set ``cancel``;
        the device remains usable for the next run.
        """
        codes = stored_inputs(self.program, inputs, stored=stored)
        done = self.run_stored(
            codes, layers=layers, on_image=on_image, timeout=timeout, cancel=cancel
        )
        of = own_outputs if stored else results
        return SessionResult(**vars(done), results=dict(of(self.program, done.outputs)))

    def run_stored(
        self,
        stored: Mapping[str, Ints],
        *,
        layers: bool = False,
        on_image: Callable[[int], None] | None = None,
        timeout: float | None = None,
        cancel: threading.Event | None = None,
    ) -> RunResult:
        """:meth:`run` for stored integers in memory layout, ``[N, C, H, W]`` by port name. The last
        sample is repeated to fill the last run, unless the Program has states."""
        program = self.program
        count = len(next(iter(stored.values())))
        missing = -count % program.images
        if program.states and missing:
            raise ProgramError(
                f"{program.name} keeps the states of {program.images} streams: give a sample of "
                f"each for every step, not {count} samples"
            )
        if _owners.get(self.device, self.owner) != self.owner:
            self.device.scrub()
        _owners[self.device] = self.owner
        if program.states and not self._begun:
            self.device.reset_state(program)
        self._begun = True

        def done(image: int) -> None:
            if on_image and image < count:
                on_image(image)

        full = {n: np.pad(x, ((0, missing), *[(0, 0)] * 3), "edge") for n, x in stored.items()}
        result = self.device.run(
            program, full, layers=layers, on_image=done, check=until(timeout, cancel)
        )
        return replace(
            result,
            outputs={name: value[:count] for name, value in result.outputs.items()},
            layers={name: value[:count] for name, value in result.layers.items()},
        )
