"""ATen operations behind a cut, as steps of the host.

An exported program computes with the example's batch as first axis; the host sees one sample at a
time, so that every tensor behind a cut must keep the batch in front.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph as FxGraph
from torch.fx import Node as FxNode

from sigbit.frontend.aten.operators import op_name
from sigbit.frontend.aten.tail_step import Step
from sigbit.frontend.aten.tail_steps import STEPS
from sigbit.frontend.cut import Operation
from sigbit.frontend.cutting import Front
from sigbit.frontend.importer import Importer
from sigbit.frontend.movement import replaced
from sigbit.frontend.source import Origin, origin
from sigbit.frontend.tail import Tail, unknown
from sigbit.frontend.values import Refusal

Constants = Mapping[str, tuple[str, Tensor]]


class AtenTail:
    """A graph of ATen operations as a graph to cut, and its nodes as steps; see
    :class:`~sigbit.frontend.cutting.Cuttable`."""

    def __init__(self, graph: FxGraph, constants: Constants, name: str) -> None:
        self._graph, self._constants, self._name = graph, constants, name
        self._static: dict[FxNode, Tensor] = {}
        self.nodes: list[FxNode] = []
        self.inputs: list[str] = []
        for node in graph.nodes:
            if node.op == "placeholder" and node.name in constants:
                self._static[node] = constants[node.name][1]
            elif node.op == "placeholder":
                self.inputs.append(node.name)
            elif node.op == "call_function" and not self._fold(node):
                self.nodes.append(node)
        results: Any = graph.output_node().args[0]
        self.outputs = [str(r) for r in results]
        self.operations = [
            Operation(tuple(a.name for a in n.all_input_nodes if a not in self._static), (n.name,))
            for n in self.nodes
        ]

    def _fold(self, node: FxNode) -> bool:
        """Fold an operation that depends on parameters alone; return whether its result is now
        known."""
        if not node.all_input_nodes or any(a not in self._static for a in node.all_input_nodes):
            return False
        args, kwargs = replaced(node, self._static.__getitem__)
        assert callable(node.target)
        with torch.no_grad():
            result = node.target(*args, **kwargs)
        if isinstance(result, Tensor):
            self._static[node] = result
        return isinstance(result, Tensor)

    @property
    def sides(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the computed tensors without the batch."""
        values = {n.name: n.meta.get("val") for n in self.nodes}
        return {n: tuple(v.shape[1:]) for n, v in values.items() if isinstance(v, Tensor)}

    def steps(self, behind: Sequence[int]) -> tuple[Tail, dict[int, Refusal]]:
        """Return the operations ``behind`` as steps, and the reason for each operation that cannot
        be one."""
        tail, refused = Tail(), {}
        for index in behind:
            node = self.nodes[index]
            try:
                translate = STEPS.get(_name(node))
                if translate is None:
                    raise Refusal(*unknown())
                step = Step(node, tail, self._static, self._batch)
                step.need_batch()
                translate(step)
                step.account()
            except Refusal as refusal:
                refused[index] = refusal
        return tail, refused

    @property
    def _batch(self) -> int:
        inputs = (n for n in self._graph.nodes if n.op == "placeholder" and n.name in self.inputs)
        return int(next(inputs).meta["val"].shape[0])

    def where(self, index: int) -> Origin:
        """Return the source location of a node, with the node's name."""
        return replace(origin(self.nodes[index]), name=self.nodes[index].name)

    def front(self, boundary: tuple[str, ...]) -> Front:
        """Return the import of the part that computes ``boundary``."""
        copy = FxGraph()
        known: dict[FxNode, FxNode] = {}
        for node in self._graph.nodes:
            if node.op != "output":
                known[node] = copy.node_copy(node, known.__getitem__)
                known[node].name = node.name
        by_name = {n.name: known[n] for n in known}
        copy.output(tuple(by_name[b] for b in boundary))
        copy.eliminate_dead_code()
        return Importer(copy, self._constants, self._name)


def _name(node: FxNode) -> str:
    return "getitem" if node.target is operator.getitem else op_name(node.target)
