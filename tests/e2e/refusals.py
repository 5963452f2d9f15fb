"""Judges what the compiler refuses: the message must name a limit that the accelerator really has,
and what it says would work must work."""

import re
from dataclasses import replace

import numpy as np

from sigbit.compiler import CompileError, compile_graph
from sigbit.compiler.legalize.batch import MAX_PHASES
from sigbit.ir.integer import Conv, Gather, Input, IntegerGraph, MaxPool, Node
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.numerics import Y_MAX, Y_MIN

SLACK = 4
"""A layer that one output row at a time needs less than this part of the memory for must fit."""


def judge(error: CompileError, graph: IntegerGraph, config: ArchConfig, images: int) -> None:
    """``AssertionError`` unless ``error`` is a real limit of ``config``."""
    text = str(error)
    if found := re.search(r"has (\d+) slots, but (\d+) are needed.*act_slots >= (\d+)", text):
        has, needed, enough = map(int, found.groups())
        assert has == config.act_slots < needed <= enough, text
        least = max(_least_slots(graph, n, config) for n in graph.nodes)
        assert SLACK * least > config.act_slots, f"{least} slots would do: {text}"
        larger = replace(config, act_slots=enough)
        compile_graph(graph, larger, images=images)
    elif found := re.search(r"needs (\d+) entries of (\w+) at once, but .* has (\d+)", text):
        needed, has = int(found[1]), int(found[3])
        assert needed > has, text
        assert has in (config.weight_words, config.param_groups, config.tables), text
    elif found := re.search(r"pieces of (\d) digits must start at multiples of (\d+)", text):
        grid = config.act_grid(int(found[1])).values
        assert int(found[2]) == config.ic_lanes, text
        assert grid[0] < Y_MIN or grid[-1] > Y_MAX, text
        assert any(isinstance(n, Gather) and n.type.planes == int(found[1]) for n in graph.nodes)
    elif found := re.search(r"a stride of (\d+) columns is too large; at most (\d+)", text):
        assert int(found[2]) == MAX_PHASES < int(found[1]), text
    elif found := re.search(r"(\d+) column phases need as many segments, but .* has (\d+)", text):
        assert int(found[2]) == config.segments < int(found[1]), text
    elif found := re.search(r"(\d+) column phases cannot be stored to memory from (\d+)", text):
        assert int(found[2]) == config.drain_slots > 1, text
    else:
        raise AssertionError(f"not a limit of {config.name}: {text}") from error


def _least_slots(graph: IntegerGraph, node: Node, config: ArchConfig) -> int:
    """Slots for about one row of the output of ``node`` at a time, and the rows that it reads."""
    slots = _rows(graph, node.name, 2, config)  # one is written while the other one is stored
    if isinstance(node, Conv):
        for tensor in dict.fromkeys(s.tensor for s in node.sources):
            readers = [s for s in node.sources if s.tensor == tensor]
            reaches = [(s.weights.shape[2] - 1) * s.dilation[0] for s in readers]
            ends = [r - s.padding[0] for r, s in zip(reaches, readers, strict=True)]
            first = min(-s.padding[0] for s in readers)  # rows that one row of the output reads
            reach = (max(ends) - first) // min(s.upsampling[0] for s in readers) + 1
            border = np.max([s.padding for s in readers], 0)
            slots += _rows(graph, tensor, reach, config, tuple(border))
    elif isinstance(node, MaxPool):
        slots += _rows(graph, node.tensor, node.kernel[0], config, node.padding)
    elif isinstance(node, Gather):
        slots += sum(_rows(graph, t, 1, config) for t in dict.fromkeys(node.tensors))
    elif isinstance(node, Input):
        slots += _rows(graph, node.name, 1, config)
    return slots


def _rows(
    graph: IntegerGraph,
    tensor: str,
    count: int,
    config: ArchConfig,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> int:
    """Slots of ``count`` rows of a tensor with its border, which takes slots as its pixels do; they
    begin and end with whole beats. A window far outside the image needs all of the border between
    them."""
    kind = graph[tensor].type
    top, left, bottom, right = (max(0, p) for p in padding)
    channels, height, width = kind.shape
    count = max(count, top + 1, bottom + 1)
    height, width = height + top + bottom, width + left + right
    row = kind.planes * -(-channels // config.ic_lanes) * width
    beat = config.bus_bytes // np.gcd(row * config.slot_bytes, config.bus_bytes)
    return int(min(height, count + 2 * (beat - 1))) * row
