"""Pass: the memory map of the DMA window and the Program container."""

import itertools
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from sigbit.compiler.errors import CompileError, require
from sigbit.compiler.schedule import Scheduled, output_region
from sigbit.compiler.stage import CONSTANTS
from sigbit.ir.integer import IntegerGraph, macs
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Instr, Opcode
from sigbit_hw.arch.program import ExecInfo, LayerInfo, Port, Program

ALIGN = 64
"""Regions of the DMA window start at multiples of this many bytes."""


def emit(
    scheduled: Scheduled,
    graph: IntegerGraph,
    config: ArchConfig,
    name: str,
    vectors: Mapping[str, NDArray[Any]],
) -> Program:
    """The window in the order program, constants, inputs, outputs; only outputs may be written."""
    count = len(scheduled.steps) + 1
    sizes = {"program": count * isa.WORD_BYTES, CONSTANTS: scheduled.constants.size}
    network = scheduled.placed.network
    inputs = [_port(scheduled, graph, n, n, config) for n in network.inputs]
    outputs = [_port(scheduled, graph, n, output_region(n), config) for n in network.outputs]
    sizes |= {p.name: p.bytes(config) for p in inputs}
    sizes |= {output_region(p.name): p.bytes(config) for p in outputs}
    offsets, end = _memory_map(sizes)
    if end >> isa.ADDRESS_BITS:
        raise CompileError(f"{name}: needs a DMA window of {end} bytes; at most 4 GiB works")
    program = [
        step.instr.replace(address=step.instr.address + offsets[step.region])
        if step.region
        else step.instr
        for step in scheduled.steps
    ]
    low = min(offsets[output_region(p.name)] for p in outputs)
    return Program(
        name=name,
        config=config,
        instructions=isa.pack([*program, Instr(Opcode.HALT)]),
        image=scheduled.constants,
        image_offset=offsets[CONSTANTS],
        program_offset=offsets["program"],
        memory_bytes=end,
        write_window=(low, end),
        inputs=tuple(_moved(p, offsets[p.name]) for p in inputs),
        outputs=tuple(_moved(p, offsets[output_region(p.name)]) for p in outputs),
        layers=_layers(scheduled, graph),
        execs=_execs(scheduled),
        vectors=dict(vectors),
    )


def verify_program(program: Program, scheduled: Scheduled) -> None:
    """Regions of the window do not overlap; loads stay in constants and inputs, stores in outputs;
    every layer's elements are listed exactly once."""
    config = program.config
    ports = [(p.offset, p.offset + p.bytes(config)) for p in (*program.inputs, *program.outputs)]
    regions = sorted(
        [
            (program.program_offset, program.program_offset + program.instructions.size),
            (program.image_offset, program.image_offset + program.image.size),
            *ports,
        ]
    )
    for (_, end), (start, _) in itertools.pairwise(regions):
        require(end <= start, f"regions of the DMA window overlap at byte {start}")
    require(regions[-1][1] <= program.memory_bytes, "a region ends outside the DMA window")
    low, high = program.write_window
    stores = ports[len(program.inputs) :]
    wanted = min(start for start, _ in stores), max(end for _, end in stores)
    require((low, high) == wanted, "the write window is not that of the outputs")
    require(all(b <= low for a, b in regions if (a, b) not in stores), "constants may be written")
    sources = [
        (program.image_offset, program.image_offset + program.image.size),
        *ports[: len(program.inputs)],
    ]
    for index, instr in enumerate(program.listing):
        if instr.opcode in (Opcode.LOAD, Opcode.STORE):
            end = instr.address + instr.beats * config.bus_bytes
            homes = stores if instr.opcode == Opcode.STORE else sources
            inside = any(a <= instr.address and end <= b for a, b in homes)
            require(inside, f"instruction {index} moves bytes outside its region")
    covered: dict[str, int] = {}
    for info in program.execs:
        instr = program.listing[info.index]
        require(instr.opcode == Opcode.EXEC and bool(instr.drain), f"exec {info.index}")
        covered[info.layer] = covered.get(info.layer, 0) + instr.n_rows * instr.run * instr.n_ocb
    for layer in program.layers:
        require(layer.name in covered, f"layer {layer.name} is never written")
    require(len(program.listing) == len(scheduled.steps) + 1, "instructions were lost")


def _memory_map(sizes: dict[str, int]) -> tuple[dict[str, int], int]:
    """Offset of every region, and the end of the last."""
    offsets, end = {}, 0
    for name, size in sizes.items():
        offsets[name] = -(-end // ALIGN) * ALIGN
        end = offsets[name] + size
    return offsets, end


def _port(
    scheduled: Scheduled, graph: IntegerGraph, name: str, region: str, config: ArchConfig
) -> Port:
    value, kind = scheduled.placed.network.values[name], graph[name].type
    phases = value.phases if region == name else 1
    return Port(
        name,
        value.shape,
        0,
        value.planes,
        phases,
        float(kind.scale),
        int(kind.zero),
        value.low,
        value.high,
    )


def _moved(port: Port, offset: int) -> Port:
    return Port(**{**vars(port), "offset": offset})


def _layers(scheduled: Scheduled, graph: IntegerGraph) -> tuple[LayerInfo, ...]:
    layers = []
    for op in scheduled.placed.network.ops:
        if op.node is not None:
            kind = op.node.type
            layers.append(
                LayerInfo(
                    op.name,
                    op.node.kind,
                    kind.shape,
                    kind.planes,
                    float(kind.scale),
                    int(kind.zero),
                    int(macs(graph, op.node)),
                    op.node.location,
                )
            )
    return tuple(layers)


def _execs(scheduled: Scheduled) -> tuple[ExecInfo, ...]:
    ops = scheduled.placed.network.ops
    found = []
    for index, step in enumerate(scheduled.steps):
        if step.tile >= 0 and step.instr.drain:
            tile = scheduled.tiles[step.tile]
            if ops[tile.op].node is not None:
                found.append(ExecInfo(index, ops[tile.op].name, tile.pixel, tile.channel))
    return tuple(found)
