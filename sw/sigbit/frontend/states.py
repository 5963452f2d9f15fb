"""States of a network: inputs that are outputs of the run before."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from sigbit.errors import UserError
from sigbit.ir.floating import FloatGraph, FloatState, Placeholder
from sigbit_hw.arch.names import numbered

States = Mapping[str, str | int]
"""Outputs, by name or by number from 0, of the inputs that they become in the next run."""


def with_states(graph: FloatGraph, states: States) -> FloatGraph:
    """Return ``graph`` with further states, which are 0 in the first run.

    Raises :class:`UserError` for names and numbers that do not exist, for outputs of another shape
    than their inputs, and for outputs that the host computes.
    """
    known = _results(graph)
    for name, output in states.items():
        graph = _with_state(graph, name, output, known)
    return graph


def _with_state(graph: FloatGraph, name: str, output: str | int, known: list[str]) -> FloatGraph:
    """``graph`` with one more state; ``known`` are all results of the network, in its order."""
    nodes = {node.name: node for node in graph.given}
    where = f"state {name}={output}"
    if name not in nodes:
        raise UserError(f"{where}: there is no input {name!r}; there are {', '.join(nodes)}")
    if len(nodes) == 1:
        raise UserError(f"{where}: the network has no other inputs, and a run needs one")
    if isinstance(output, str) and output not in known and output.isdecimal():
        output = int(output)
    if isinstance(output, int) and 0 <= output < len(known):
        output = known[output]
    if output not in known:
        listed = ", ".join(f"{n} ({i})" for i, n in enumerate(known))
        raise UserError(f"{where}: there is no such output; by name and number there are {listed}")
    if output not in _results(graph):
        raise UserError(f"{where}: another state has this output")
    return _kept(graph, nodes[name], str(output), where)


def _results(graph: FloatGraph) -> list[str]:
    """Names of what the network returns, without states."""
    kept = {state.output for state in graph.states}
    names = graph.host.results if graph.host else graph.output_names
    return [name for name in names if name not in kept]


def _kept(graph: FloatGraph, node: Placeholder, result: str, where: str) -> FloatGraph:
    """``graph`` with the state whose next value the network returns as ``result``."""
    outputs = dict(zip(graph.output_names, graph.outputs, strict=True))
    output = result
    if graph.host:
        graph, output = _taken(graph, result, outputs, where)
    tensor = dict(zip(graph.output_names, graph.outputs, strict=True))[output]
    if (shape := graph[tensor].shape) != node.shape:
        raise UserError(f"{where}: the input is {list(node.shape)}, the output {list(shape)}")
    state = FloatState(node.name, output, torch.zeros(node.shape))
    states = (*graph.states, state)
    if len(states) == len(graph.outputs):
        raise UserError(f"{where}: the network returns nothing else")
    kept = {s.output: number for number, s in enumerate(states)}
    pairs = zip(graph.output_names, graph.outputs, strict=True)
    ordered = sorted(pairs, key=lambda pair: kept.get(pair[0], -1))  # what users get goes first
    names, tensors = zip(*ordered, strict=True)
    return replace(graph, states=states, outputs=tensors, output_names=names)


def _taken(
    graph: FloatGraph, result: str, outputs: Mapping[str, str], where: str
) -> tuple[FloatGraph, str]:
    """``graph`` whose host does not return ``result``, an output of the accelerator, any more, and
    the name of a further output for it."""
    host = graph.host
    given = next((i for i in host.inputs if i.name == result), None)
    if given is None:
        raise UserError(
            f"{where}: the host computes this output, and a state stays on the device: cut the "
            "network behind it"
        )
    left = tuple(name for name in host.results if name != result)
    read = {name for step in host.steps for name in step.operands} | set(left)
    inputs = tuple(i for i in host.inputs if i.name in read)
    output = numbered(result, outputs)
    tensor = outputs[given.output]
    return (
        replace(
            graph,
            host=replace(host, inputs=inputs, results=left),
            outputs=(*graph.outputs, tensor),
            output_names=(*graph.output_names, output),
        ),
        output,
    )
