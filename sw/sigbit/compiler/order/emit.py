"""Pass: the Program container."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.network import MemoryTensor
from sigbit.compiler.order.schedule import Scheduled
from sigbit.compiler.stage.window import (
    CONSTANTS,
    PROGRAM,
    WindowMap,
    in_order,
    tensor_bytes,
)
from sigbit.compiler.tile.tiles import Tile
from sigbit.errors import CompileError, require
from sigbit.ir.integer import Axes, Conv, Input, IntegerGraph, Matmul, MaxPool, macs
from sigbit_hw.arch import isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.host_schema import SOURCE_MAX
from sigbit_hw.arch.isa import Exec, Halt, Load, Store
from sigbit_hw.arch.program import ExecInfo, LayerInfo, ModelOutput, Port, Program


def emit(
    scheduled: Scheduled,
    graph: IntegerGraph,
    config: ArchConfig,
    name: str,
    vectors: Mapping[str, NDArray[Any]],
) -> Program:
    """Instructions with their final addresses and the layers' numbers as tags (for copies, the
    number that stands for no layer), and their metadata."""
    window = scheduled.window(config)
    if window.end >> isa.ADDRESS_BITS:
        raise CompileError(
            f"{name}: needs a DMA window of {window.end} bytes; at most 4 GiB works: use fewer "
            "images or a smaller input"
        )
    network = scheduled.placed.network
    layers = _layers(graph)
    number = {layer.name: i for i, layer in enumerate(layers)}
    tags = [number[op.node.name] if op.node else len(layers) for op in network.ops]
    program = [
        window.place(replace(step.instr, tag=tags[step.instr.tag]), step.region)
        for step in scheduled.steps
    ]
    inputs, outputs, states = (
        tuple(
            _port(tensor, graph, window)
            for tensor in network.memory.values()
            if tensor.kind == kind and tensor.image == 0
        )
        for kind in ("input", "output", "state")
    )
    return Program(
        name=name,
        config=config,
        instructions=isa.pack([*program, Halt()]),
        image=scheduled.constants,
        image_offset=window.offsets[CONSTANTS],
        program_offset=window.offsets[PROGRAM],
        memory_bytes=-(-window.end // config.bus_bytes) * config.bus_bytes,
        write_window=window.write,
        inputs=inputs,
        outputs=outputs,
        layers=layers,
        execs=_execs(scheduled),
        images=network.images,
        host=graph.host,
        vectors=dict(vectors),
        results=tuple(ModelOutput(*output) for output in graph.returned),
        preprocessing=graph.preprocessing,
        classes=tuple(map(_printable, graph.classes)),
        states=states,
        initial={state.input: state.initial for state in graph.states},
    )


def _port(tensor: MemoryTensor, graph: IntegerGraph, window: WindowMap) -> Port:
    """Port that begins with ``tensor``, the first image's. Its shape is that of the graph, even if
    windows are folded."""
    node, axes = graph[tensor.tensor], Axes.IMAGE
    if isinstance(node, Input):
        low, high, axes = node.low, node.high, node.axes
    else:
        values = graph.act_grid(node.type.planes).values
        low, high = int(values[0]), int(values[-1])
    return Port(
        tensor.tensor,
        node.type.shape,
        window.offsets[tensor.name],
        tensor.planes,
        tensor.phases,
        float(node.type.scale),
        int(node.type.zero),
        low,
        high,
        tensor.fold,
        axes,
    )


def _layers(graph: IntegerGraph) -> tuple[LayerInfo, ...]:
    """Layers that the array computes: convolutions, products and maxima."""
    return tuple(
        LayerInfo(
            node.name,
            node.kind,
            node.type.shape,
            node.type.planes,
            float(node.type.scale),
            int(node.type.zero),
            int(macs(graph, node)),
            _printable(node.location),
            node.type.weights,
        )
        for node in graph.nodes
        if isinstance(node, Conv | Matmul | MaxPool)
    )


def _printable(source: str) -> str:
    """Source location of a layer in the form that a Program may hold: printable and not too
    long."""
    return "".join(c if c.isprintable() else "?" for c in source)[:SOURCE_MAX]


def _execs(scheduled: Scheduled) -> tuple[ExecInfo, ...]:
    found = []
    for index, step in enumerate(scheduled.steps):
        if isinstance(step.instr, Exec) and step.instr.drain:
            info = _info(index, scheduled.tiles[step.tile], scheduled)
            found += [info] if info else []
    return tuple(found)


def _info(index: int, tile: Tile, scheduled: Scheduled) -> ExecInfo | None:
    """Part of a layer that a tile writes; None for copies. Images side by side are columns of one
    pixel."""
    op, region = scheduled.placed.network.ops[tile.op], tile.node_region
    if op.node is None:
        return None
    several = op.images > 1
    return ExecInfo(
        index,
        op.node.name,
        tile.node_channel,
        region.y,
        0 if several else region.x,
        region.rows,
        1 if several else region.columns,
        region.step,
        op.image + (tile.walk.x if several else 0),
        tile.node_channels,
        tile.walk.columns if several else 1,
    )


def verify_program(program: Program, scheduled: Scheduled) -> None:
    """Check that regions of the window do not overlap; that loads stay in constants, inputs, states
    and spills, stores in states, spills and outputs, which are written completely; and that every
    element of every layer of every image is listed exactly once."""
    _verify_regions(program, scheduled)
    _verify_moves(program, scheduled)
    _verify_execs(program)
    require(len(program.listing) == len(scheduled.steps) + 1, "instructions were lost")


def _verify_regions(program: Program, scheduled: Scheduled) -> None:
    regions = sorted(
        [
            (program.program_offset, program.program_offset + program.instructions.size),
            (program.image_offset, program.image_offset + program.image.size),
            *(span for port in program.inputs for span in [_span(port, program)]),
            *(span for port in program.outputs for span in [_span(port, program)]),
            *(span for port in program.states for span in [_span(port, program)]),
        ]
    )
    for (_, end), (start, _) in itertools.pairwise(regions):
        require(end <= start, f"regions of the DMA window overlap at byte {start}")
    require(regions[-1][1] <= program.memory_bytes, "a region ends outside the DMA window")
    low, high = program.write_window
    for port in (*program.outputs, *program.states):
        start, end = _span(port, program)
        require(low <= start and end <= high, f"{port.name} lies outside the write window")
    tensors = scheduled.placed.network.memory.values()
    kinds: list[str] = [t.kind for t in tensors if not t.image]
    for kind, ports in _ports(program).items():
        require(len(ports) == kinds.count(kind), "ports were lost")


def _ports(program: Program) -> dict[str, tuple[Port, ...]]:
    """Ports by the kind of their tensors."""
    return {"input": program.inputs, "output": program.outputs, "state": program.states}


def _span(port: Port, program: Program) -> tuple[int, int]:
    return port.offset, port.offset + port.bytes(program.config) * program.images


def _verify_moves(program: Program, scheduled: Scheduled) -> None:
    config, network = program.config, scheduled.placed.network
    window = scheduled.window(config)
    homes = {CONSTANTS: (program.image_offset, program.image.size)}
    for tensor in in_order(network):
        homes[tensor.name] = window.offsets[tensor.name], tensor_bytes(tensor, config)
    for kind, ports in _ports(program).items():
        for port in ports:
            for tensor in network.memory.values():
                if (tensor.kind, tensor.tensor) == (kind, port.name):
                    right = homes[tensor.name][0] == port.offset + tensor.image * port.bytes(config)
                    require(right, f"{port.name}: image {tensor.image} is not where the host looks")
    stored = np.zeros(program.memory_bytes // config.bus_bytes, bool)
    for index, (instr, step) in enumerate(zip(program.listing, scheduled.steps, strict=False)):
        if isinstance(instr, Load | Store):
            start, size = homes[step.region]
            end = instr.address + instr.beats * config.bus_bytes
            inside = start <= instr.address and end <= start + size + -size % config.bus_bytes
            require(inside, f"instruction {index} moves bytes outside its region")
            if isinstance(instr, Store):
                stored[instr.address // config.bus_bytes : end // config.bus_bytes] = True
    for port in (*program.outputs, *program.states):
        start, end = (byte // config.bus_bytes for byte in _span(port, program))
        require(bool(stored[start:end].all()), f"{port.name} is not stored whole")


def _verify_execs(program: Program) -> None:
    by_layer: dict[str, list[ExecInfo]] = {layer.name: [] for layer in program.layers}
    for info in program.execs:
        instr = program.listing[info.index]
        require(isinstance(instr, Exec) and instr.drain, f"exec {info.index}")
        by_layer[info.layer].append(info)
    for layer in program.layers:
        written = np.zeros((program.images, *layer.shape), np.uint8)
        for info in by_layer[layer.name]:
            assert info.channels is not None
            y, x = (
                slice(first, first + (count - 1) * step + 1, step)
                for first, count, step in (
                    (info.y, info.rows, info.step[0]),
                    (info.x, info.columns, info.step[1]),
                )
            )
            last = info.channel + info.channels
            inside = (
                last <= layer.shape[0] and y.stop <= layer.shape[1] and x.stop <= layer.shape[2]
            )
            require(inside, f"instruction {info.index} writes outside layer {layer.name}")
            written[info.image : info.image + info.images, info.channel : last, y, x] += 1
        require(
            bool((written == 1).all()),
            f"elements of layer {layer.name} are not listed exactly once",
        )
