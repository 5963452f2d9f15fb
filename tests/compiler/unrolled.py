"""The network that a network with states is over several steps, without states."""

from dataclasses import replace

from sigbit.ir.integer import (
    Constant,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    Matmul,
    MaxPool,
    Node,
)


def unrolled(graph: IntegerGraph, steps: int) -> IntegerGraph:
    """All steps one behind the other: an input and an output for every step, ``NAME.STEP``."""
    kept, initial = dict(graph.kept), {s.input: s.initial for s in graph.states}
    nodes: list[Node] = []
    for step in range(steps):

        def at(name: str, step: int = step) -> str:
            later = step and name in kept
            return at(kept[name], step - 1) if later else f"{name}.{step}"

        for node in graph.nodes:
            if node.name not in kept:
                nodes.append(_renamed(node, at))
            elif not step:
                nodes.append(Constant(at(node.name), initial[node.name], node.type))
    ends = [(f"{n}.{step}", t, a, step) for step in range(steps) for n, t, a in graph.returned]
    return replace(
        graph,
        nodes=tuple(nodes),
        outputs=tuple(f"{t}.{step}" for _, t, _, step in ends),
        output_names=tuple(name for name, *_ in ends),
        output_axes=tuple(axes for _, _, axes, _ in ends),
        states=(),
    )


def _renamed(node: Node, at) -> Node:
    name = at(node.name)
    match node:
        case Input() | Constant():
            return replace(node, name=name)
        case Conv():
            sources = tuple(replace(s, tensor=at(s.tensor)) for s in node.sources)
            return replace(node, name=name, sources=sources)
        case Matmul():
            return replace(node, name=name, left=at(node.left), right=at(node.right))
        case MaxPool():
            return replace(node, name=name, tensor=at(node.tensor))
        case Gather():
            return replace(node, name=name, tensors=tuple(map(at, node.tensors)))
