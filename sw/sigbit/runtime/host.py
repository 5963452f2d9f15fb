"""The host's part of a network: the steps after the accelerator's outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.program import Program, ProgramError

Ints = NDArray[np.int64]


def own_outputs(program: Program, outputs: Mapping[str, Ints]) -> dict[str, Ints]:
    """Return the accelerator's outputs as stored integers, in the network's own order, names and
    shapes, from the stored integers ``[N, C, H, W]`` of the output ports."""
    return {r.name: r.axes.from_stored(outputs[r.port]) for r in program.results}


def results(program: Program, outputs: Mapping[str, Ints]) -> dict[str, NDArray[Any]]:
    """Return the network's results, in its own order, names and shapes, from the stored integers
    ``[N, C, H, W]`` of the output ports: real values, or the results of the steps of
    ``program.host`` if it has any."""
    ports = {port.name: port for port in program.outputs}
    codes = own_outputs(program, outputs)
    real = {r.name: ports[r.port].dequantize(codes[r.name]) for r in program.results}
    if not program.host:
        return dict(real)
    try:
        return program.host(real)
    except ValueError as error:
        raise ProgramError(f"{program.name}: on the host: {error}") from None
