"""Random integer graphs with states, for testing compilers and devices."""

from dataclasses import replace

import numpy as np

from sigbit.compiler.random_graph import Builder
from sigbit.ir.integer import Input, IntegerGraph, State
from sigbit_hw.arch.config import ArchConfig


def random_stateful(rng: np.random.Generator, config: ArchConfig) -> IntegerGraph:
    """A recurrent layer whose state is read through windows, and a delay of one to three steps:
    states that are also outputs, that are copies of others, and that nothing but an output reads.
    """
    b = Builder(rng, config)
    size = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    x = b.input((int(rng.integers(1, 12)), *size), int(rng.integers(1, 3)))
    channels = int(rng.integers(1, 3 * config.ic_lanes))
    planes = int(rng.integers(1, 4))
    state = b.input((channels, *size), planes)
    kernel = (1, 1) if rng.random() < 0.3 else (3, 3)
    edge = kernel[0] // 2
    recurrent = b.conv(
        [
            b.source(x, channels, (1, 1)),
            b.source(state, channels, kernel, padding=(edge,) * 4, terms=int(rng.integers(1, 3))),
        ],
        planes,
    )
    following = [(state, recurrent)]
    tensors = [recurrent, state]
    delayed = b.conv([b.source(x, int(rng.integers(1, 9)), (1, 1))], int(rng.integers(1, 3)))
    for _ in range(int(rng.integers(1, 4))):
        kind = b.type_of(delayed)
        late = b.input(kind.shape, kind.planes)
        following.append((late, delayed))
        delayed = late
    tensors.append(delayed)
    _match(b, following)
    y = b.conv([b.source(t, 5, (1, 1)) for t in tensors[rng.integers(0, 2) :]], 2)
    outputs = [y, *([recurrent] if rng.random() < 0.5 else [])]
    graph = b.graph(*outputs, *(tensor for _, tensor in following))
    names = graph.output_names[len(outputs) :]
    states = tuple(
        State(name, output, _codes(rng, graph, name))
        for (name, _), output in zip(following, names, strict=True)
    )
    return replace(graph, states=states)


def _match(b: Builder, following: list[tuple[str, str]]) -> None:
    """Give each state the type of its next value, whose values it can hold."""
    for name, tensor in following:
        place = next(i for i, node in enumerate(b.nodes) if node.name == name)
        node = b.nodes[place]
        assert isinstance(node, Input)
        values = b.config.act_grid(node.type.planes).values
        ends = int(values[0]), int(values[-1])
        b.nodes[place] = replace(node, type=b.type_of(tensor), low=ends[0], high=ends[1])


def _codes(rng: np.random.Generator, graph: IntegerGraph, name: str) -> np.ndarray:
    """Initial codes of a state: often all of them what means 0."""
    kind = graph[name].type
    if rng.random() < 0.5:
        return np.full(kind.shape, -kind.zero)
    return rng.choice(graph.act_grid(kind.planes).values, kind.shape)
