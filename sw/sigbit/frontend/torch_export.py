"""Import of a plain ``nn.Module`` through ``torch.export``: every node is translated or
reported.
"""

import operator
import warnings

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node as FxNode

from sigbit.frontend import torch_ops
from sigbit.frontend.report import UnsupportedModel, UnsupportedNode
from sigbit.frontend.source import location, module_name
from sigbit.frontend.torch_ops import Refusal, Translation
from sigbit.ir.floating import FloatGraph, Node, Placeholder, parameter_names
from sigbit.ir.integer import GraphError

Batches = Tensor | tuple[Tensor, ...]
"""Batches ``[batch, C, H, W]``, one for each input of a model, or the only one."""


def as_tuple(batches: Batches) -> tuple[Tensor, ...]:
    """The batches as a tuple."""
    return (batches,) if isinstance(batches, Tensor) else tuple(batches)


def import_model(
    model: nn.Module, example_inputs: Batches, name: str | None = None
) -> FloatGraph:
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
        self._parameters: dict[str, Tensor] = {}
        self._parameter_of: dict[FxNode, str] = {}
        self._target_of = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self._tensor_of: dict[FxNode, str] = {}
        self._nodes: list[Node] = []
        self._rows: list[UnsupportedNode] = []

    def run(self) -> FloatGraph:
        """The graph, or :class:`UnsupportedModel`."""
        for node in self._exported.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "call_function":
                self._call(node)
        outputs = self._outputs()
        if self._rows:
            raise UnsupportedModel(self._name, tuple(self._rows))
        used = {p for n in self._nodes for p in parameter_names(n)}
        try:
            return FloatGraph(
                self._name,
                tuple(self._nodes),
                {k: v for k, v in self._parameters.items() if k in used},
                outputs,
            )
        except GraphError as error:
            row = UnsupportedNode(self._name, "graph", "", str(error), "please report this model")
            raise UnsupportedModel(self._name, (row,)) from error

    def _refuse(self, node: FxNode, reason: str, remedy: str) -> None:
        op = str(node.target) if node.op == "call_function" else node.op
        self._rows.append(UnsupportedNode(node.name, op, location(node), reason, remedy))
        self._stand_in(node)

    def _stand_in(self, node: FxNode) -> None:
        """A node for a refused result, so that the nodes that read it are examined as well."""
        value = node.meta.get("val")
        if isinstance(value, Tensor):
            shape = tuple(int(s) for s in value.shape[1:])
            self._add(node, Node(name=self._unique(node.name), shape=shape))

    def _placeholder(self, node: FxNode) -> None:
        if (target := self._target_of.get(node.name)) is not None:
            tensors = {**self._exported.state_dict, **self._exported.constants}
            self._parameters[target] = tensors[target].detach().clone()
            self._parameter_of[node] = target
            return
        value = node.meta["val"]
        if (
            not isinstance(value, Tensor)
            or value.dim() not in (2, 4)
            or not value.is_floating_point()
        ):
            self._refuse(
                node,
                "an input must be a float tensor [batch, C, H, W] or [batch, features]",
                "give images or feature vectors",
            )
            return
        self._add(node, Placeholder(name=node.name, shape=tuple(int(s) for s in value.shape[1:])))

    def _add(self, node: FxNode, translated: Node) -> None:
        self._nodes.append(translated)
        self._tensor_of[node] = translated.name

    def _call(self, node: FxNode) -> None:
        if node.target is operator.getitem:
            source, index = node.args
            assert isinstance(source, FxNode)
            if source not in self._tensor_of:
                self._stand_in(node)
            elif index == 0:
                self._tensor_of[node] = self._tensor_of[source]
            else:
                self._refuse(node, "a second result of an operation", "use the first result only")
            return
        translator = torch_ops.TRANSLATORS.get(node.target)
        if translator is None:
            self._refuse(node, *torch_ops.unknown(str(node.target)))
            return
        try:
            result = translator(
                Translation(
                    node,
                    self._unique(module_name(node)),
                    self._operands(node),
                    self._parameter_of,
                    self._shape_of,
                )
            )
        except Refusal as refusal:
            self._refuse(node, refusal.reason, refusal.remedy)
            return
        if isinstance(result, str):
            self._tensor_of[node] = result
        else:
            for translated in result:
                self._add(node, translated)

    def _unique(self, name: str) -> str:
        taken, count = {n.name for n in self._nodes}, 1
        while (unique := name if count == 1 else f"{name}_{count}") in taken:
            count += 1
        return unique

    def _operands(self, node: FxNode) -> dict[FxNode, str]:
        return {a: self._tensor_of[a] for a in node.all_input_nodes if a in self._tensor_of}

    def _shape_of(self, name: str) -> tuple[int, ...]:
        return next(n.shape for n in reversed(self._nodes) if n.name == name)

    def _outputs(self) -> tuple[str, ...]:
        names = []
        for result in self._exported.graph.output_node().args[0]:
            if isinstance(result, FxNode) and result in self._tensor_of:
                names.append(self._tensor_of[result])
            else:
                self._rows.append(
                    UnsupportedNode(
                        "output",
                        "output",
                        "",
                        f"{result} is not a computed tensor",
                        "return tensors that the network computes",
                    )
                )
        return tuple(names)
