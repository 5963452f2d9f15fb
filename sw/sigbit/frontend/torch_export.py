"""Import of a plain ``nn.Module`` through ``torch.export``: every node is translated or
reported.
"""

import operator
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node as FxNode

from sigbit.frontend import movement, torch_ops
from sigbit.frontend.report import UnsupportedModel, UnsupportedNode
from sigbit.frontend.source import location, module_name
from sigbit.frontend.translation import Builder, Translation
from sigbit.frontend.values import Computed, OnHost, Refusal, Steps, Value
from sigbit.ir.floating import FloatGraph, HostOp, Node, Placeholder, parameter_names
from sigbit.ir.integer import GraphError

Batches = Tensor | tuple[Tensor, ...]
"""Batches ``[batch, ...]``, one for each input of a model, or the only one."""


def as_tuple(batches: Batches) -> tuple[Tensor, ...]:
    """The batches as a tuple."""
    return (batches,) if isinstance(batches, Tensor) else tuple(batches)


def import_model(model: nn.Module, example_inputs: Batches, name: str | None = None) -> FloatGraph:
    """The float graph of ``model`` in evaluation mode; the model is left as it was.

    Raises :class:`UnsupportedModel` with one
    row for every node that cannot be compiled, before any other work.
    """
    name = name or type(model).__name__
    training = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.export warns about its own internals
            exported = torch.export.export(model, as_tuple(example_inputs))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UnsupportedModel(
            name,
            (
                UnsupportedNode(
                    name,
                    "torch.export",
                    "",
                    f"the model cannot be exported ({type(error).__name__}: {reason})",
                    "write forward without data-dependent control flow (see torch.export)",
                ),
            ),
        ) from error
    finally:
        for module, mode in training.items():
            module.training = mode
    return graph_from_exported(exported, name)


def graph_from_exported(exported: ExportedProgram, name: str = "model") -> FloatGraph:
    """The float graph of an exported float model; raises :class:`UnsupportedModel` as
    :func:`import_model` does.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = exported.run_decompositions({})  # functional form: no in-place operations left
    return _Importer(exported, name).run()


class _Importer:
    """Translates the nodes of one exported program in order."""

    def __init__(self, exported: ExportedProgram, name: str) -> None:
        self._exported, self._name = exported, name
        signature = exported.graph_signature
        self._target_of = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self._build = Builder()
        self._values: dict[FxNode, Value] = {}
        self._names: dict[FxNode, str] = {}
        self._rows: dict[FxNode | str, UnsupportedNode] = {}

    def run(self) -> FloatGraph:
        """The graph, or :class:`UnsupportedModel`."""
        for node in self._exported.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "call_function":
                self._call(node)
        outputs, host = self._outputs()
        if self._rows:
            raise UnsupportedModel(self._name, tuple(self._rows.values()))
        nodes = _needed(self._build.nodes, outputs)
        used = {p for n in nodes for p in parameter_names(n)}
        try:
            return FloatGraph(
                self._name,
                nodes,
                {k: v for k, v in self._build.parameters.items() if k in used},
                outputs,
                self._build.quantizers,
                host,
            )
        except GraphError as error:
            row = UnsupportedNode(self._name, "graph", "", str(error), "please report this model")
            raise UnsupportedModel(self._name, (row,)) from error

    def _refuse(self, node: FxNode, refusal: Refusal) -> None:
        at = refusal.node or node
        op = str(at.target) if at.op == "call_function" else at.op
        row = UnsupportedNode(at.name, op, location(at), refusal.reason, refusal.remedy)
        self._rows.setdefault(at, row)
        self._values[node] = self._stand_in(node, node.meta.get("val"))

    def _stand_in(self, node: FxNode, value: Any) -> Value:
        """A value for a refused result, so that the nodes that read it are examined as well."""
        if isinstance(value, (list, tuple)):
            return tuple(self._stand_in(node, v) for v in value)
        shape = tuple(int(s) for s in value.shape[1:]) if isinstance(value, Tensor) else (1,)
        name = self._build.unique(node.name)
        return Computed(self._build.add(Node(name=name, shape=shape)))

    def _placeholder(self, node: FxNode) -> None:
        if (target := self._target_of.get(node.name)) is not None:
            tensors = {**self._exported.state_dict, **self._exported.constants}
            self._values[node] = tensors[target].detach().clone()
            self._names[node] = target
            return
        value = node.meta["val"]
        if (
            not isinstance(value, Tensor)
            or value.dim() not in (2, 3, 4)
            or not value.is_floating_point()
        ):
            reason = "an input must be a float tensor [batch, C, H, W], [batch, features] or "
            self._refuse(
                node,
                Refusal(reason + "[batch, steps, features]", "give images, vectors or sequences"),
            )
            return
        shape = tuple(int(s) for s in value.shape[1:])
        self._values[node] = Computed(self._build.add(Placeholder(name=node.name, shape=shape)))

    def _call(self, node: FxNode) -> None:
        try:
            self._values[node] = self._translate(node)
        except Refusal as refusal:
            self._refuse(node, refusal)

    def _translate(self, node: FxNode) -> Value:
        operands = [self._values[a] for a in node.all_input_nodes]
        if node.target is operator.getitem:
            source, index = node.args
            assert isinstance(source, FxNode)
            assert isinstance(index, int)
            several = self._values[source]
            assert isinstance(several, tuple)
            if index >= len(several):
                raise Refusal("a second result of an operation", "use the first result only")
            return several[index]
        if all(isinstance(o, Tensor) for o in operands):
            return self._constant(node)
        name = torch_ops.op_name(node.target)
        if name in torch_ops.MOVES:
            return movement.moved(node, self._values, self._build)
        translator = torch_ops.TRANSLATORS.get(name)
        if translator is None:
            raise Refusal(*torch_ops.unknown(str(node.target)))
        return translator(
            Translation(
                node,
                self._build.unique(module_name(node)),
                location(node),
                self._values,
                self._names,
                self._build,
            )
        )

    def _constant(self, node: FxNode) -> Value:
        """What is computed from parameters alone."""
        args, kwargs = movement.replaced(node, lambda n: self._values[n])
        with torch.no_grad():
            result = node.target(*args, **kwargs)  # type: ignore[operator]
        return tuple(result) if isinstance(result, (list, tuple)) else result

    def _outputs(self) -> tuple[tuple[str, ...], tuple[HostOp, ...]]:
        names: list[str] = []
        host: list[HostOp] = []
        for position, result in enumerate(self._exported.graph.output_node().args[0]):
            value = self._values.get(result) if isinstance(result, FxNode) else None
            if isinstance(value, OnHost):
                host += (replace(op, output=position) for op in value.functions)
                value = value.value
            if not isinstance(value, Computed):
                reason = (
                    "the states of all steps are no output"
                    if isinstance(value, Steps)
                    else f"{result} is not a computed tensor"
                )
                remedy = "return tensors that the network computes"
                self._rows[f"output {position}"] = UnsupportedNode(
                    "output", "output", "", reason, remedy
                )
                continue
            try:
                names.append(self._build.tensor(value, location(result), torch.float32))
            except Refusal as refusal:
                self._refuse(result, refusal)
        return tuple(names), tuple(host)


def _needed(nodes: dict[str, Node], outputs: tuple[str, ...]) -> tuple[Node, ...]:
    """The nodes that outputs depend on, and all inputs."""
    needed = set(outputs)
    for node in reversed(nodes.values()):
        if node.name in needed:
            needed.update(node.inputs)
    return tuple(n for n in nodes.values() if n.name in needed or isinstance(n, Placeholder))
