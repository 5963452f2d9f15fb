"""A Program on a device, fed with users' arrays."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit.runtime.device import Device, RunResult, check_stored
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
        if len(program.inputs) != 1:
            raise ProgramError(f"{program.name} has the inputs {[p.name for p in program.inputs]}: "
                               "give a dict of arrays by name")
        inputs = {program.inputs[0].name: inputs}
    ports = {port.name: port for port in program.inputs}
    if unknown := set(inputs) - set(ports):
        raise ProgramError(f"{program.name} has no inputs {sorted(unknown)}; "
                           f"it has {sorted(ports)}")
    return check_stored(program, {name: _stored(ports[name], x) for name, x in inputs.items()})


def _stored(port: Port, x: ArrayLike) -> Ints:
    array = np.asarray(x)
    if array.ndim == 3:
        array = array[None]
    if array.dtype.kind == "f":
        return port.quantize(array)
    if array.dtype.kind not in "iu":
        raise ProgramError(f"{port.name} must hold floating-point numbers or integers, "
                           f"not {array.dtype}")
    value = array.astype(np.int64)
    low, high = port.low + port.zero, port.high + port.zero
    if value.size and (value.min() < low or value.max() > high):
        raise ProgramError(f"{port.name}: integers must be in [{low}, {high}] (units of the "
                           f"input's scale {port.scale:g}), not [{value.min()}, {value.max()}]")
    return value - port.zero


class Session:
    """A Program bound to a device; :class:`ProgramError` if it was compiled for another one."""

    def __init__(self, program: Program | str | Path, device: Device) -> None:
        self.program = program if isinstance(program, Program) else Program.load(program)
        self.device = device
        self.program.require(device.config)

    def run(self, inputs: ArrayLike | Mapping[str, ArrayLike], *, layers: bool = False,
            on_image: Callable[[int], None] | None = None) -> RunResult:
        """Convert ``inputs`` as :func:`stored_inputs` does and run them."""
        return self.device.run(self.program, stored_inputs(self.program, inputs), layers=layers,
                               on_image=on_image)
