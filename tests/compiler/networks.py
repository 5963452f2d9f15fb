"""What a Network computes, from its dataclasses alone, by brute force."""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from sigbit.compiler.network import Network, Op, Operand
from sigbit.ir.integer import IntegerGraph
from sigbit_hw.arch import numerics
from sigbit_hw.arch.config import ArchConfig

UNKNOWN = 10_001
"""What values and memory hold where nothing was written: no stored integer."""


@dataclass
class Evaluation:
    """Everything written so far: values, tensors in memory, layers ``[images, C, H, W]``."""

    network: Network
    values: dict[str, np.ndarray]
    memory: dict[str, np.ndarray]
    layers: dict[str, np.ndarray] = field(default_factory=dict)
    states: dict[str, np.ndarray] = field(default_factory=dict)
    """Those before the run."""


def evaluate(network: Network, graph: IntegerGraph, inputs: dict[str, np.ndarray]) -> Evaluation:
    """Run ``network`` on stored integers ``[images, C, H, W]`` by input."""
    memory = {name: np.full(t.shape, UNKNOWN) for name, t in network.memory.items()}
    for name, tensor in network.memory.items():
        if tensor.kind == "input":
            x = inputs[tensor.tensor][tensor.image]
            zero = graph[tensor.tensor].type.zero
            memory[name] = tensor.fold.apply(x, -zero) if tensor.fold else x
        if tensor.kind == "constant":
            memory[name] = tensor.constant
    states = {
        name: inputs[tensor.tensor][tensor.image]
        for name, tensor in network.memory.items()
        if tensor.kind == "state"
    }
    values = {name: np.full(v.shape, UNKNOWN) for name, v in network.values.items()}
    state = Evaluation(network, values, memory, states=states)
    for node in graph.nodes:
        state.layers[node.name] = np.full((network.images, *node.type.shape), UNKNOWN)
    for index, op in enumerate(network.ops):
        for operand in op.operands:
            _load(state, operand.value)
        _write(state, op)
        value = network.values[op.result]
        if value.store and index == network.writers[op.result][-1]:
            first = value.store.first
            state.memory[value.store.memory][:, first : first + value.shape[1]] = state.values[
                op.result
            ]
    return state


def _load(state: Evaluation, name: str) -> None:
    value = state.network.values[name]
    if value.load:
        rows = slice(value.load.first, value.load.first + value.shape[1])
        held = state.states.get(value.load.memory, state.memory[value.load.memory])
        state.values[name] = held[:, rows].copy()
        assert state.values[name].shape == value.shape


def _window(state: Evaluation, op: Op, operand: Operand) -> torch.Tensor:
    """Exactly the pixels that the windows cover, halo included: ``[1, C, rows, columns]``."""
    value = state.network.values[operand.value]
    x = state.values[operand.value][operand.channel : operand.channel + operand.channels]
    (top, bottom), (left, right) = (
        operand.span(a, n) for a, n in enumerate((op.region.rows, op.region.columns))
    )
    rows, columns = np.arange(top, bottom + 1), np.arange(left, right + 1)
    inside = np.ix_(
        np.arange(operand.channels),
        rows.clip(0, value.shape[1] - 1),
        columns.clip(0, value.shape[2] - 1),
    )
    outside = (
        ((rows < 0) | (rows >= value.shape[1]))[:, None]
        | (columns < 0)
        | (columns >= value.shape[2])
    )
    if outside.any():
        assert operand.halo is not None
        assert operand.halo == value.halo
    x = np.where(outside, operand.halo or 0, x[inside])
    assert operand.phases(op.region.columns) in (None, value.phases)
    return torch.from_numpy(x)[None].double()


def _weights(state: Evaluation, o: Operand) -> torch.Tensor:
    if not o.right:
        return torch.from_numpy(np.ascontiguousarray(o.weights)).double()
    right = state.values[o.right][o.right_channel : o.right_channel + o.channels]
    assert not (right == UNKNOWN).any()
    return torch.from_numpy(right.reshape(o.channels, -1).T.copy())[:, :, None, None].double()


def _write(state: Evaluation, op: Op) -> None:
    if op.kind == "conv":
        acc = 0
        for o in op.operands:
            x = _window(state, op, o)
            weights = _weights(state, o)
            assert not (x == UNKNOWN).any() or not weights.any()
            acc = acc + F.conv2d(x, weights, None, o.stride, 0, o.dilation, o.groups)[0]
        params = (a[:, None, None] for a in (op.base, op.step, op.tie))
        y = numerics.requantize(acc.numpy().astype(np.int64), *params)
        result = op.table[numerics.table_index(y)]
    else:
        (o,) = op.operands
        assert o.channels == op.channels
        x = _window(state, op, o)
        assert op.kind == "max" or not (x == UNKNOWN).any()
        result = F.max_pool2d(x, o.kernel, o.stride)[0].numpy().astype(np.int64)
    assert not (result == UNKNOWN).any()
    r, node = op.region, op.node_region
    y, x = (
        slice(a, a + (n - 1) * d + 1, d)
        for a, n, d in ((r.y, r.rows, r.step[0]), (r.x, r.columns, r.step[1]))
    )
    part = state.values[op.result][op.channel : op.channel + op.channels]
    assert (part[:, y, x] == UNKNOWN).all()
    part[:, y, x] = result
    if op.node:
        assert node is not None
        layer = state.layers[op.node.name]
        channels = slice(op.node_channel, op.node_channel + op.channels)
        ys = slice(node.y, node.y + (node.rows - 1) * node.step[0] + 1, node.step[0])
        if op.images > 1:
            assert node.columns == 1
            assert r.columns == op.images
            target = layer[op.image : op.image + op.images, channels, ys, node.x].transpose(1, 2, 0)
            assert (target == UNKNOWN).all()
            layer[op.image : op.image + op.images, channels, ys, node.x] = result.transpose(2, 0, 1)
            return
        xs = slice(node.x, node.x + (node.columns - 1) * node.step[1] + 1, node.step[1])
        assert (layer[op.image, channels, ys, xs] == UNKNOWN).all()
        layer[op.image, channels, ys, xs] = result


def check(network: Network, graph: IntegerGraph, config: ArchConfig, seed: int) -> int:
    """Compare every layer and output with the integer model; the number of compared integers."""
    rng = np.random.default_rng(seed)
    shape = network.images
    inputs = {n.name: rng.integers(n.low, n.high + 1, (shape, *n.type.shape)) for n in graph.inputs}
    state = evaluate(network, graph, inputs)
    golden = graph.evaluate({k: torch.from_numpy(v) for k, v in inputs.items()})
    layers = {op.node.name for op in network.ops if op.node}
    wanted = {n.name for n in graph.nodes if type(n).__name__ in ("Conv", "Matmul", "MaxPool")}
    assert layers == wanted
    count = 0
    for name in layers:
        assert (state.layers[name] == golden[name].numpy()).all(), name
        count += golden[name].numel()
    stored = set()
    for name, tensor in network.memory.items():
        if tensor.kind == "output":
            count += state.memory[name].size
            assert (state.memory[name] == golden[tensor.tensor][tensor.image].numpy()).all(), name
            stored.add((tensor.tensor, tensor.image))
        if tensor.kind == "state":
            following = golden[dict(graph.kept)[tensor.tensor]][tensor.image].numpy()
            count += following.size
            assert (state.memory[name] == following).all(), name
    assert stored == {(t, i) for _, t, _ in graph.returned for i in range(network.images)}
    return count
