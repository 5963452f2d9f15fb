"""Pass: an integer graph becomes operations of the array, proven to fit its formats and
accumulators."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.errors import CompileError
from sigbit.compiler.network import Network, Op, Operand, Value
from sigbit.ir.integer import Conv, Input, IntegerGraph, MaxPool, Node, Source
from sigbit_hw.arch.config import ArchConfig

Ints = NDArray[np.int64]


def legalize(graph: IntegerGraph, config: ArchConfig) -> Network:
    """Operations and values of ``graph``; :class:`CompileError` if it does not fit the formats of
    ``config`` or could overflow an accumulator."""
    _check_formats(graph, config)
    if not graph.inputs or not graph.outputs:
        raise CompileError(f"{graph.name}: a network needs at least one input and one output")
    values: dict[str, Value] = {}
    ops: list[Op] = []
    for node in graph.nodes:
        low, high = _range(node, values, config)
        values[node.name] = Value(
            node.name, node.name, node.type.shape, node.type.planes, low, high
        )
        if isinstance(node, Conv):
            operands = tuple(_operand(graph, s, node) for s in node.sources)
            op = Op(node.name, "conv", operands, node.name, node)
            _check_accumulators(op, values, config)
            ops.append(op)
        elif isinstance(node, MaxPool):
            halo = config.act_format.min
            padded = _padded(
                Operand(node.tensor, node.kernel, node.stride, node.padding),
                node.type.shape,
                graph[node.tensor].type.shape,
                halo,
            )
            ops.append(Op(node.name, "max", (padded,), node.name, node))
    inputs = tuple(node.name for node in graph.inputs)
    return Network(graph.name, values, tuple(ops), inputs, tuple(dict.fromkeys(graph.outputs)))


def _check_formats(graph: IntegerGraph, config: ArchConfig) -> None:
    for what, wanted, given in (
        ("weight format", graph.weight_format, config.weight_format),
        ("activation format", graph.act_format, config.act_format),
        ("radix", graph.radix_bits, config.term_radix_bits),
    ):
        if wanted != given:
            raise CompileError(
                f"{graph.name} was quantized for {what} {wanted}, but {config.name} has {given}: "
                f"quantize it for {config.name}, or choose an accelerator with {what} {wanted}"
            )


def _range(node: Node, values: dict[str, Value], config: ArchConfig) -> tuple[int, int]:
    """Least and largest stored integer that ``node`` can produce."""
    if isinstance(node, Input):
        return node.low, node.high
    if isinstance(node, Conv):
        return int(node.table.min()), int(node.table.max())
    source = values[node.tensor]
    low = min(source.low, config.act_format.min) if any(node.padding) else source.low
    return low, source.high


def _operand(graph: IntegerGraph, source: Source, node: Conv) -> Operand:
    kind = graph[source.tensor].type
    operand = Operand(
        source.tensor,
        (source.weights.shape[2], source.weights.shape[3]),
        source.stride,
        source.padding,
        source.weights,
        source.terms,
        depthwise=source.groups > 1,
    )
    return _padded(operand, node.type.shape, kind.shape, -kind.zero)


def _padded(
    operand: Operand, out: tuple[int, int, int], size: tuple[int, int, int], halo: int
) -> Operand:
    """``operand`` with ``halo`` if its windows reach outside the image."""
    reach = operand.reach(out[1:], size[1:])
    return replace(operand, halo=halo if any(reach) else None)


def _check_accumulators(op: Op, values: dict[str, Value], config: ArchConfig) -> None:
    """Prove that no sum overflows. Arithmetic is modular, so only the final sums matter."""
    assert isinstance(op.node, Conv)
    low = op.node.bias.astype(np.int64).copy()
    high = low.copy()
    for operand in op.operands:
        value = values[operand.value]
        ends = [value.low, value.high] + ([] if operand.halo is None else [operand.halo])
        assert operand.weights is not None
        weights = operand.weights.reshape(len(low), -1)
        positive, negative = weights.clip(0, None).sum(1), weights.clip(None, 0).sum(1)
        low += positive * min(ends) + negative * max(ends)
        high += positive * max(ends) + negative * min(ends)
    half = 1 << (config.acc_bits - 1)
    worst = int(np.argmax(np.maximum(high + 1, -low)))
    if low[worst] < -half or high[worst] >= half:
        bits = int(max(high[worst] + 1, -low[worst]) - 1).bit_length() + 1
        raise CompileError(
            f"{op.where}: sums of output channel {worst} lie in [{low[worst]}, {high[worst]}] and "
            f"need {bits} bits, but the accumulators of {config.name} have {config.acc_bits}: use "
            "fewer terms or digits in this layer, split it, or choose an accelerator with acc_bits "
            f">= {bits}"
        )
