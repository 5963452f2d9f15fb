"""The host's part of a network: what remains to be done with the accelerator's outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.program import Program, ProgramError


def results(program: Program, outputs: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
    """Results by name of the stored integers ``outputs``: real outputs ``[N, C, H, W]``, or where
    ``program.host`` has steps what it makes of them, ``[N, ...]``."""
    real = {port.name: port.dequantize(outputs[port.name]) for port in program.outputs}
    if not program.host:
        return {name: np.asarray(value) for name, value in real.items()}
    try:
        return program.host(real)
    except ValueError as error:
        raise ProgramError(f"{program.name}: on the host: {error}") from None
