"""A Program on a device, fed with users' arrays."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit.runtime.device import Device, RunResult, check_stored, only_input
from sigbit.runtime.limits import until
from sigbit.runtime.loading import load_program, verified
from sigbit_hw.arch.program import Port, Program, ProgramError

Ints = NDArray[np.int64]


def stored_inputs(program: Program, inputs: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Ints]:
    """Stored integers ``[N, C, H, W]`` of users' arrays, by port name.

    Floating-point arrays are real values: they are quantized by ``Port.quantize`` (nearest,
    clipped; NaN and infinity are errors). Integer arrays are values in units of the port's scale,
    such as the bytes of an image: ``stored = value - zero``, which must lie in the port's range.
    An array ``[C, H, W]`` is one image.
    """
    if not isinstance(inputs, Mapping):
        inputs = {only_input(program).name: inputs}
    ports = {port.name: port for port in program.inputs}
    if unknown := set(inputs) - set(ports):
        raise ProgramError(
            f"{program.name} has no inputs {sorted(unknown)}; it has {sorted(ports)}"
        )
    return check_stored(
        replace(program, images=1), {name: _stored(ports[name], x) for name, x in inputs.items()}
    )


def _stored(port: Port, x: ArrayLike) -> Ints:
    array = np.asarray(x)
    if array.ndim == 3:
        array = array[None]
    if array.dtype.kind == "f":
        return port.quantize(array)
    if array.dtype.kind not in "iu":
        raise ProgramError(
            f"{port.name} must hold floating-point numbers or integers, not {array.dtype}"
        )
    value = array.astype(np.int64)
    low, high = port.low + port.zero, port.high + port.zero
    if value.size and (value.min() < low or value.max() > high):
        raise ProgramError(
            f"{port.name}: integers must be in [{low}, {high}] (units of the "
            f"input's scale {port.scale:g}), not [{value.min()}, {value.max()}]"
        )
    return value - port.zero


_owners: WeakKeyDictionary[Device, str] = WeakKeyDictionary()
"""Whose data each device may still hold."""


class Session:
    """A Program, or the file of one, bound to a device; :class:`ProgramError` if it must not run
    on any device, or was compiled for another one.

    ``owner`` names whose Program and data these are. A device that ran for another owner before is
    scrubbed, so that this one's Program reads nothing of that one's.
    """

    def __init__(self, program: Program | str | Path, device: Device, *, owner: str = "") -> None:
        if isinstance(program, Program):
            self.program = verified(program)
        else:
            self.program = load_program(program)
        self.device = device
        self.owner = owner
        self.program.require(device.config)

    def run(
        self,
        inputs: ArrayLike | Mapping[str, ArrayLike],
        *,
        layers: bool = False,
        on_image: Callable[[int], None] | None = None,
        timeout: float | None = None,
        cancel: threading.Event | None = None,
    ) -> RunResult:
        """Convert ``inputs`` as :func:`stored_inputs` does and run them, any number of images: the
        last one is repeated until the last run is full.

        :class:`~sigbit.runtime.RunTimeout` if they are not done within ``timeout`` seconds,
        :class:`~sigbit.runtime.RunCancelled` soon after another thread has set ``cancel``; the
        device then runs the next ones.
        """
        stored = stored_inputs(self.program, inputs)
        return self.run_stored(
            stored, layers=layers, on_image=on_image, timeout=timeout, cancel=cancel
        )

    def run_stored(
        self,
        stored: Mapping[str, Ints],
        *,
        layers: bool = False,
        on_image: Callable[[int], None] | None = None,
        timeout: float | None = None,
        cancel: threading.Event | None = None,
    ) -> RunResult:
        """:meth:`run` for stored integers ``[N, C, H, W]`` by port name."""
        if _owners.get(self.device, self.owner) != self.owner:
            self.device.scrub()
        _owners[self.device] = self.owner
        count = len(next(iter(stored.values())))
        missing = -count % self.program.images

        def done(image: int) -> None:
            if on_image and image < count:
                on_image(image)

        full = {n: np.pad(x, ((0, missing), *[(0, 0)] * 3), "edge") for n, x in stored.items()}
        result = self.device.run(
            self.program, full, layers=layers, on_image=done, check=until(timeout, cancel)
        )
        return replace(
            result,
            outputs={name: value[:count] for name, value in result.outputs.items()},
            layers={name: value[:count] for name, value in result.layers.items()},
        )
