"""The host's part of a network: what remains to be done with the accelerator's outputs."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.program import Program, ProgramError

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]


def _log_softmax(x: Reals) -> Reals:
    x = x - x.max(1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(1, keepdims=True)))


_FUNCTIONS: Mapping[str, Callable[[Reals], Reals]] = MappingProxyType(
    {
        "argmax": lambda x: x.argmax(1).astype(np.float64),
        "log_softmax": _log_softmax,
        "softmax": lambda x: np.asarray(np.exp(_log_softmax(x))),
    }
)


def own_outputs(program: Program, outputs: Mapping[str, Ints]) -> dict[str, Ints]:
    """What the network returns as stored integers, in its own order, names and shapes, of the
    stored integers ``[N, C, H, W]`` of the output ports."""
    return {r.name: r.axes.from_stored(outputs[r.port]) for r in program.results}


def results(program: Program, outputs: Mapping[str, Ints]) -> dict[str, Reals]:
    """What the network returns, in its own order, names and shapes, of the stored integers
    ``[N, C, H, W]`` of the output ports: real values, the functions of ``program.host`` applied.
    ``argmax`` leaves out the channels."""
    ports = {port.name: port for port in program.outputs}
    codes = own_outputs(program, outputs)
    real = {r.name: ports[r.port].dequantize(codes[r.name]) for r in program.results}
    for step in program.host:
        if step.function not in _FUNCTIONS:
            raise ProgramError(
                f"{program.name}: the host's function {step.function!r} is none of "
                f"{', '.join(_FUNCTIONS)}: compile it again"
            )
        real[step.output] = _FUNCTIONS[step.function](real[step.output])
    return real
