"""The host's part of a network: what remains to be done with the accelerator's outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.program import Program, ProgramError

Ints = NDArray[np.int64]


def own_outputs(program: Program, outputs: Mapping[str, Ints]) -> dict[str, Ints]:
    """The accelerator's outputs as stored integers, in the network's own order, names and shapes,
    of the stored integers ``[N, C, H, W]`` of the output ports."""
    return {r.name: r.axes.from_stored(outputs[r.port]) for r in program.results}


def results(program: Program, outputs: Mapping[str, Ints]) -> dict[str, NDArray[Any]]:
    """What the network returns, in its own order, names and shapes, of the stored integers
    ``[N, C, H, W]`` of the output ports: real values, or where ``program.host`` has steps, what
    they make of those."""
    ports = {port.name: port for port in program.outputs}
    codes = own_outputs(program, outputs)
    real = {r.name: ports[r.port].dequantize(codes[r.name]) for r in program.results}
    if not program.host:
        return dict(real)
    try:
        return program.host(real)
    except ValueError as error:
        raise ProgramError(f"{program.name}: on the host: {error}") from None
