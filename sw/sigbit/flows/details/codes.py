"""Counts of codes: of the weights in a Program or an integer model, and of the activations that a
device returns."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sigbit.ir.integer import Conv, IntegerGraph
from sigbit.report.grids import GridUse
from sigbit_hw.arch.images import item_bytes, unpack_table, unpack_weights
from sigbit_hw.arch.isa import Load, LoadKind, Out
from sigbit_hw.arch.numerics import TABLE_ENTRIES
from sigbit_hw.arch.program import Program

Ints = NDArray[np.int64]


def program_codes(program: Program) -> tuple[GridUse, ...]:
    """Count the native weights that each layer loads, every word once; unused lanes of a layer hold
    zeros and are counted."""
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
    """Count the values of layers, in units of their scale; ``layers`` holds stored integers ``[N,
    C, H, W]``.

    The grid of a tensor whose planes hold more values than a table has entries is the set of its
    table's values.
    """
    given = _given_by_tables(program)
    return tuple(
        GridUse.of(
            info.name,
            (grid if len(grid) <= TABLE_ENTRIES else given[info.name]) + info.zero,
            layers[info.name] + info.zero,
        )
        for info in program.layers
        if info.name in layers
        for grid in [program.config.act_grid(info.planes).values]
    )


def _given_by_tables(program: Program) -> dict[str, Ints]:
    """Return the stored integers in the tables of each layer, ascending."""
    config, memory = program.config, program.memory()
    layer_of = {info.index: info.layer for info in program.execs}
    tables = np.zeros((config.tables, TABLE_ENTRIES), np.uint8)
    found: dict[str, Ints] = {}
    out: Out | None = None
    for index, instr in enumerate(program.listing):
        if isinstance(instr, Out):
            out = instr
        elif isinstance(instr, Load) and instr.kind == LoadKind.TABLE:
            size = instr.n0 * item_bytes(LoadKind.TABLE, config)
            data = memory[instr.address : instr.address + size]
            tables[instr.dst : instr.dst + instr.n0] = unpack_table(data, config)
        elif index in layer_of and out is not None:
            codes = tables[out.table : out.table + out.n_planes]
            values = config.act_grid(out.n_planes).decode(codes)
            found[layer_of[index]] = np.union1d(found.get(layer_of[index], values), values)
    return found
