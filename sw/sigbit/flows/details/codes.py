"""How often each code occurs: of the weights in a Program or an integer model, and of the
activations that a device gives."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sigbit.ir.integer import Conv, IntegerGraph
from sigbit.report.grids import GridUse
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.images import unpack_weights
from sigbit_hw.arch.isa import Load, LoadKind
from sigbit_hw.arch.numerics import TABLE_ENTRIES, Y_MAX, Y_MIN
from sigbit_hw.arch.program import Program

Ints = NDArray[np.int64]


def program_codes(program: Program) -> tuple[GridUse, ...]:
    """Count the native weights that each layer loads, every word once; lanes that a layer leaves
    empty hold zeros and are counted."""
    config, memory = program.config, program.memory()
    words: dict[int, dict[int, NDArray[np.uint8]]] = {}
    for instr in program.listing:
        if not isinstance(instr, Load) or instr.kind != LoadKind.WEIGHTS:
            continue
        size = instr.n0 * instr.n1 * instr.n2 * config.weight_word_bytes
        data = memory[instr.address : instr.address + size]
        words.setdefault(instr.tag, {})[instr.address] = data
    grid = config.weight_grid(1).values
    return tuple(
        GridUse.of(
            program.layers[tag].name,
            grid,
            config.weight_format.decode(
                np.concatenate([unpack_weights(data, config).ravel() for data in loads.values()])
            ),
        )
        for tag, loads in sorted(words.items())
        if tag < len(program.layers)
    )


def model_codes(graph: IntegerGraph) -> tuple[GridUse, ...]:
    """Count the integers of each layer's first kernel."""
    return tuple(
        GridUse.of(node.name, graph.weight_grid(node.sources[0].terms).values, weights)
        for node in graph.nodes
        if isinstance(node, Conv) and (weights := node.sources[0].weights).size
    )


def activation_codes(program: Program, layers: Mapping[str, Ints]) -> tuple[GridUse, ...]:
    """Count the values that layers have, in units of their scale; ``layers`` holds stored
    integers ``[N, C, H, W]``."""
    return tuple(
        GridUse.of(
            info.name,
            _stored(program.config, info.planes) + info.zero,
            layers[info.name] + info.zero,
        )
        for info in program.layers
        if info.name in layers
    )


def _stored(config: ArchConfig, planes: int) -> Ints:
    """Return the integers of a tensor of so many planes; of more than a byte only those of a
    byte, as they come from a table of 256 entries."""
    values = config.act_grid(planes).values
    if len(values) <= TABLE_ENTRIES:
        return values
    return values[(values >= Y_MIN) & (values <= Y_MAX)]
